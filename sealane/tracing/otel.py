"""The one place that knows OpenTelemetry: spans as :mod:`sealane.spans` wants them, W3C Trace Context, OTLP by gRPC.

Not opentelemetry-instrumentation-grpc: on a request stream its interceptor puts a queue before every frame.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractContextManager
from types import TracebackType

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sealane import __version__
from sealane.spans import NOTHING, Attributes, Headers, Kind, Span

EXPORT_SECONDS = 5.0
"""A collector that does not take a batch in that time has missed it."""
LAST_EXPORT_SECONDS = 3.0
"""At the end: what is not sent by then is not sent."""

_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that are a server's failure, by OpenTelemetry's conventions; the others are answers."""
_W3C = TraceContextTextMapPropagator()
_HEADERS = ("traceparent", "tracestate")
_KINDS: dict[Kind, SpanKind] = {"work": SpanKind.INTERNAL, "call": SpanKind.CLIENT, "store": SpanKind.CLIENT}


class OpenTelemetry:
    """A :class:`sealane.spans.Tracer`. Without a provider: OpenTelemetry's own global one."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("sealane", __version__, provider)

    def span(self, name: str, attributes: Attributes, kind: Kind) -> AbstractContextManager[Span]:
        if kind == "store" and not trace.get_current_span().get_span_context().is_valid:
            return NOTHING
        return _Block(self._tracer, name, None, _KINDS[kind], attributes)

    def serving(self, method: str, metadata: Headers) -> AbstractContextManager[Span]:
        carried = {key: value for key, value in metadata if key in _HEADERS and isinstance(value, str)}
        service, _, name = method.lstrip("/").rpartition("/")
        attributes = {"rpc.system.name": "grpc", "rpc.method": f"{service}/{name}"}
        # Of an empty context: a server's task may have been made within another call's.
        parent = _W3C.extract(carried, context=context.Context())
        return _Block(self._tracer, f"{service}/{name}", parent, SpanKind.SERVER, attributes)

    def headers(self) -> tuple[tuple[str, str], ...]:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return tuple(carrier.items())


class _Block:
    """A span, and the block that it is. An exception is told by its kind alone: its text is private."""

    def __init__(
        self, tracer: trace.Tracer, name: str, parent: context.Context | None, kind: SpanKind, attributes: Attributes
    ) -> None:
        self._span = tracer.start_span(name, context=parent, kind=kind, attributes=dict(attributes))
        self._parent = parent
        self._outcome_told = False

    @property
    def trace_id(self) -> str:
        """ "" of a trace that nobody samples: a line of the log must not lead nowhere."""
        return f"{self._span.get_span_context().trace_id:032x}" if self._span.is_recording() else ""

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))
        if (code := attributes.get("rpc.response.status_code")) is not None:
            self._outcome_told = True
            if code in _FAULTS:
                self._span.set_status(StatusCode.ERROR, str(code))

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span, self._parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context.detach(self._token)
        if isinstance(error, Exception) and not self._outcome_told:  # else it is the boundary's way to answer
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR, type(error).__name__)
        self._span.end()


def exporting(endpoint: str, *, service: str, sample: float) -> TracerProvider:
    """A provider that sends to the collector in a thread of its own, from a bounded queue; what overflows is dropped.

    The standard variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, …) apply where nothing is said here.
    """
    instance = os.urandom(16).hex()  # noqa: TID251 - names a process, in a process's composition root
    resource = Resource.create(
        {"service.name": service, "service.version": __version__, "service.instance.id": instance}
    )
    provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(sample)), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


async def flushed(provider: TracerProvider) -> None:
    """Send what is left, and end the provider's thread; not on the loop, and not for ever."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, provider.force_flush, int(LAST_EXPORT_SECONDS * 1000))
    await loop.run_in_executor(None, provider.shutdown)
