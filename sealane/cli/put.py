"""`sealane put FILE`."""

from __future__ import annotations

import asyncio
import logging
import shlex
import stat
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealane.cli import quantities, text
from sealane.cli.connection import DEFAULT_TIMEOUT, connect, endpoint_options
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed, from_sealane
from sealane.cli.meter import Meter, meter
from sealane.cli.output import Output

if TYPE_CHECKING:
    from sealane.client import Progress, UploadResult, UploadSource

_PROGRESS_EVERY_SECONDS = 0.2


@dataclass(slots=True)
class _Upload:
    """One `put`: what was asked for, and what is known so far."""

    file: str
    output: Output
    progress_records: bool
    resumable: bool
    """The same command line finds the session again: a regular file, and a journal."""
    options: dict[str, Any]
    session_id: str = ""
    started: float = field(default_factory=time.monotonic)
    stored: int = -1
    resumed: int = 0

    @property
    def piped(self) -> bool:
        return self.file == "-"


@click.command(name="put")
@click.argument("file")
@click.option("--name", help="The object's file name, its key's last segment.  [default: FILE's; object for -]")
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
@click.option("--chunk-size", callback=quantities.size, metavar="SIZE", help="A power of two.  [default: the server's]")
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
    """
    upload = _Upload(
        file=file,
        output=Output(as_json=as_json, quiet=quiet),
        progress_records=as_json and progress_records,
        resumable=_is_regular(file) and options["session_id"] is None,
        options=options,
    )
    _log_to(upload.output)
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


async def _put(upload: _Upload, ingest: str | None, assembly: str | None, patience: float) -> UploadResult:
    from sealane.client import SealaneError, SourceChanged

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
                report = _Reporter(upload, shown)
                result = await client.upload(source, progress=report, **options)
                report.flush()
                return result
    except SourceChanged as error:
        raise CommandFailed(
            error.message,
            reason="SOURCE_CHANGED",
            code="FAILED_PRECONDITION",
            exit_code=ExitCode.CONFLICT,
            hint="`sealane put` again uploads the file as it is now, in a new session.",
            data={"session_id": upload.session_id or None},
        ) from error
    except CommandFailed as failure:  # nobody answers
        _with_session(failure, upload)
        raise
    except SealaneError as error:
        raise _with_session(from_sealane(error), upload) from error
    except ValueError as error:  # a size that is not the source's, as the SDK says it
        raise click.UsageError(str(error)) from None


def _with_session(failure: CommandFailed, upload: _Upload) -> CommandFailed:
    """The failure with the session it leaves behind; what passes is answered by resuming."""
    if upload.session_id:
        failure.data["session_id"] = upload.session_id
        if failure.exit_code is ExitCode.UNAVAILABLE:
            failure.hint = _how_to_resume(upload)
    return failure


class _Reporter:
    """Passes on the newest progress a few times a second, however often it changes.

    Between two of them the SDK's numbers settle: a chunk that was just acknowledged is for a moment both stored and
    in flight.
    """

    def __init__(self, upload: _Upload, shown: Meter) -> None:
        self._upload = upload
        self._meter = shown
        self._latest: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, progress: Progress) -> None:
        self._latest = progress
        if progress.session_id != self._upload.session_id:
            self._session(progress.session_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PROGRESS_EVERY_SECONDS, self.flush)

    def flush(self) -> None:
        """Show the newest now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._latest is not None:
            self._show(self._latest)

    def _session(self, session_id: str) -> None:
        """Which session it is, at once: whoever interrupts the upload needs its name."""
        self._upload.session_id = session_id
        self._upload.output.note(f"session {session_id}")
        if self._upload.progress_records:
            self._upload.output.record({"event": "session", "session_id": session_id})

    def _show(self, progress: Progress) -> None:
        from sealane.cli import shapes
        from sealane.client import Phase

        upload = self._upload
        if progress.bytes_resumed and not upload.resumed:
            upload.resumed = progress.bytes_resumed
            upload.output.note(f"resumed: {text.size(progress.bytes_resumed)} had arrived before")
        if upload.progress_records and progress.bytes_stored != upload.stored:
            upload.stored = progress.bytes_stored
            upload.output.record({"event": "progress", **shapes.progress(progress)})
        retried = f"{progress.retries} retr{'y' if progress.retries == 1 else 'ies'}" if progress.retries else ""
        self._meter.show(
            progress.bytes_stored + progress.bytes_in_flight,
            progress.bytes_total,
            already=progress.bytes_resumed,
            note="committing" if progress.phase is Phase.COMMITTING else retried,
        )


def _show(upload: _Upload, result: UploadResult) -> None:
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


def _how_to_resume(upload: _Upload) -> str:
    words = list(click.get_current_context().find_root().obj or ["put", upload.file])
    if upload.piped and not _is_regular("/dev/stdin"):
        gone = f"; `sealane abort {upload.session_id}` removes what has arrived" if upload.session_id else ""
        return f"Bytes from a pipe come only once: start again{gone}."
    if upload.session_id and not upload.resumable and "--session" not in words:
        words += ["--session", upload.session_id]
    return f"What has arrived stays. Resume with:  {shlex.join(['sealane', *words])}"


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


class _Notes(logging.Handler):
    """What the SDK logs, as notes: never between lines of JSON."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(f"sealane: {record.getMessage()}")


def _log_to(output: Output) -> None:
    logging.getLogger().addHandler(_Notes(output))
