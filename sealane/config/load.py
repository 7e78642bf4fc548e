"""Reading the settings of the environment, with every fault said at once."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sealane.config.rules import PREFIX
from sealane.config.shared import CommonSettings

SERVICES = ("INGEST", "ASSEMBLY")
EX_CONFIG = 78
"""sysexits.h: something is wrong with the configuration."""

S = TypeVar("S", bound=CommonSettings)


def load(cls: type[S]) -> S:
    """The settings of the environment.

    With faults, writes them all to stderr, one a line with the variable's name, and raises SystemExit(78). A variable
    ``SEALANE_…`` that is no setting here is a fault if it looks like a misspelt one, else a warning: it may be the
    other service's, for operators share one environment file. Rules over several settings are judged once each of
    them is valid by itself.
    """
    environ = os.environ
    misspelt, strange = _unknown(cls, environ)
    faults = [f"{name}: not a setting{hint}" for name, hint in misspelt]
    settings: S | None = None
    try:
        settings = cls()  # type: ignore[call-arg]  # its arguments come from the environment
    except ValidationError as error:
        faults += [line for fault in error.errors() for line in _fault(cls, fault, environ)]
    for name in strange:
        print(f"warning: {name}: not a setting of this service", file=sys.stderr)
    if faults or settings is None:
        print("\n".join(faults), file=sys.stderr)
        raise SystemExit(EX_CONFIG)
    return settings


def _variable(cls: type[CommonSettings], field: str, environ: Iterable[str]) -> str:
    """The name under which ``field`` was set, or could be."""
    own = f"{PREFIX}{cls.service}_{field}".upper()
    return own if own in {name.upper() for name in environ} else f"{PREFIX}{field}".upper()


def _fault(cls: type[CommonSettings], fault: ErrorDetails, environ: Iterable[str]) -> list[str]:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message.splitlines()  # of a rule over several settings: it names them itself
    field = str(fault["loc"][0])
    name = _variable(cls, field, environ)
    if fault["type"] == "missing":
        return [f"{name}: must be set ({_summary(cls.model_fields[field])})"]
    shown = "" if _secret(cls.model_fields[field]) else f", not {str(fault['input'])[:80]!r}"
    return [f"{name}: {message}{shown}"]


def _summary(field: FieldInfo) -> str:
    return (field.description or "").strip().splitlines()[0]


def _secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _unknown(cls: type[CommonSettings], environ: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Variables with our prefix that are no settings: those that look misspelt, with a hint, and the others."""
    fields = [name.upper() for name in cls.model_fields]
    own = f"{cls.service}_"
    misspelt: list[tuple[str, str]] = []
    strange: list[str] = []
    for variable in sorted(environ):
        name = variable.upper()
        if not name.startswith(PREFIX):
            continue
        rest = name.removeprefix(PREFIX)
        mine = bool(cls.service) and rest.startswith(own)
        if mine:
            rest = rest.removeprefix(own)
        elif any(rest.startswith(f"{service}_") for service in SERVICES):
            continue  # the other service's own
        if rest in fields:
            continue
        near = difflib.get_close_matches(rest, fields, n=1, cutoff=0.8)
        if near:
            misspelt.append((variable, f"; did you mean {PREFIX}{own if mine else ''}{near[0]}?"))
        elif mine:
            misspelt.append((variable, " of this service"))
        else:
            strange.append(variable)
    return misspelt, strange
