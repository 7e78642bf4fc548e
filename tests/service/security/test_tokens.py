"""Bearer tokens and roles, through both services: who gets in, what each may do, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from blake3 import blake3
from secured_world import (
    CHUNKS,
    CONTENT,
    PEER,
    TENANTS,
    Secured,
    bearer,
    commit_request,
    everything,
    identities,
    messages,
    refusal,
    secured,
    token,
    until,
)

from sealane.domain.errors import PeerUnavailable, PermissionDenied, Unauthenticated
from sealane.identity.access import RULES
from sealane.rpc.status import from_rpc_error
from sealane.v1 import assembly_service_pb2 as assembly_pb
from sealane.v1 import ingest_service_pb2 as ingest_pb

ALL = token("acme", "all")
REQUESTS: dict[str, Any] = {
    method.name: method.input_type
    for file in (ingest_pb.DESCRIPTOR, assembly_pb.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured(tmp_path) as running:
        yield running


def ask(world: Secured, method: str, metadata: Any) -> Any:
    """An rpc with an empty request: whoever gets as far as to be told so may call it."""
    service, _, name = method.rpartition("/")
    stub = world.ingest if service.endswith("IngestService") else world.assembly
    module = ingest_pb if service.endswith("IngestService") else assembly_pb
    request = getattr(module, REQUESTS[name].name)()
    return getattr(stub, name)(iter([request]) if name == "UploadChunks" else request, timeout=20, metadata=metadata)


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


NOBODY: dict[str, tuple[tuple[str, str], ...]] = {
    "none": (),
    "unknown": bearer("nobody-knows-this-token-0123"),
    "empty": (("authorization", "Bearer "),),
    "basic": (("authorization", f"Basic {ALL}"),),
    "bare": (("authorization", ALL),),
    "two": (*bearer(ALL), *bearer(ALL)),
    "cut": bearer(ALL[:-1]),
    "longer": bearer(ALL + "x"),
    "other case": bearer(ALL.upper()),
    "in another header": (("x-authorization", f"Bearer {ALL}"), ("token", ALL)),
}


@pytest.mark.parametrize("who", NOBODY)
async def test_who_is_nobody_gets_unauthenticated_from_every_rpc(world: Secured, who: str) -> None:
    """Section 10's row: one code, reason and text, whatever was wrong; the log says what."""
    heard = set()
    for method in RULES:
        error = await refusal(ask(world, method, NOBODY[who]))
        known = from_rpc_error(error)
        assert (error.code(), type(known)) == (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated), method
        heard.add(known.message)
        for _, value in NOBODY[who]:
            for word in value.split():
                assert word in {"Bearer", "Basic"} or word not in everything(error)
    assert heard == {Unauthenticated().message}
    assert all(line["reason"] == "UNAUTHENTICATED" and line["private"] for line in world.outcomes)


@pytest.mark.parametrize("role", ["uploader", "reader", "operator"])
async def test_each_role_may_call_what_the_table_says_and_nothing_else(world: Secured, role: str) -> None:
    """PERMISSION_DENIED names the role that is missing; what is allowed gets as far as its own checks."""
    for method, allowed in RULES.items():
        code = await code_of(ask(world, method, bearer(token("acme", role))))
        denied = code is grpc.StatusCode.PERMISSION_DENIED
        assert denied is not (role in allowed), (method, role, code)
        assert code is not grpc.StatusCode.UNAUTHENTICATED
    error = await refusal(ask(world, "/sealane.v1.IngestService/CreateSession", bearer(token("acme", "reader"))))
    assert "CreateSession needs the role uploader" in from_rpc_error(error).message


async def test_the_other_service_asks_for_any_tenant_and_only_what_it_needs(world: Secured) -> None:
    session = await world.create(ALL)
    await world.upload(ALL, session)
    for_acme = bearer(PEER, x_sealane_tenant="acme")
    stream = world.ingest.StreamReceipts(
        ingest_pb.StreamReceiptsRequest(session_id=session), timeout=20, metadata=for_acme
    )
    assert sum(len(answer.receipts) for answer in [each async for each in stream]) == len(CHUNKS)
    for_other = bearer(PEER, x_sealane_tenant="other")
    request = ingest_pb.StreamReceiptsRequest(session_id=session)
    error = await refusal(world.ingest.StreamReceipts(request, timeout=20, metadata=for_other))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    for method, allowed in RULES.items():
        code = await code_of(ask(world, method, for_acme))
        assert (code is grpc.StatusCode.PERMISSION_DENIED) is ("service" not in allowed), method
        assert await code_of(ask(world, method, bearer(PEER))) is grpc.StatusCode.PERMISSION_DENIED, method


async def test_nobody_else_names_a_tenant(world: Secured) -> None:
    """Not even their own, on any rpc."""
    for tenant in TENANTS:
        for method in RULES:
            error = await refusal(ask(world, method, bearer(ALL, x_sealane_tenant=tenant)))
            assert type(from_rpc_error(error)) is PermissionDenied, method


