"""What an operator sees of real services: what was done is counted, one trace goes through all, no log has a secret."""

from __future__ import annotations

import base64
import dataclasses
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import grpc
import pytest
from cli_process import CHUNK, Content, write_content
from grpcurl import b64, grpcurl
from minio import Minio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_collector import SentSpan
from watched_services import Watched, until, watched_services

from sealane import spans, tracing
from sealane.client import SyncClient
from sealane.dev.seaweed import SeaweedFS
from sealane.dev.service import Kind

pytestmark = [pytest.mark.e2e, pytest.mark.real_store, pytest.mark.timeout(300)]

BODY_MARK = b"bytes-of-an-object-that-no-log-and-no-trace-may-hold"


@pytest.fixture(scope="module")
def watched(seaweed: SeaweedFS, plain_s3: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    bucket = f"watched-{secrets.token_hex(6)}"
    plain_s3.make_bucket(bucket)
    with watched_services(seaweed, bucket, tmp_path_factory.mktemp("watched")) as services:
        yield services
    plain_s3.remove_bucket(bucket)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    content = write_content(tmp_path_factory.mktemp("content") / "seen.bin", 2 * CHUNK + 5)
    content.path.write_bytes(BODY_MARK + content.body[len(BODY_MARK) :])
    return Content(content.path, content.path.read_bytes())


@pytest.fixture(scope="module")
def session(watched: Watched, content: Content) -> str:
    """Of an upload that the CLI made of three chunks, and committed."""
    put = watched.commands("put", content.path, "--json")
    assert put.code == 0, put.err
    session: str = put.document["session_id"]
    return session


# --- metrics ---


def test_what_was_done_is_counted(watched: Watched, content: Content, session: str) -> None:
    assert watched.value("ingest", 'sealane_rpcs_total{code="OK",method="CreateSession"}') >= 1
    assert watched.value("ingest", 'sealane_chunks_total{result="stored"}') == 3
    assert watched.value("ingest", "sealane_stored_bytes_total") == content.size
    assert watched.value("ingest", "sealane_received_bytes_total") >= content.size
    assert watched.value("ingest", "sealane_sessions_created_total") >= 1
    assert watched.value("ingest", "sealane_chunk_duration_seconds_count") == 3
    assert watched.value("ingest", 'sealane_store_calls_total{operation="upload_part",outcome="ok"}') == 3
    assert watched.value("ingest", 'sealane_queue_wait_seconds_count{queue="part"}') == 3
    assert watched.value("ingest", 'sealane_queue_wait_seconds_count{queue="memory"}') >= 3
    assert watched.value("ingest", "sealane_memory_in_use_bytes") == 0
    assert watched.value("assembly", 'sealane_sessions_ended_total{outcome="committed"}') == 1
    for phase in ("read", "check", "decide", "finish"):
        assert watched.value("assembly", f'sealane_commit_phase_duration_seconds_count{{phase="{phase}"}}') == 1
    for kind in ("ingest", "assembly"):
        assert watched.value(kind, "sealane_ready") == 1
        assert watched.value(kind, "sealane_store_reachable") == 1
        assert watched.value(kind, 'sealane_store_guarantee{guarantee="R2"}') == 1


def test_server_info_and_metrics_tell_the_same(watched: Watched, session: str) -> None:
    told = watched.commands("info", "--json").document["statistics"]
    assert told["sessions_created"] == watched.value("ingest", "sealane_sessions_created_total")
    assert told["chunks_stored"] == watched.value("ingest", 'sealane_chunks_total{result="stored"}')
    assert told["bytes_stored"] == watched.value("ingest", "sealane_stored_bytes_total")
    assert told["memory_budget"] == watched.value("ingest", "sealane_memory_budget_bytes")


def test_a_refusal_is_counted_by_its_code_and_reason(watched: Watched) -> None:
    answer = grpcurl(watched.ingest.address, "IngestService/GetSession", {"session_id": secrets.token_hex(16)})
    assert answer.reason == "SESSION_NOT_FOUND"
    assert watched.value("ingest", 'sealane_rpcs_total{code="NOT_FOUND",method="GetSession"}') >= 1
    assert watched.value("ingest", 'sealane_rpc_errors_total{reason="SESSION_NOT_FOUND"}') >= 1


def test_a_chunk_with_other_bytes_than_declared_is_counted_as_corrupt(watched: Watched) -> None:
    size = {"filename": "bad", "size": "4"}
    made = grpcurl(watched.ingest.address, "IngestService/CreateSession", size).one["session"]["session_id"]
    frame = {"chunk_index": "0", "data": b64(b"abcd"), "blake3": b64(bytes(32))}
    messages = ({"header": {"session_id": made}}, {"frame": frame})
    assert grpcurl(watched.ingest.address, "IngestService/UploadChunks", *messages).reason == "CHUNK_CORRUPT"
    assert watched.value("ingest", 'sealane_chunks_total{result="corrupt"}') == 1


def test_a_method_that_does_not_exist_makes_no_series(watched: Watched) -> None:
    """Labels are words of the code: who may call can't make them many."""
    with grpc.insecure_channel(watched.ingest.address) as channel:
        unknown = channel.unary_unary("/sealane.v1.IngestService/MadeUp")
        with pytest.raises(grpc.RpcError):
            unknown(b"", timeout=10)
    assert "MadeUp" not in watched.scrape("ingest")


def test_metrics_are_not_on_the_port_of_grpc_and_grpc_is_not_on_theirs(watched: Watched) -> None:
    with pytest.raises((HTTPException, urllib.error.URLError, OSError)):
        urllib.request.urlopen(f"http://{watched.ingest.address}/metrics", timeout=10).read()


@pytest.mark.parametrize("kind", ["ingest", "assembly"])
def test_promtool_has_nothing_to_say_of_what_a_service_tells(watched: Watched, session: str, kind: Kind) -> None:
    promtool = Path(sys.executable).parent / "promtool"
    assert promtool.exists(), "make promtool"  # a check that is not made is not passed
    text = watched.scrape(kind).encode()
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    bad = text.replace(b"sealane_rpcs_total", b"sealane_rpcs")
    told = subprocess.run([promtool, "check", "metrics"], input=bad, capture_output=True, timeout=60, check=False)
    assert told.returncode == 3, "promtool would have said so"


# --- traces ---


def way_up(spans: list[SentSpan], span: SentSpan) -> list[str]:
    """From a span to the root of its trace."""
    by_id, way = {each.id: each for each in spans}, [span]
    while way[-1].parent:
        way.append(by_id[way[-1].parent])
    return [f"{each.service.removeprefix('sealane-')} {each.name.rpartition('.')[2]}" for each in way]


def test_one_trace_goes_from_the_client_through_both_services_to_the_store(watched: Watched, session: str) -> None:
    root = next(span for span in watched.collector.spans if span.name == "client.upload")
    spans = watched.collector.until(
        *("store.upload_part", "ingest.chunk", "sealane.v1.IngestService/UploadChunks", "client.UploadChunks"),
        *("store.complete_multipart", "commit.finish", "sealane.v1.AssemblyService/CommitSession"),
        *("ingest.StreamReceipts", "sealane.v1.IngestService/StreamReceipts", "client.CommitSession"),
        trace=root.trace,
    )
    ways = [way_up(spans, span) for span in spans]
    assert [
        *("ingest upload_part", "ingest chunk", "ingest IngestService/UploadChunks"),
        *("cli UploadChunks", "cli upload"),
    ] in ways
    assert [
        *("ingest list_objects", "ingest IngestService/StreamReceipts", "assembly StreamReceipts", "assembly check"),
        *("assembly AssemblyService/CommitSession", "cli CommitSession", "cli upload"),
    ] in ways
    assert [
        *("assembly complete_multipart", "assembly finish", "assembly AssemblyService/CommitSession"),
        *("cli CommitSession", "cli upload"),
    ] in ways


def test_spans_name_the_session_and_its_chunks(watched: Watched, content: Content, session: str) -> None:
    until(
        lambda: sum(s.attributes.get("sealane.session_id") == session for s in watched.collector.spans) >= 5,
        "spans of the session",
    )
    mine = [s for s in watched.collector.spans if s.attributes.get("sealane.session_id") == session]
    chunks = [s for s in mine if s.name == "ingest.chunk"]
    assert sorted(s.attributes["sealane.chunk.index"] for s in chunks) == [0, 1, 2]
    assert sum(s.attributes["sealane.chunk.length"] for s in chunks) == content.size
    assert {s.attributes["sealane.chunk.status"] for s in chunks} == {"STORED"}
    [commit] = [s for s in mine if s.name.endswith("/CommitSession")]
    assert commit.attributes["rpc.response.status_code"] == "OK"
    assert commit.attributes["sealane.tenant"] == "default"


def test_a_line_of_the_log_leads_to_its_trace(watched: Watched, session: str) -> None:
    lines = [line for line in watched.lines("assembly") if line.get("session_id") == session and line["event"] == "rpc"]
    traces = {span.trace for span in watched.collector.spans if span.name == "client.upload"}
    assert {line["trace_id"] for line in lines if line["method"].endswith("CommitSession")} <= traces


def test_a_failure_is_told_by_its_kind_and_never_by_its_text(watched: Watched) -> None:
    gone = secrets.token_hex(16)
    assert watched.commands("status", gone).code != 0
    until(
        lambda: any(s.attributes.get("error.type") == "SESSION_NOT_FOUND" for s in watched.collector.spans),
        "the failed span",
    )
    [client] = [s for s in watched.collector.spans if s.name == "client.GetSession" and not s.ok]
    assert client.attributes["error.type"] == "AioRpcError"
    assert b"exception.message" not in watched.collector.raw


def test_the_sweepers_rounds_make_no_traces(watched: Watched, session: str) -> None:
    assert [s.name for s in watched.collector.spans if not s.parent and s.name.startswith("store.")] == []


def test_a_programs_own_trace_goes_on_in_the_services(watched: Watched) -> None:
    """``sealane.tracing.use()``, and a blocking client, whose calls are made in another thread."""
    told, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(told))
    tracing.use(provider)
    try:
        with (
            SyncClient(watched.ingest.address, watched.assembly.address) as client,
            provider.get_tracer("program").start_as_current_span("mine") as mine,
        ):
            client.get_server_info()
    finally:
        spans.install(None)
    [call] = [span for span in told.get_finished_spans() if span.name == "client.GetServerInfo"]
    assert call.parent == mine.get_span_context()
    trace = f"{mine.get_span_context().trace_id:032x}"
    [served] = watched.collector.until("sealane.v1.IngestService/GetServerInfo", trace=trace)
    assert served.parent == f"{call.context.span_id:016x}"


