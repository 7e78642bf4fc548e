"""Another tenant's session is an unknown one: for every rpc that is told a session or a key, the same answer.

An rpc that is added to the protos, and takes either, fails here until it has a row of its own.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from secured_world import CONTENT, Secured, bearer, commit_request, messages, secured, token

from sealane.rpc.status import STATUS_DETAILS_KEY
from sealane.v1 import assembly_service_pb2 as assembly_pb
from sealane.v1 import errors_pb2
from sealane.v1 import ingest_service_pb2 as ingest_pb

UNKNOWN = "f" * 32
OWNER, STRANGER = token("acme", "all"), token("other", "all")

Ask = Callable[[Secured, str, str], Any]
"""Calls an rpc about a session (or the key of the same name) with somebody's token."""


def on_ingest(method: str, request: Callable[[str], Any]) -> Ask:
    return lambda world, name, secret: getattr(world.ingest, method)(request(name), timeout=20, metadata=bearer(secret))


def on_assembly(method: str, request: Callable[[str], Any]) -> Ask:
    return lambda world, name, secret: getattr(world.assembly, method)(
        request(name), timeout=20, metadata=bearer(secret)
    )


ASK: dict[str, Ask] = {
    "UploadChunks": on_ingest("UploadChunks", lambda session: iter(messages(session, [0]))),
    "GetSession": on_ingest("GetSession", lambda session: ingest_pb.GetSessionRequest(session_id=session)),
    "WatchSession": on_ingest("WatchSession", lambda session: ingest_pb.WatchSessionRequest(session_id=session)),
    "StreamReceipts": on_ingest("StreamReceipts", lambda session: ingest_pb.StreamReceiptsRequest(session_id=session)),
    "VerifySession": on_assembly(
        "VerifySession", lambda session: commit_request(session, assembly_pb.VerifySessionRequest)
    ),
    "CommitSession": on_assembly("CommitSession", commit_request),
    "GetCommit": on_assembly("GetCommit", lambda session: assembly_pb.GetCommitRequest(session_id=session)),
    "AbortSession": on_assembly("AbortSession", lambda session: assembly_pb.AbortSessionRequest(session_id=session)),
    "DeleteSession": on_assembly("DeleteSession", lambda session: assembly_pb.DeleteSessionRequest(session_id=session)),
    "ExplainSession": on_assembly(
        "ExplainSession", lambda session: assembly_pb.ExplainSessionRequest(session_id=session)
    ),
    "VerifyObject": on_assembly("VerifyObject", lambda session: assembly_pb.VerifyObjectRequest(session_id=session)),
}
KEYS: dict[str, Ask] = {
    "GetKey": on_assembly("GetKey", lambda key: assembly_pb.GetKeyRequest(object_key=key)),
    "CreateSession": on_ingest(
        "CreateSession", lambda key: ingest_pb.CreateSessionRequest(object_key=key, filename="f", size=len(CONTENT))
    ),
}
NAMED = {"session_id": ASK, "object_key": KEYS}


def names_in(message: Descriptor, seen: tuple[str, ...] = ()) -> set[str]:
    """Fields of a request, at any depth, that name a session or a key."""
    found = {field.name for field in message.fields if field.name in NAMED}
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.full_name not in seen:
            found |= names_in(inner, (*seen, message.full_name))
    return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured(tmp_path) as running:
        yield running


