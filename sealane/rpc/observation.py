"""Who is told of every call that is served: metrics, the trace, and through its id the lines of the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from structlog.contextvars import bind_contextvars, get_contextvars

from sealane import spans
from sealane.spans import Headers, Span

_IDS = ("request_id", "session_id", "tenant")


class CallObserver(Protocol):
    """``method`` is the bare name, of a registered method: its values are few."""

    def rpc_in_progress(self, method: str) -> AbstractContextManager[None]:
        """The block is the call."""
        ...

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """With the status code that the client is sent, CANCELLED if it left."""
        ...


class Unobserved:
    """Nobody counts."""

    def rpc_in_progress(self, method: str) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        return None


@contextlib.contextmanager
def traced(method: str, metadata: Headers) -> Iterator[Span]:
    """The call's span; where there is a trace, each line that the call logs has its ``trace_id``."""
    with spans.serving(method, metadata) as span:
        if span.trace_id:
            bind_contextvars(trace_id=span.trace_id)
        yield span


def tell_outcome(span: Span, code: str, reason: str = "", error_id: str = "") -> None:
    """The code, and the ids that the log's lines of this call have."""
    if not span.trace_id:
        return
    attributes = {"rpc.response.status_code": code}
    if reason:
        attributes |= {"error.type": reason, "sealane.error_id": error_id}
    bound = get_contextvars()
    span.set(attributes | {f"sealane.{name}": str(bound[name]) for name in _IDS if name in bound})
