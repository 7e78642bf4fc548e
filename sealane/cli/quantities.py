"""Sizes, durations and pairs as people type them: ``8MiB``, ``64M``, ``2h``, ``90``, ``name=value``.

Option callbacks of click's: each raises BadParameter, which is a usage error (exit code 2).
"""

from __future__ import annotations

import re

import click

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(i?B)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Bytes; K, M, G and T are powers of 1,024, with or without ``iB``."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no size; 8388608, 8M and 8MiB are.")
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


def rate(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes a second: a size, with or without ``/s`` behind it."""
    from sealane.client.streams import MIN_RATE

    found = size(context, parameter, None if value is None else value.strip().removesuffix("/s"))
    if found is not None and found < MIN_RATE:
        raise click.BadParameter(f"{value!r} is less than {MIN_RATE >> 10} KiB/s: servers give up on slower streams.")
    return found


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Seconds; or a number with s, m, h or d behind it."""
    if value is None:
        return None
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no duration; 90, 90s, 15m, 24h and 7d are.")
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``name=value`` each; a name twice is a mistake."""
    found: dict[str, str] = {}
    for pair in values:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not name=value.")
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice.")
        found[name] = value
    return found
