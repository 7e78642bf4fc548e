"""How a command reaches the services: the options that say where they are, and a client for as long as it runs."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealane import tracing
from sealane.cli import endpoints, security
from sealane.cli.exit_codes import BY_REASON
from sealane.cli.failures import CommandFailed
from sealane.domain.errors import Reason
from sealane.rpc.unreachable import is_about_tls

if TYPE_CHECKING:
    from sealane.client import Client

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TIMEOUT = 10.0
_HINT = (
    "Is it running there? `sealane dev` starts everything on this machine; --ingest and --assembly "
    "(or SEALANE_INGEST, SEALANE_ASSEMBLY) say where it is."
)
_TLS_HINT = (
    "--ca-file says whom to trust, --tls trusts the system's authorities, --server-name is the name in it, "
    "--cert-file with --key-file what to show."
)


def endpoint_options(command: F) -> F:
    """Where the services are, what to show them, and ``--json``: what every command that asks a service has."""
    for option in (
        *security.OPTIONS,
        click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and a failure as JSON on stderr."),
        click.option("--assembly", metavar="HOST:PORT", help="Where assembly is; several between commas."),
        click.option("--ingest", metavar="HOST:PORT", help="Where ingest is; several between commas."),
    ):
        command = option(command)
    return command


def timeout_option(command: F) -> F:
    """``--timeout``: how long to go on when a service does not answer."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=DEFAULT_TIMEOUT,
        show_default=True,
        help="Seconds to go on trying when a service does not answer.",
    )(command)


@contextlib.asynccontextmanager
async def connect(
    ingest: str | None, assembly: str | None, *, timeout: float, patience: float
) -> AsyncIterator[Client]:
    """A client of the services that :func:`sealane.cli.endpoints.resolve` finds.

    ``timeout`` bounds a small call with its retries, ``patience`` a long one that makes no progress; seconds. When
    nobody answers, the failure names both addresses and where they came from.
    """
    from sealane.client import BackoffPolicy, Client
    from sealane.client.errors import GaveUp, PeerUnavailable

    found = endpoints.resolve(ingest, assembly)
    traces = _traces()
    policy = BackoffPolicy(cap_seconds=5.0, patience_seconds=patience)
    try:
        shown = security.shown(found)
        async with (
            tracing.sent_to(traces, service="sealane-cli"),
            Client(
                found.ingest,
                found.assembly,
                tls=shown.tls,
                token=shown.token,
                plaintext=shown.plaintext,
                timeout=timeout,
                backoff=policy,
            ) as client,
        ):
            yield client
    except (GaveUp, PeerUnavailable) as error:
        if isinstance(error, GaveUp) and not isinstance(error.last, PeerUnavailable):
            raise
        code, exit_code = BY_REASON[Reason.PEER_UNAVAILABLE]
        raise CommandFailed(
            f"{error.message} (ingest {found.ingest}, from {found.ingest_source}; "
            f"assembly {found.assembly}, from {found.assembly_source})",
            reason=Reason.PEER_UNAVAILABLE.value,
            code=code,
            exit_code=exit_code,
            hint=_TLS_HINT if is_about_tls(error.message) else _HINT,
        ) from error


def _traces() -> str:
    """SEALANE_TRACES_ENDPOINT, checked. What becomes of the traces is not this command's to tell: stderr is its own."""
    try:
        endpoint = tracing.checked_endpoint(os.environ.get("SEALANE_TRACES_ENDPOINT", ""))
    except ValueError as error:
        raise click.UsageError(f"SEALANE_TRACES_ENDPOINT: {error}") from None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return endpoint