def test_a_command_whose_collector_is_away_says_what_it_always_says(watched: Watched) -> None:
    """Traces are nobody's answer: exit code, stdout and stderr are as without them."""
    for endpoint, code in (("http://127.0.0.1:1", 3), ("nonsense", 2)):
        commands = dataclasses.replace(
            watched.commands, env=watched.commands.env | {"SEALANE_TRACES_ENDPOINT": endpoint}
        )
        failed = commands("status", secrets.token_hex(16), "--json")
        assert failed.code == code
        assert failed.error["exit_code"] == code
        assert failed.out == ""


# --- logs ---


def test_the_level_changes_while_it_runs(watched: Watched) -> None:
    def change(name: str, level: str) -> None:
        before = len(watched.lines("assembly"))
        os.kill(watched.assembly.pid, getattr(signal, name))
        until(
            lambda: any(
                line["event"] == "log_level" and line["to"] == level for line in watched.lines("assembly")[before:]
            ),
            f"a line that says {level}",
        )

    def levels_of_a_call() -> set[str]:
        before = len(watched.lines("assembly"))
        gone = {"session_id": secrets.token_hex(16)}
        assert grpcurl(watched.assembly.address, "AssemblyService/GetCommit", gone).reason == "SESSION_NOT_FOUND"
        lines = watched.lines("assembly")[before:]
        assert any(line["event"] == "rpc" for line in lines)
        return {line["level"] for line in lines if line.get("event") in ("rpc", "store") and "request_id" in line}

    assert levels_of_a_call() == {"info"}
    change("SIGUSR1", "DEBUG")
    assert levels_of_a_call() == {"info", "debug"}
    change("SIGUSR2", "INFO")
    assert levels_of_a_call() == {"info"}