async def test_an_upload_from_end_to_end_with_the_services_calling_each_other(world: Secured) -> None:
    """Commit asks ingest for receipts, GetSession asks assembly for the outcome: with the peer's token, for acme."""
    session = await world.create(token("acme", "uploader"))
    await world.upload(token("acme", "uploader"), session)
    committed = (await world.commit(token("acme", "uploader"), session)).committed_object
    assert committed.key == f"acme/by-session/{session}/object"
    assert committed.blake3 == blake3(CONTENT).digest()
    asked = ingest_pb.GetSessionRequest(session_id=session)
    seen = await world.ingest.GetSession(asked, timeout=20, metadata=bearer(token("acme", "reader")))
    assert not seen.session.outcome_unavailable
    between = [line for line in world.outcomes if line["subject"] == "peer"]
    assert between
    assert {(line["tenant"], line["code"]) for line in between} == {("acme", "OK")}


async def test_services_that_refuse_each_other_are_unavailable_and_an_alarm(world: Secured) -> None:
    """Not the caller's fault, and not his to mend: a commit says UNAVAILABLE, never that *he* may not."""
    session = await world.create(ALL)
    await world.upload(ALL, session)
    (world.directory / "peer-token").write_text("a-token-that-nobody-knows-0123456789")
    error = await refusal(world.assembly.CommitSession(commit_request(session), timeout=20, metadata=bearer(ALL)))
    assert type(from_rpc_error(error)) is PeerUnavailable
    asked = ingest_pb.GetSessionRequest(session_id=session)
    seen = await world.ingest.GetSession(asked, timeout=20, metadata=bearer(ALL))
    assert seen.session.outcome_unavailable
    refused = [line for line in world.lines if line["event"] == "refused_by_peer"]
    assert {line["peer_service"] for line in refused} == {"ingest", "assembly"}
    assert all(line["alarm"] for line in refused)
    (world.directory / "peer-token").write_text(PEER)
    assert (await world.commit(ALL, session)).committed_object.size == len(CONTENT)


class Stream:
    """An upload stream that is fed by hand."""

    def __init__(self, world: Secured, session: str, secret: str) -> None:
        self.header, *self.chunks = messages(session)
        self.call = world.ingest.UploadChunks(timeout=30, metadata=bearer(secret))

    async def code_after(self, index: int) -> grpc.StatusCode:
        """How the server ends the call when this chunk comes, too. (A write that fails would hide it in grpc.aio.)"""
        await self.call.write(self.chunks[index])
        code: grpc.StatusCode = await self.call.code()
        return code


async def test_a_token_that_is_revoked_ends_the_stream_at_the_next_chunk(world: Secured) -> None:
    """What was stored before keeps its fate; the chunk that came after is not stored (section 11)."""
    uploader = token("acme", "uploader")
    session = await world.create(ALL)
    stream = Stream(world, session, uploader)
    await stream.call.write(stream.header)
    await stream.call.write(stream.chunks[0])
    receipts = f".sealane/acme/sessions/{session}/receipts/"
    await until(lambda: world.store.state.keys(receipts))
    await world.write_identities(identities(without=[uploader]))
    assert await stream.code_after(1) is grpc.StatusCode.UNAUTHENTICATED
    coverage = await world.ingest.GetSession(
        ingest_pb.GetSessionRequest(session_id=session), timeout=20, metadata=bearer(ALL)
    )
    assert coverage.session.coverage.stored_chunks == 1
    assert coverage.session.coverage.prefix.chunks == 1
    await world.upload(ALL, session)
    assert (await world.commit(ALL, session)).committed_object.size == len(CONTENT)


async def test_a_watch_ends_with_its_token(world: Secured) -> None:
    reader = token("acme", "reader")
    session = await world.create(ALL)
    watch = world.ingest.WatchSession(
        ingest_pb.WatchSessionRequest(session_id=session), timeout=30, metadata=bearer(reader)
    )
    assert (await watch.read()).session.session_id == session
    await world.write_identities(identities(without=[reader]))
    error = await refusal(watch)
    assert type(from_rpc_error(error)) is Unauthenticated


async def test_a_token_with_other_rights_by_now_is_another_token(world: Secured) -> None:
    """What was opened as an uploader does not go on as whatever the file says now."""
    uploader = token("acme", "uploader")
    session = await world.create(ALL)
    stream = Stream(world, session, uploader)
    await stream.call.write(stream.header)
    await world.write_identities(
        identities().replace(f'token = "{uploader}"\ntenant = "acme"', f'token = "{uploader}"\ntenant = "other"')
    )
    assert await stream.code_after(0) is grpc.StatusCode.UNAUTHENTICATED
    assert not world.store.state.keys(f".sealane/acme/sessions/{session}/receipts/")


async def test_no_line_of_the_log_and_no_answer_has_a_secret_in_it(world: Secured) -> None:
    """Not of the good tokens, not of the bad ones, not when the file is broken."""
    session = await world.create(ALL)
    await world.upload(ALL, session)
    await world.commit(ALL, session)
    bad = "a-bad-token-that-was-meant-for-somebody"
    told = [
        everything(
            await refusal(
                world.ingest.ListSessions(ingest_pb.ListSessionsRequest(), timeout=20, metadata=bearer(secret))
            )
        )
        for secret in (bad, f"{ALL} {bad}")
    ]
    await world.commit(ALL, session)
    (world.directory / "identities.toml").write_text(f'{bad} = "{ALL}\n')
    await until(lambda: [line for line in world.lines if line["event"] == "reload_failed"])
    assert len(world.lines) > 5
    for text in (*told, *(repr(line) for line in world.lines)):
        for secret in (bad, ALL, PEER, token("acme", "reader")):
            assert secret not in text
    assert (await world.commit(ALL, session)).committed_object.replayed  # the file that was there is in force