def test_every_rpc_that_is_told_a_session_or_a_key_has_a_row() -> None:
    for file in (ingest_pb.DESCRIPTOR, assembly_pb.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                for name in names_in(method.input_type):
                    assert method.name in NAMED[name], f"{method.full_name} is told a {name}: what do strangers hear?"


async def what_is_heard(call: Any, names: tuple[str, ...]) -> str:
    """All of an outcome, but for names and ids that differ from call to call."""
    told: list[Any] = []
    try:
        if hasattr(call, "__aiter__"):
            told += [answer async for answer in call]
        else:
            told.append(await call)
    except aio.AioRpcError as error:
        details = [value for key, value in error.trailing_metadata() or () if key == STATUS_DETAILS_KEY]
        told += [error.code(), error.details(), *(_shown(value) for value in details)]
    text = "\n".join(str(each) for each in told)
    for name in names:
        text = text.replace(name, "NAME")
    return re.sub(r"[0-9a-f]{32}|[0-9a-f]{16}|seconds: \d+|nanos: \d+", "ID", text)


def _shown(details: bytes) -> str:
    status = status_pb2.Status.FromString(details)
    shown = [f"{status.code} {status.message}"]
    for detail in status.details:
        kind = detail.TypeName().rpartition(".")[2]
        message = getattr(error_details_pb2, kind, None) or getattr(errors_pb2, kind)
        shown.append(f"{kind} {message.FromString(detail.value)}")
    return "\n".join(shown)


STATES = ("open", "covered", "committed", "aborted")


async def session_in(world: Secured, state: str) -> str:
    """One of acme's."""
    session = await world.create(OWNER)
    if state != "open":
        await world.upload(OWNER, session)
    if state == "committed":
        await world.commit(OWNER, session)
    if state == "aborted":
        request = assembly_pb.AbortSessionRequest(session_id=session)
        await world.assembly.AbortSession(request, timeout=20, metadata=bearer(OWNER))
    return session


@pytest.mark.parametrize("state", STATES)
async def test_another_tenants_session_is_an_unknown_one(world: Secured, state: str) -> None:
    """Code, reason, message and details: equal for each rpc, whatever has become of the session."""
    session = await session_in(world, state)
    before = world.store.state.keys("")
    for method, ask in ASK.items():
        strange = await what_is_heard(ask(world, session, STRANGER), (session,))
        unknown = await what_is_heard(ask(world, UNKNOWN, STRANGER), (UNKNOWN,))
        assert strange == unknown, method
        assert "SESSION_NOT_FOUND" in unknown, method
    assert world.store.state.keys("") == before  # and nobody has changed anything
    mine = await what_is_heard(ASK["GetSession"](world, session, OWNER), (session,))
    assert "NOT_FOUND" not in mine


async def test_another_tenants_key_is_a_vacant_one(world: Secured) -> None:
    """Both tenants may have the same name: they never meet."""
    request = {"object_key": "films/a", "size": len(CONTENT)}
    session = await world.create(OWNER, **request)
    await world.upload(OWNER, session)
    await world.commit(OWNER, session)
    for method, ask in KEYS.items():
        strange = await what_is_heard(ask(world, "films/a", STRANGER), ("films/a",))
        unknown = await what_is_heard(ask(world, "films/b", STRANGER), ("films/b",))
        assert strange == unknown, method
    assert session in str(await KEYS["GetKey"](world, "films/a", OWNER))
    own = await world.create(STRANGER, **request)
    await world.upload(STRANGER, own)
    committed = (await world.commit(STRANGER, own)).committed_object
    assert (committed.key, committed.generation) == ("other/films/a", 1)


async def test_lists_and_audits_show_only_ones_own(world: Secured) -> None:
    """I12, for the rpcs that are told no name at all."""
    session = await session_in(world, "committed")
    metadata = bearer(STRANGER)
    listed = await world.ingest.ListSessions(ingest_pb.ListSessionsRequest(), timeout=20, metadata=metadata)
    assert not listed.sessions
    request = assembly_pb.AuditStoreRequest(repair=True)
    found = [each async for each in world.assembly.AuditStore(request, timeout=20, metadata=metadata)]
    assert session not in str(found)
    assert "acme" not in str(found)
    listed = await world.ingest.ListSessions(ingest_pb.ListSessionsRequest(), timeout=20, metadata=bearer(OWNER))
    assert [each.session_id for each in listed.sessions] == [session]


async def test_a_request_id_of_another_tenant_makes_a_session_of_ones_own(world: Secured) -> None:
    """A request_id is remembered by tenant: nobody is given somebody else's session for knowing it."""
    mine = await world.create(OWNER, request_id="upload-1")
    theirs = await world.create(STRANGER, request_id="upload-1")
    assert mine != theirs
    assert await world.create(OWNER, request_id="upload-1") == mine