def test_no_secret_is_in_the_logs_the_metrics_or_the_traces(watched: Watched, content: Content, session: str) -> None:
    """At DEBUG, after good calls and bad ones: each way in which a secret could be written."""
    token = secrets.token_hex(16)
    bad = grpcurl(
        watched.ingest.address,
        "IngestService/CreateSession",
        {"filename": "a/../b", "metadata": {"sealane-x": "y"}},
        headers=(f"authorization: Bearer {token}",),
    )
    assert bad.reason.startswith("INVALID")
    os.kill(watched.assembly.pid, signal.SIGUSR1)
    until(lambda: any(line.get("to") == "DEBUG" for line in watched.lines("assembly")), "assembly at DEBUG")
    other = {"session_id": session, "chunk_count": "1", "size": "3", "blake3": b64(bytes(32))}
    assert grpcurl(watched.assembly.address, "AssemblyService/CommitSession", other).reason == "SESSION_SEALED"
    assert watched.commands("verify", session).code == 0
    text = watched.text() + watched.scrape("ingest") + watched.scrape("assembly")
    told = text.encode() + watched.collector.raw
    assert session.encode() in told  # it is the log of what was done
    secret = watched.settings["SEALANE_S3_SECRET_KEY"]
    for name, value in {
        "the S3 secret": secret.encode(),
        "the S3 secret in base64": base64.b64encode(secret.encode()),
        "a bearer token": token.encode(),
        "a signature": b"Signature=",
        "the authorization header": b"AWS4-HMAC-SHA256",
        "bytes of an object": BODY_MARK,
        "bytes of an object in base64": base64.b64encode(BODY_MARK)[:40],
    }.items():
        assert value not in told, name
    for kind in ("ingest", "assembly"):
        assert any(line["level"] == "debug" for line in watched.lines(kind)), "the log was not at DEBUG"
    for line in [*watched.lines("ingest"), *watched.lines("assembly")]:
        assert {"ts", "level", "service", "logger", "event"} <= set(line)


def test_every_call_has_one_line_with_its_ids(watched: Watched, session: str) -> None:
    mine = "one-line-" + secrets.token_hex(4)
    headers = (f"x-request-id: {mine}",)
    good = {"session_id": session}
    assert grpcurl(watched.ingest.address, "IngestService/GetSession", good, headers=headers).code == 0
    [line] = [line for line in watched.lines("ingest") if line.get("request_id") == mine and line["event"] == "rpc"]
    assert (line["code"], line["session_id"], line["tenant"]) == ("OK", session, "default")
    failed = "failed-" + secrets.token_hex(4)
    gone = {"session_id": secrets.token_hex(16)}
    headers = (f"x-request-id: {failed}",)
    assert (
        grpcurl(watched.ingest.address, "IngestService/GetSession", gone, headers=headers).reason == "SESSION_NOT_FOUND"
    )
    [line] = [line for line in watched.lines("ingest") if line.get("request_id") == failed and line["event"] == "rpc"]
    assert line["code"] == "NOT_FOUND"
    assert line["error_id"]
