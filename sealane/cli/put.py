"""`sealane put FILE`."""

from __future__ import annotations

import asyncio
import shlex
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealane.cli import quantities, text
from sealane.cli.connection import DEFAULT_TIMEOUT, connect, endpoint_options
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed, from_sealane
from sealane.cli.meter import meter
from sealane.cli.output import Output
from sealane.cli.put_progress import Reporter, Upload, log_to
from sealane.domain.errors import Reason

if TYPE_CHECKING:
    from sealane.client import UploadResult, UploadSource
    from sealane.client.errors import GenerationMismatch, KeyCooling


@click.command(name="put")
@click.argument("file")
@click.option("--name", help="The object's file name, its key's last segment.  [default: FILE's; object for -]")
@click.option("--key", "object_key", metavar="KEY", help="Store under this key.  [default: a key of its own]")
@click.option(
    "--if-generation",
    "if_generation_match",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --key: replace exactly this generation; 0: only if nothing is there.  [default: 0]",
)
@click.option("--overwrite", is_flag=True, help="With --key: replace whatever is there.")
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Streams at once, a connection each."
)
@click.option(
    "--limit-rate",
    "max_bytes_per_second",
    callback=quantities.rate,
    metavar="RATE",
    help="Send at most so much a second, over all streams: 512K, 20MiB/s.",
)
@click.option(
    "--chunk-size", callback=quantities.size, metavar="SIZE", help="A power of two, 8M to 64M.  [default: the server's]"
)
@click.option("--size", callback=quantities.size, metavar="SIZE", help="How much will come from -, if you know.")
@click.option("--content-type", help="Content type to store.  [default: application/octet-stream]")
@click.option("--meta", "metadata", multiple=True, callback=quantities.pairs, metavar="NAME=VALUE", help="Metadata.")
@click.option("--ttl", callback=quantities.duration, metavar="TIME", help="How long an interrupted upload is kept.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with an interrupted upload of FILE.")
@click.option("--session", "session_id", metavar="SESSION", help="Go on with this session; no journal is used.")
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where to note the session.  [default: a file under $XDG_STATE_HOME/sealane]",
)
@click.option(
    "--patience",
    callback=quantities.duration,
    default="15m",
    show_default=True,
    metavar="TIME",
    help="Give up after so long without progress.",
)
@click.option("--progress", "progress_records", is_flag=True, help="With --json: a line for each step.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@endpoint_options
def command(
    file: str,
    ingest: str | None,
    assembly: str | None,
    as_json: bool,
    quiet: bool,
    progress_records: bool,
    patience: float,
    **options: Any,
) -> None:
    """Upload FILE (- is standard input), and commit it: the answer comes when the object is durable and verified.

    Restarts, broken connections and full servers are ridden out. An upload that is interrupted, by Ctrl-C or a
    crash, is resumed by the same command line: what has arrived is not sent again. Bytes from a pipe come only once,
    so such an upload survives the servers' crashes, but not its own.

    --key names the object. The commit checks that the key is vacant, or holds the generation that --if-generation
    names: of many who try at once one wins, and the others get exit code 4 and the holder's name (its generation,
    session, size, digest and time). If the key holds these very bytes already, that is a success, and said so.
    """
    if options["overwrite"] and options["if_generation_match"] is not None:
        raise click.UsageError("--if-generation or --overwrite, not both.")
    if options["object_key"] is None and (options["overwrite"] or options["if_generation_match"] is not None):
        raise click.UsageError("--if-generation and --overwrite are of a --key.")
    upload = Upload(
        file=file,
        output=Output(as_json=as_json, quiet=quiet),
        progress_records=as_json and progress_records,
        resumable=_is_regular(file) and options["session_id"] is None,
        options=options,
    )
    log_to(upload.output)
    try:
        result = asyncio.run(_put(upload, ingest, assembly, patience))
    except KeyboardInterrupt:
        raise CommandFailed(
            "interrupted" + (f" in session {upload.session_id}" if upload.session_id else ""),
            reason="INTERRUPTED",
            code="CANCELLED",
            exit_code=ExitCode.INTERRUPTED,
            hint=_how_to_resume(upload),
            data={"session_id": upload.session_id or None},
        ) from None
    _show(upload, result)


async def _put(upload: Upload, ingest: str | None, assembly: str | None, patience: float) -> UploadResult:
    from sealane.client import SealaneError, SourceChanged
    from sealane.client.errors import GenerationMismatch, KeyCooling

    source: UploadSource = sys.stdin.buffer if upload.piped else upload.file
    options = dict(upload.options)
    options["filename"] = options.pop("name")
    if options["filename"] is None and upload.piped:
        options["filename"] = "object"
    try:
        async with connect(ingest, assembly, timeout=DEFAULT_TIMEOUT, patience=patience) as client:
            await client.get_server_info()  # nobody there: say so now, not when the patience ends
            title = upload.options["name"] or Path(upload.file).name
            with meter(upload.output, title if not upload.piped else "stdin") as shown:
                report = Reporter(upload, shown)
                result = await client.upload(source, progress=report, **options)
                report.flush()
                return result
    except SourceChanged as error:
        raise CommandFailed(
            error.message,
            reason="SOURCE_CHANGED",
            code="FAILED_PRECONDITION",
            exit_code=ExitCode.CONFLICT,
            hint="`sealane put` again uploads the file as it is now, in a new session."
            if upload.options["session_id"] is None
            else "Without --session, `sealane put` uploads the file as it is now, in a new session.",
            data={"session_id": upload.session_id or None},
        ) from error
    except GenerationMismatch as error:
        raise _conflict(error, upload) from error
    except KeyCooling as error:
        raise _cooling(error, upload) from error
    except CommandFailed as failure:  # nobody answers
        _with_session(failure, upload)
        raise
    except SealaneError as error:
        said = _with_session(from_sealane(error), upload)
        if error.reason is Reason.SESSION_NOT_FOUND and upload.resumable:
            said.hint = "It was removed while it was sent. The same command starts a new one."
        raise said from error
    except ValueError as error:  # a size that is not the source's, as the SDK says it
        raise click.UsageError(str(error)) from None


def _with_session(failure: CommandFailed, upload: Upload) -> CommandFailed:
    """The failure with the session it leaves behind; what passes is answered by resuming."""
    if upload.session_id:
        failure.data["session_id"] = upload.session_id
        if failure.exit_code is ExitCode.UNAVAILABLE:
            failure.hint = _how_to_resume(upload)
    return failure


def _conflict(error: GenerationMismatch, upload: Upload) -> CommandFailed:
    """Who holds the key, and each of the ways on."""
    failure, holder = from_sealane(error), error.holder
    again = _without(_words(upload), "--overwrite", valued="--if-generation")
    if holder is None:
        hints = [f"Nothing is there (any more). To create it:  {shlex.join(again)}"]
    elif holder.foreign:
        hints = ["Take another key, or remove that object by the means that put it there."]
    else:
        exactly = shlex.join([*again, "--if-generation", str(holder.generation)])
        hints = [
            f"To replace exactly that one:  {exactly}",
            f"Or whatever is there:         {shlex.join([*again, '--overwrite'])}",
        ]
    if upload.session_id:
        failure.data["session_id"] = upload.session_id
        hints.append(f"What has arrived goes when its ttl is over, or now:  sealane abort {upload.session_id}")
    failure.hint = "\n".join(hints)
    return failure


def _cooling(error: KeyCooling, upload: Upload) -> CommandFailed:
    """Everything has arrived; only the commit has to wait."""
    failure = _with_session(from_sealane(error), upload)
    failure.hint = f"It can in {text.duration(error.retry_after)}. {_how_to_resume(upload)}"
    return failure


def _show(upload: Upload, result: UploadResult) -> None:
    from sealane.cli import session_page, shapes

    output, seconds = upload.output, time.monotonic() - upload.started
    if output.as_json:
        shape = shapes.upload(result, seconds=seconds)
        if upload.progress_records:
            output.record({"event": "committed", **shape})
        else:
            output.document(shape)
        return
    session_page.show_object(output, result.committed_object, ("session", result.session_id))
    again = f", {text.size(result.bytes_sent_again)} of it again" if result.bytes_sent_again else ""
    resumed = f", {text.size(result.bytes_resumed)} resumed" if result.bytes_resumed else ""
    output.note(f"{text.size(result.bytes_sent)} sent in {seconds:.1f} s{again}{resumed}")


def _how_to_resume(upload: Upload) -> str:
    words = _without(_words(upload), "--no-resume")  # which would start anew
    if upload.piped and not _is_regular("/dev/stdin"):
        gone = f"; `sealane abort {upload.session_id}` removes what has arrived" if upload.session_id else ""
        return f"Bytes from a pipe come only once: start again{gone}."
    if upload.session_id and not upload.resumable and "--session" not in words:
        words += ["--session", upload.session_id]
    return f"What has arrived stays. Resume with:  {shlex.join(words)}"


def _words(upload: Upload) -> list[str]:
    """The command line as it was given."""
    return ["sealane", *(click.get_current_context().find_root().obj or ["put", upload.file])]


def _without(words: list[str], flag: str, *, valued: str = "") -> list[str]:
    """``words`` without ``flag``, and without the option ``valued`` and its value."""
    kept: list[str] = []
    skip = False
    for word in words:
        if not skip and word not in (valued, flag) and not (valued and word.startswith(f"{valued}=")):
            kept.append(word)
        skip = word == valued
    return kept


def _is_regular(file: str) -> bool:
    """Whether FILE's bytes can be read again. A usage error if there is no such file."""
    if file == "-":
        return False
    try:
        mode = Path(file).stat().st_mode
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    if stat.S_ISDIR(mode):
        raise click.BadParameter(f"{file} is a directory: put its files one by one.", param_hint="FILE")
    return stat.S_ISREG(mode)
