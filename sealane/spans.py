"""Where traces would be told: a port that does nothing until :func:`install` gives it a tracer.

Everything calls it, the code that the simulation runs too; only :mod:`sealane.tracing` knows OpenTelemetry, and is
imported only where tracing is on. Off, a span costs a call (about 0.2 µs), and nothing is ever spent on a frame.

Attributes are names and numbers: a session's id, a chunk's index. Never bytes, credentials, or an exception's text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Protocol

Attributes = Mapping[str, str | int | float | bool]
Kind = Literal["work", "call", "store"]
"""A part of what this process does; a call to another service; one to the store, which is told only inside of another
span, so that the sweeper's rounds make no trace each."""
Headers = Iterable[tuple[str, str | bytes]]
"""Metadata of a call, as gRPC has it."""


class Span(Protocol):
    """One piece of work of a trace."""

    @property
    def trace_id(self) -> str:
        """32 hex digits; "" if the work is not traced."""
        ...

    def set(self, attributes: Attributes) -> None:
        """Say something of it."""
        ...


class Tracer(Protocol):
    """What makes spans: :class:`sealane.tracing.otel.OpenTelemetry`. A span ends with its block."""

    def span(self, name: str, attributes: Attributes, kind: Kind) -> AbstractContextManager[Span]:
        """A piece of work of ``kind``."""
        ...

    def serving(self, method: str, metadata: Headers) -> AbstractContextManager[Span]:
        """A call that is served here, part of the trace that ``metadata`` names, or the first of a new one."""
        ...

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Metadata for a call that is made here, so that its server goes on with the trace."""
        ...


class _Nothing:
    """The span of no trace, and its block."""

    trace_id = ""

    def set(self, attributes: Attributes) -> None:
        """To nobody."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


NOTHING = _Nothing()
_NONE: Attributes = {}
_tracer: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """From here on ``tracer`` makes this process's spans; None: nobody does."""
    global _tracer
    _tracer = tracer


def installed() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def span(name: str, attributes: Attributes = _NONE, kind: Kind = "work") -> AbstractContextManager[Span]:
    """A piece of work, from here to the end of the block."""
    return NOTHING if _tracer is None else _tracer.span(name, attributes, kind)


def serving(method: str, metadata: Headers) -> AbstractContextManager[Span]:
    """A call of ``method`` (``/package.Service/Method``) that this process serves."""
    return NOTHING if _tracer is None else _tracer.serving(method, metadata)


def headers() -> tuple[tuple[str, str], ...]:
    """What an outgoing call must carry: W3C ``traceparent``, or nothing."""
    return () if _tracer is None else _tracer.headers()
