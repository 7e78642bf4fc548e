"""The boundary: the one place where exceptions become statuses, and the only caller of ``context.abort``.

The public answer is built from the domain error's typed values. The private text and the traceback go to the log, under
an error id that the answer names; an exception that nobody foresaw gets a fixed text and that id, and raises an alarm.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from structlog.stdlib import BoundLogger

from sealane.domain.errors import DeadlineExceeded, InternalError, SealaneError, Unimplemented
from sealane.domain.ids import Entropy
from sealane.rpc.observation import CallObserver, Unobserved, tell_outcome, traced
from sealane.rpc.status import ALARMING, TABLE, to_status, translate_store_error
from sealane.spans import Span
from sealane.store.port import AccessDenied, StoreError

T = TypeVar("T")

_WARNED = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
)


class Counters(Protocol):
    """What the boundary counts into."""

    errors_by_reason: Counter[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, understood: what to answer, whether an operator must see it, and whether it is a bug."""

    error: SealaneError
    alarm: bool
    unexpected: bool


def classify(exception: Exception) -> Failure:
    """What ``exception`` means to the caller of an RPC.

    Domain errors stand for themselves; store errors are translated; a time-out is the deadline's; of an exception
    group the worst counts, for a bug beside a refusal is still a bug. Anything else is InternalError with no text.
    """
    match exception:
        case SealaneError():
            return Failure(exception, TABLE[exception.reason].code in ALARMING, unexpected=False)
        case StoreError():
            error = translate_store_error(exception)
            alarm = isinstance(exception, AccessDenied) or TABLE[error.reason].code in ALARMING
            return Failure(error, alarm, unexpected=False)
        case TimeoutError():
            return Failure(DeadlineExceeded(), alarm=False, unexpected=False)
        case ExceptionGroup():
            failures = [classify(leaf) for leaf in _leaves(exception)]
            return max(failures, key=lambda failure: (failure.unexpected, failure.alarm))
        case _:
            return Failure(InternalError(private=f"unexpected {type(exception).__name__}"), alarm=True, unexpected=True)


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for member in group.exceptions:
        if isinstance(member, ExceptionGroup):
            yield from _leaves(member)
        else:
            yield member


class Boundary:
    """Runs a call's work; answers its errors; logs one line an outcome; counts errors by reason."""

    def __init__(
        self, *, log: BoundLogger, counters: Counters, entropy: Entropy, observer: CallObserver | None = None
    ) -> None:
        self._log = log
        self._counters = counters
        self._entropy = entropy
        self._observer = observer or Unobserved()

    async def run(
        self, context: aio.ServicerContext[Any, Any], method: str, request_id: str, work: Callable[[], Awaitable[T]]
    ) -> T:
        """``work()``'s answer. Never ends with an exception that gRPC would put on the wire as text.

        CancelledError (client gone, its deadline, or the end of the drain) passes untouched.
        """
        name = method.rpartition("/")[2]
        metadata = context.invocation_metadata() or ()
        with self._observer.rpc_in_progress(name), traced(method, metadata) as span:
            return await self._run(context, method, request_id, work, span)

    async def _run(
        self,
        context: aio.ServicerContext[Any, Any],
        method: str,
        request_id: str,
        work: Callable[[], Awaitable[T]],
        span: Span,
    ) -> T:
        started = asyncio.get_running_loop().time()
        fields: dict[str, Any] = {"method": method, "peer": context.peer()}

        def outcome(code: str, level: str = "info", **more: Any) -> None:
            elapsed = asyncio.get_running_loop().time() - started
            self._observer.rpc_ended(method.rpartition("/")[2], code, elapsed)
            tell_outcome(span, code, more.get("reason", ""), more.get("error_id", ""))
            getattr(self._log, level)("rpc", code=code, duration_ms=round(elapsed * 1e3, 3), **fields, **more)

        try:
            answer = await work()
        except asyncio.CancelledError:
            outcome("CANCELLED")
            raise
        except aio.AbortError:  # somebody below answered by themselves: not ours to answer again
            outcome(_code_name(context), "warning")
            raise
        except Exception as exception:  # broad on purpose: this is the boundary, nothing may pass it as text
            if isinstance(exception, aio.BaseError) and context.cancelled():
                outcome("CANCELLED")  # the client left while its answer was being written
                raise asyncio.CancelledError from exception
            failure = self._failure(exception, context)
            error_id = self._entropy(8).hex()
            error = failure.error
            self._counters.errors_by_reason[error.reason.value] += 1
            code = TABLE[error.reason].code
            level = "error" if failure.alarm else "warning" if code in _WARNED else "info"
            more: dict[str, Any] = {"reason": error.reason.value, "error_id": error_id, "message": error.message}
            if error.private:
                more["private"] = error.private
            if failure.alarm:
                more |= {"alarm": True, "exc_info": exception}
            outcome(code.name, level, **more)
            status = to_status(error, error_id, request_id=request_id)
            await context.abort(status.code, status.message, status.trailing_metadata)
            raise AssertionError("abort() returned") from exception
        outcome("OK")
        return answer

    @staticmethod
    def _failure(exception: Exception, context: aio.ServicerContext[Any, Any]) -> Failure:
        # What a generated base class does for a method that its subclass does not have.
        if isinstance(exception, NotImplementedError) and _code_name(context) == "UNIMPLEMENTED":
            return Failure(Unimplemented(), alarm=False, unexpected=False)
        return classify(exception)


def _code_name(context: aio.ServicerContext[Any, Any]) -> str:
    """The code set in ``context``; it answers an int before one was set, and a member after."""
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def parsing(deserialize: Callable[[bytes], T] | None, malformed: Callable[[], SealaneError]) -> Callable[[bytes], T]:
    """``deserialize`` (None: bytes as they are), answering ``malformed()`` instead of a parser's own exception."""

    def parse(data: bytes) -> T:
        try:
            return data if deserialize is None else deserialize(data)  # type: ignore[return-value]  # None: T is bytes
        except DecodeError as error:
            raise malformed() from error

    return parse
