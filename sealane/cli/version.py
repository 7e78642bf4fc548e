"""`sealane version`."""

from __future__ import annotations

import platform

import click

from sealane import __version__
from sealane.cli.output import Output


@click.command(name="version")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(as_json: bool) -> None:
    """Show the version of sealane, and of the Python that runs it."""
    if as_json:
        Output(as_json=True).document({"version": __version__, "python": platform.python_version()})
    else:
        Output().line(f"sealane {__version__} (Python {platform.python_version()})")
