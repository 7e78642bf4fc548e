"""An OTLP collector: a real gRPC server that takes what exporters send, and keeps it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


@dataclass(frozen=True)
class SentSpan:
    """A span as it arrived."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any] = field(repr=False)
    ok: bool


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """``address`` is where it listens."""

    def __init__(self) -> None:
        self.address = ""
        self.raw = b""
        self._spans: list[SentSpan] = []
        self._more = threading.Condition()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        with self._more:
            self.raw += request.SerializeToString()
            for resource in request.resource_spans:
                names = {each.key: _value(each.value) for each in resource.resource.attributes}
                self._spans += [
                    SentSpan(
                        names["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        {each.key: _value(each.value) for each in span.attributes},
                        span.status.code != 2,
                    )
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
            self._more.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[SentSpan]:
        with self._more:
            return list(self._spans)

    def until(self, *names: str, trace: str, timeout: float = 60.0) -> list[SentSpan]:
        """The trace's spans, once there is one of each name among them."""

        def found() -> list[SentSpan]:
            return [span for span in self._spans if span.trace == trace]

        with self._more:
            arrived = self._more.wait_for(lambda: set(names) <= {span.name for span in found()}, timeout)
            assert arrived, f"missing: {set(names) - {span.name for span in found()}}"
            return found()


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free loopback port, while the block runs."""
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()
