"""Spans: nothing where nobody traces, W3C Trace Context where somebody does, and never an exception's text."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from sealane import spans, tracing
from sealane.rpc.channel import request_metadata

ROOT = Path(__file__).parents[2]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METHOD = "/sealane.v1.IngestService/GetSession"


@pytest.fixture
def told() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    spans.install(None)


def only(told: InMemorySpanExporter) -> ReadableSpan:
    [span] = told.get_finished_spans()
    return span


def test_nothing_of_opentelemetry_is_imported_where_nobody_traces() -> None:
    """By the services, the SDK and a command alike: off costs nothing, and needs no extra."""
    program = (
        "import sys, ingest_service.app, assembly_service.app, sealane.client, sealane.cli.connection\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 0


def test_where_nobody_traces_a_span_is_one_shared_thing_that_does_nothing() -> None:
    with spans.span("work", {"a": 1}) as span, spans.serving(METHOD, ()) as other:
        span.set({"b": 2})
        assert span is other is spans.NOTHING
        assert span.trace_id == ""
    assert spans.headers() == ()
    assert request_metadata("id") == (("x-request-id", "id"),)


def test_a_served_call_goes_on_with_its_callers_trace(told: InMemorySpanExporter) -> None:
    metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-bin", b"\x00"))
    with spans.serving(METHOD, metadata) as span:
        assert span.trace_id == TRACE
        [(name, value)] = spans.headers()
        assert (name, value[:36]) == ("traceparent", f"00-{TRACE}-")
        assert request_metadata("id") == (("x-request-id", "id"), (name, value))
    sent = only(told)
    assert (sent.name, sent.kind) == ("sealane.v1.IngestService/GetSession", SpanKind.SERVER)
    assert f"{sent.parent.span_id:016x}" == PARENT


@pytest.mark.parametrize("value", ["", "00-zz-zz-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 4096, "00-ff"])
def test_a_traceparent_that_is_none_begins_a_new_trace(told: InMemorySpanExporter, value: str) -> None:
    with spans.serving(METHOD, (("traceparent", value),)) as span:
        assert len(span.trace_id) == 32
    assert only(told).parent is None


def test_a_caller_who_does_not_sample_is_obeyed_and_its_lines_name_no_trace(told: InMemorySpanExporter) -> None:
    with spans.serving(METHOD, (("traceparent", f"00-{TRACE}-{PARENT}-00"),)) as span:
        assert span.trace_id == ""
        assert spans.headers()[0][1].endswith("-00")  # whoever comes next is told, too
    assert told.get_finished_spans() == ()


def test_a_share_of_nothing_traces_nothing() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        with spans.span("work") as span:
            assert span.trace_id == ""
    finally:
        spans.install(None)
    assert exporter.get_finished_spans() == ()


def test_a_call_to_the_store_is_told_only_as_a_part_of_something(told: InMemorySpanExporter) -> None:
    with spans.span("store.head", kind="store"):
        pass
    assert told.get_finished_spans() == ()
    with spans.span("work"), spans.span("store.head", kind="store"):
        pass
    head, work = told.get_finished_spans()
    assert (head.name, head.kind, head.parent) == ("store.head", SpanKind.CLIENT, work.context)


def test_an_exception_is_told_by_its_kind_and_not_its_text(told: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), spans.span("work"):
        raise ValueError("secret")
    span = only(told)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes == {"error.type": "ValueError"}
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(("code", "status"), [("NOT_FOUND", StatusCode.UNSET), ("INTERNAL", StatusCode.ERROR)])
def test_a_refusal_is_no_failure_of_the_server(told: InMemorySpanExporter, code: str, status: StatusCode) -> None:
    with contextlib.suppress(RuntimeError), spans.serving(METHOD, ()) as span:
        span.set({"rpc.response.status_code": code, "error.type": "REASON"})
        raise RuntimeError("how gRPC aborts")
    assert only(told).status.status_code is status
    assert only(told).attributes["error.type"] == "REASON"


async def test_tasks_are_parts_of_the_work_that_began_them(told: InMemorySpanExporter) -> None:
    async def part() -> None:
        with spans.span("part"):
            await asyncio.sleep(0)

    with spans.span("whole"):
        tasks = [asyncio.create_task(part()) for _ in range(2)]
    await asyncio.gather(*tasks)  # they may outlive it
    whole, *parts = told.get_finished_spans()
    assert [part.parent for part in parts] == [whole.context] * 2


async def test_a_collector_that_is_away_keeps_nobody() -> None:
    async with tracing.sent_to("http://127.0.0.1:1", service="test"):
        with spans.span("work") as span:
            assert span.trace_id
    assert not spans.installed()  # and this line was reached
