"""A bucket that version 1 left behind, under today's services: the same answers, and everything in it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from blake3 import blake3
from google.protobuf.json_format import MessageToDict

from sealane.domain.errors import SessionAborted, SessionExpired, SessionLost, SessionNotFound
from sealane.domain.ids import SessionId
from sealane.domain.limits import KiB
from sealane.store import keys
from sealane.store.simulated import SimulatedStore
from sealane.v1 import assembly_service_pb2, ingest_service_pb2
from tests.compatibility.frozen import load
from tests.compatibility.scenes import answers, content_of
from tests.hostile.world import TENANT, World, world


@dataclass
class Inherited:
    """Today's services on the frozen bucket. ``told`` are the answers of when it was frozen."""

    world: World
    store: SimulatedStore
    told: dict[str, Any]

    def id(self, name: str) -> str:
        return str(self.told[name]["session_id"])

    async def commit(self, name: str, content: bytes | None = None) -> dict[str, Any]:
        answer = await self.world.commit(self.id(name), content_of(name) if content is None else content)
        return dict(MessageToDict(answer))

    def body(self, key: str) -> bytes:
        stored = self.store.state.object(key)
        assert stored is not None
        return b"".join(stored.read())


@pytest.fixture
async def inherited() -> AsyncIterator[Inherited]:
    store, told = load(1)
    async with world(store) as made:
        yield Inherited(made, store, told)


def holds(now: Any, then: Any) -> bool:
    """Whether all that was said then is said now; what is said beside it is a later version's."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(name in now and holds(now[name], value) for name, value in then.items())
    return bool(now == then)


async def test_every_session_is_answered_as_it_was(inherited: Inherited) -> None:
    """Open, committing, committed, lost, deleted, replaced, a duplicate: by both services, in every field."""
    now = await answers(inherited.world, {name: inherited.id(name) for name in inherited.told})
    assert len(now) == 14
    assert {name: now[name] for name, then in inherited.told.items() if not holds(now[name], then)} == {}


async def test_a_commit_that_was_answered_is_answered_so_again(inherited: Inherited) -> None:
    """I6, across versions."""
    contents = {"a duplicate": content_of("generation 2"), "empty": b""}
    for name in ("committed", "empty", "generation 1", "generation 2", "a duplicate"):
        answer = await inherited.commit(name, contents.get(name))
        assert holds(answer, inherited.told[name]["GetCommit"]["committedObject"] | {"replayed": True})
    for name, error in {"aborted": SessionAborted, "expired": SessionExpired, "lost": SessionLost}.items():
        with pytest.raises(error):
            await inherited.commit(name)
    with pytest.raises(SessionNotFound):
        await inherited.commit("half deleted")


async def test_what_was_begun_goes_on(inherited: Inherited) -> None:
    """An open upload takes its last chunk, a decided commit is rolled forward, a key gets its next generation."""
    made = inherited.world
    for name in ("open", "open, of unknown size", "open, at a chosen key"):
        stored = 2 if name == "open" else 0
        content = content_of(name)
        for index in range(stored, 3):
            await made.put_chunk(inherited.id(name), index, content[index * KiB : (index + 1) * KiB])
        answer = await inherited.commit(name)
        assert inherited.body(answer["key"]) == content
    answer = await inherited.commit("committing")
    assert inherited.body(answer["key"]) == content_of("committing")
    request = assembly_service_pb2.GetKeyRequest(object_key="a folder/chosen.key")
    key = await made.call(made.assembly_stub, "GetKey", request)
    assert (key.generation, key.holder.blake3) == (3, blake3(content_of("open, at a chosen key")).digest())


async def test_a_request_id_is_still_known(inherited: Inherited) -> None:
    """The fingerprint of the same request is the same in every version."""
    fields = {"filename": "open.bin", "metadata": {"colour": "blue"}, "size": 2 * KiB + 100, "request_id": "frozen"}
    request = ingest_service_pb2.CreateSessionRequest(**fields)
    answer = await inherited.world.call(inherited.world.ingest_stub, "CreateSession", request)
    assert answer.session.session_id == inherited.id("open")


async def test_objects_prove_their_bytes_and_the_audit_finds_nothing(inherited: Inherited) -> None:
    """Nothing that version 1 left is strange to this one."""
    stub = inherited.world.assembly_stub
    request = assembly_service_pb2.VerifyObjectRequest(session_id=inherited.id("committed"))
    read = [answer async for answer in stub.VerifyObject(request, timeout=20.0)]
    assert read[-1].verified
    walk = stub.AuditStore(assembly_service_pb2.AuditStoreRequest(), timeout=20.0)
    found = [message.finding async for message in walk if message.HasField("finding")]
    assert found == []


async def test_the_sweeper_ends_what_is_to_end_and_keeps_what_is_kept(inherited: Inherited) -> None:
    """Half deleted, aborted, expired, lost, replaced: gone. Committed and open: as they were."""
    for _ in range(3):
        await inherited.world.assembly.patrol.sweep(full=True)
    left = {
        name: inherited.store.state.keys(keys.session_prefix(TENANT, SessionId(inherited.id(name))))
        for name in inherited.told
    }
    gone = {"aborted", "expired", "lost", "half deleted", "generation 1", "a duplicate", "removed"}
    assert {name for name, found in left.items() if not found} == gone
    assert inherited.world.events.alarms == []
    answer = await inherited.commit("committing")
    assert inherited.body(answer["key"]) == content_of("committing")
    for name in ("committed", "generation 2"):
        told = inherited.told[name]["GetCommit"]["committedObject"]
        assert inherited.body(told["key"]) == content_of(name)
