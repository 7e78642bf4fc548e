"""DeleteSession, AuditStore and ExplainSession over real gRPC: what the wire says, and what it never says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from assembly_faults import Fault, refuses
from assembly_time import eventually
from assembly_world import CHUNK, TENANT, content_of
from google.protobuf.duration_pb2 import Duration
from test_assembly_grpc import Service, raised, service  # noqa: F401 - the fixture

from sealane.domain import errors
from sealane.domain.ids import SessionId
from sealane.store import keys, port
from sealane.v1 import assembly_service_pb2 as pb
from sealane.v1 import session_pb2


async def test_delete_answers_what_went_and_then_there_is_nothing(service: Service) -> None:  # noqa: F811 - the fixture
    session = await service.world.session()
    await service.stub.CommitSession(service.request(session))
    answer = await service.stub.DeleteSession(pb.DeleteSessionRequest(session_id=session.id))
    assert answer.state == session_pb2.SESSION_STATE_DELETED
    counted = {some.kind: (some.count, some.bytes) for some in answer.removed}
    assert counted["object"] == (1, len(session.content))
    assert counted["receipt"] == (4, 0)
    assert service.world.leftovers(session) == []
    for call in (
        service.stub.DeleteSession(pb.DeleteSessionRequest(session_id=session.id)),
        service.stub.GetCommit(pb.GetCommitRequest(session_id=session.id)),
    ):
        assert isinstance(await raised(call), errors.SessionNotFound)
    bad = service.stub.DeleteSession(pb.DeleteSessionRequest(session_id="../x"))
    assert isinstance(await raised(bad), errors.InvalidSessionId)


async def test_a_delete_that_was_cut_short_is_told_to_the_sweeper(service: Service) -> None:  # noqa: F811
    session = await service.world.session()
    await service.stub.CommitSession(service.request(session))
    service.store.faults = Fault("delete", keys.SESSION, refuses(port.AccessDenied("no")))
    patrol = asyncio.create_task(service.assembly.patrol.run())
    answer = await raised(service.stub.DeleteSession(pb.DeleteSessionRequest(session_id=session.id)))
    assert isinstance(answer, errors.StoreUnavailable)
    await eventually(lambda: not service.world.leftovers(session))
    patrol.cancel()


async def _audit(service: Service, **asked: Any) -> list[pb.AuditStoreResponse]:  # noqa: F811
    return [message async for message in service.stub.AuditStore(pb.AuditStoreRequest(**asked))]


async def test_an_audit_streams_findings_and_ends_with_its_summary(service: Service) -> None:  # noqa: F811
    clean = await _audit(service, min_age=Duration())
    assert [message.WhichOneof("message") for message in clean] == ["summary"]
    session = await service.world.session(content_of(CHUNK))
    await service.stub.CommitSession(service.request(session))
    ghost = keys.object_key(TENANT, SessionId("f" * 32), "ghost")
    await service.world.plain.put(ghost, b"boo", timeout=30)
    torn = await service.world.session(content_of(2 * CHUNK))
    await service.world.plain.delete(keys.record(TENANT, torn.id, keys.SESSION), timeout=30)
    assert [message.WhichOneof("message") for message in await _audit(service)] == ["summary"]  # all of it is young
    *found, last = await _audit(service, min_age=Duration(), repair=True)
    kinds = {pb.AuditKind.Name(message.finding.kind): message.finding for message in found}
    assert set(kinds) == {
        "AUDIT_KIND_OBJECT_WITHOUT_RECORDS",
        "AUDIT_KIND_RECORD_WITHOUT_SESSION",
        "AUDIT_KIND_RECEIPT_WITHOUT_SESSION",
    }
    one = kinds["AUDIT_KIND_OBJECT_WITHOUT_RECORDS"]
    assert (one.key, one.count, one.bytes, one.repaired) == (ghost, 1, 3, False)
    assert kinds["AUDIT_KIND_RECEIPT_WITHOUT_SESSION"].repaired
    assert torn.upload_id not in str(found)  # upload ids never leave the service
    assert (last.summary.sessions, last.summary.objects) == (2, 2)
    assert {count.kind: count.repaired for count in last.summary.findings}[pb.AUDIT_KIND_RECORD_WITHOUT_SESSION] == 1
    *again, _ = await _audit(service, min_age=Duration())
    assert [message.finding.key for message in again] == [ghost]


@pytest.mark.parametrize("seconds", [-1, 10**10])
async def test_an_audit_of_an_impossible_age_is_refused(service: Service, seconds: int) -> None:  # noqa: F811
    answer = await raised(_audit(service, min_age=Duration(seconds=seconds)))
    assert type(answer) is errors.InvalidRequest
    assert answer.field == "min_age"


async def test_a_history_crosses_the_wire_with_times_ranges_and_no_secrets(service: Service) -> None:  # noqa: F811
    session = await service.world.session()
    answer = (await service.stub.CommitSession(service.request(session))).committed_object
    call = service.stub.ExplainSession(pb.ExplainSessionRequest(session_id=session.id))
    events = [event async for message in call for event in message.events]
    told = [event.event for event in events]
    assert told == ["created", "upload_started", "chunks_stored", "decided", "committed", "object", "next"]
    chunks = events[2]
    assert [(each.first, each.last) for each in chunks.chunks] == [(0, 3)]
    assert chunks.time.ToDatetime(UTC) - datetime(2030, 1, 1, tzinfo=UTC) > timedelta(0)
    assert events[4].fields["etag"] == answer.etag
    assert session.record.token not in str(events)
    assert session.upload_id not in str(events)
    ghost = service.stub.ExplainSession(pb.ExplainSessionRequest(session_id="0" * 32))
    assert isinstance(await raised(anext(aiter(ghost))), errors.SessionNotFound)
