"""`sealane`: the entry point, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sealane import __version__
from sealane.cli.exit_codes import MEANINGS, ExitCode
from sealane.cli.failures import CommandFailed, from_sealane, report
from sealane.domain.errors import SealaneError
from sealane.extras import NotInstalled, needed

with needed("cli"):
    import click


class _Entry(NamedTuple):
    module: str
    summary: str
    section: str


_MOVE, _LOOK, _MACHINE = "Move objects", "Look at sessions and servers", "On your machine"
# The summaries stand here, so that the help page imports no command.
COMMANDS: Mapping[str, _Entry] = {
    "put": _Entry("put", "Upload a file, resume it, commit it.", _MOVE),
    "verify": _Entry("verify", "Read a committed object back and prove its bytes.", _MOVE),
    "abort": _Entry("abort", "Give a session up; its bytes are removed.", _MOVE),
    "rm": _Entry("rm", "Remove an object or a session, with all that it has.", _MOVE),
    "status": _Entry("status", "Show a session: state, coverage, prefix digest.", _LOOK),
    "watch": _Entry("watch", "Follow a session until its end.", _LOOK),
    "ls": _Entry("ls", "List your sessions.", _LOOK),
    "key": _Entry("key", "Show who holds a key: generation, session, digest.", _LOOK),
    "explain": _Entry("explain", "Tell a session's history, from the store and from logs.", _LOOK),
    "audit": _Entry("audit", "Walk the store both ways: what does not fit together?", _LOOK),
    "info": _Entry("info", "Show what a server is: limits, store verdict, statistics.", _LOOK),
    "dev": _Entry("dev", "Run a store and both services here, until Ctrl-C.", _MACHINE),
    "doctor": _Entry("doctor", "Ask an S3 store for the guarantees that sealane needs.", _MACHINE),
    "version": _Entry("version", "Show the version.", _MACHINE),
}

_EXIT_CODES = "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())


class _Lazy(click.Group):
    """Loads a command's module when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(f"sealane.cli.{entry.module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in (_MOVE, _LOOK, _MACHINE):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, entry.summary) for name, entry in COMMANDS.items() if entry.section == section],
                    col_max=12,
                )


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"""\b
Where the services are, first match wins:
  --ingest, --assembly      HOST:PORT, several between commas, or any gRPC target
  SEALANE_INGEST, SEALANE_ASSEMBLY
  ./.sealane/dev            a running `sealane dev`
  127.0.0.1:7301, :7302     the services' defaults

\b
Who you are to them (every command that asks them):
  --token-file              SEALANE_TOKEN_FILE, or SEALANE_TOKEN
  --tls, --ca-file          SEALANE_TLS, SEALANE_CA_FILE
  --cert-file, --key-file   SEALANE_CERT_FILE, SEALANE_KEY_FILE

\b
Exit codes:
{_EXIT_CODES}

\b
With --json, every command writes its result to stdout as one JSON document
(put --progress, watch and dev: one a line), and a failure to stderr as one
line: {{"error": {{"reason", "code", "message", "error_id", "hint", "exit_code"}}}}.
NO_COLOR is honoured.
""",
)
@click.version_option(__version__, message="sealane %(version)s")
def cli() -> None:
    """sealane moves large objects into S3-compatible storage, exactly once, whatever crashes.

    \b
    sealane dev                 a store and both services, on this machine
    sealane put FILE            upload, resumed by itself after any interruption
    sealane status SESSION      what has arrived
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code of ``sealane ARGUMENTS`` (default: the process's own); everything is said on stdout and stderr."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on stderr are for developers of gRPC
    as_json = "--json" in arguments  # also when the command line is wrong, and so was never parsed
    try:
        result = cli.main(list(arguments), prog_name="sealane", standalone_mode=False, obj=list(arguments))
    except click.exceptions.NoArgsIsHelpError as page:
        page.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        return _usage(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        failure = CommandFailed("interrupted", reason="INTERRUPTED", code="CANCELLED", exit_code=ExitCode.INTERRUPTED)
    except NotInstalled as error:
        failure = CommandFailed(
            error.message,
            reason="NOT_INSTALLED",
            code="FAILED_PRECONDITION",
            exit_code=ExitCode.FAILED,
            hint=error.hint,
        )
    except SealaneError as error:
        failure = from_sealane(error)
    except CommandFailed as error:
        failure = error
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        failure = CommandFailed(named, reason="LOCAL_IO", code="UNKNOWN", exit_code=ExitCode.FAILED)
    else:
        return result if isinstance(result, int) else ExitCode.OK
    report(failure, as_json=as_json)
    return failure.exit_code


def _usage(error: click.ClickException, *, as_json: bool) -> int:
    if as_json:
        failure = CommandFailed(
            error.format_message(), reason="USAGE", code="INVALID_ARGUMENT", exit_code=ExitCode.USAGE
        )
        report(failure, as_json=True)
    else:
        error.show()
    return ExitCode.USAGE


def main() -> None:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
