"""What a command shows the services, and whom it trusts: options that every command has, and their variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealane import cluster_file
from sealane.cli.endpoints import Endpoints

if TYPE_CHECKING:
    from sealane.client import Tls, Token

_META = "sealane.security"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Beside the command's own parameters, so that no command has to pass them on."""
    ctx.meta.setdefault(_META, {})[parameter.name] = value


def _option(*names: str, variable: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, envvar=variable, show_envvar=True, expose_value=False, callback=_keep, **more)


OPTIONS = (
    _option(
        "--plaintext",
        is_flag=True,
        variable="SEALANE_PLAINTEXT",
        help="Send the token beyond this machine without TLS: only where a mesh protects it.",
    ),
    _option("--server-name", metavar="NAME", variable="SEALANE_SERVER_NAME", help="The name in their certificates."),
    _option("--key-file", type=_FILE, variable="SEALANE_KEY_FILE", help="Its private key."),
    _option("--cert-file", type=_FILE, variable="SEALANE_CERT_FILE", help="A client certificate to show (mTLS)."),
    _option(
        "--ca-file",
        type=_FILE,
        variable="SEALANE_CA_FILE",
        help="Authorities to trust, PEM; implies --tls.",
    ),
    _option("--tls", is_flag=True, variable="SEALANE_TLS", help="Use TLS; trust the system's authorities."),
    _option(
        "--token-file",
        type=_FILE,
        variable="SEALANE_TOKEN_FILE",
        help="A file with a bearer token, read again when it changes; or SEALANE_TOKEN, the token itself.",
    ),
)
"""In the order in which ``--help`` shows them, the last one first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client is made with."""

    tls: Tls | None
    token: Token | None
    plaintext: bool


def shown(found: Endpoints) -> Shown:
    """What the running command's options and the environment say. click.UsageError for what does not fit together."""
    from sealane.client import Tls

    given: dict[str, Any] = click.get_current_context().meta.get(_META, {})
    cert, key = given.get("cert_file"), given.get("key_file")
    if (cert is None) != (key is None):
        raise click.UsageError("--cert-file and --key-file go together (SEALANE_CERT_FILE, SEALANE_KEY_FILE)")
    tls = None
    ca_file, name = given.get("ca_file"), given.get("server_name") or ""
    if found.ca_file and ca_file is None:  # no authority of the system signs these
        ca_file, name = Path(found.ca_file), name or cluster_file.SERVER_NAME
    if given.get("tls") or ca_file or cert:
        tls = Tls(ca_file, cert, key, name)
    several = next((target for target in (found.ingest, found.assembly) if "," in target), None)
    if tls is not None and several and not tls.server_name:
        raise click.UsageError(
            f"{several}: several addresses with TLS need --server-name, as their certificates have it"
        )
    token: Token | None = given.get("token_file") or os.environ.get("SEALANE_TOKEN") or None
    plaintext = bool(given.get("plaintext"))
    if token is not None and tls is None and not plaintext:
        _refuse_to_show(found)
    return Shown(tls, token, plaintext)


def _refuse_to_show(found: Endpoints) -> None:
    from sealane.client.credentials import stays_here

    for target in (found.ingest, found.assembly):
        if not stays_here(target):
            raise click.UsageError(
                f"the token would go to {target} without TLS: --tls or --ca-file FILE; "
                "or --plaintext where a mesh protects it"
            )
