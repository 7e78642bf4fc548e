"""A record of a future version, of every kind: it decides nothing, is alarmed, and nothing of its session is deleted.

It is what a replica of the last version meets while the next one is rolled out, or after it was rolled back. The record
is as this version wrote it, but for its version: nothing else keeps it from being read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import structlog
from blake3 import blake3
from grpc import aio
from structlog.testing import capture_logs

from sealane.domain.errors import Reason, SealaneError
from sealane.domain.ids import SessionId
from sealane.domain.limits import KiB
from sealane.domain.records import DeletedRecord
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.v1 import assembly_service_pb2 as assembly
from sealane.v1 import ingest_service_pb2 as ingest
from tests.compatibility.scenes import Scenes, content_of
from tests.hostile.world import TENANT, World, world

KEY = "a folder/chosen.key"
FUTURE = 2


@dataclass
class Meeting:
    """Services that meet a record that they can't read."""

    made: World
    store: SimulatedStore
    scenes: Scenes
    logs: list[Any]
    away: list[timedelta] = field(default_factory=lambda: [timedelta(0)])

    def body(self, key: str) -> bytes | None:
        stored = self.store.state.object(key)
        return None if stored is None else b"".join(stored.read())

    async def make_future(self, key: str) -> bytes:
        """Give the record another version; what it was."""
        body = self.body(key)
        assert body is not None, key
        values = json.loads(body)
        assert values["version"] == 1
        await self.store.put(key, json.dumps(values | {"version": FUTURE}).encode(), timeout=10.0)
        return body

    async def reason(self, method: str, request: Any) -> Reason | None:
        """Why the call was refused; None if it was not."""
        stub = self.made.ingest_stub if isinstance(request, _OF_INGEST) else self.made.assembly_stub
        try:
            await self.made.call(stub, method, request)
        except SealaneError as error:
            return error.reason
        return None

    async def sweep(self, *, days: int) -> None:
        self.away[0] += timedelta(days=days)
        for _ in range(2):
            await self.made.assembly.patrol.sweep(full=True)
        self.away[0] -= timedelta(days=days)

    @property
    def alarmed(self) -> bool:
        return bool(self.made.events.alarms) or any(entry.get("alarm") for entry in self.logs)

    def everything(self, session: str) -> tuple[list[str], list[str], list[str]]:
        """Records of a session and of all claims, objects, uploads of objects."""
        state = self.store.state
        records = [key for key in state.keys(".sealane/") if session in key or "/claims/" in key or "/requests/" in key]
        return records, state.keys(f"{TENANT}/"), state.open_uploads(f"{TENANT}/")


_OF_INGEST = (ingest.GetSessionRequest, ingest.CreateSessionRequest)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    structlog.reset_defaults()
    with capture_logs() as entries:
        yield entries


@pytest.fixture
async def meeting(logs: list[Any]) -> AsyncIterator[Meeting]:
    away = [timedelta(0)]
    store = SimulatedStore(clock=lambda: EPOCH + away[0] + timedelta(seconds=asyncio.get_running_loop().time()))
    async with world(store) as before, world(store) as made:  # who meets the record has nothing of it in memory
        yield Meeting(made, store, Scenes(before, store), logs, away)


def truth(session: str, name: str) -> dict[str, Any]:
    content = content_of(name)
    digest = blake3(content).digest()
    return {"session_id": session, "chunk_count": 3, "size": len(content), "blake3": digest}


Act = Callable[[Meeting, SessionId], Awaitable[Reason | None]]


def unary(method: str, request: Callable[[SessionId], Any]) -> Act:
    return lambda meeting, session: meeting.reason(method, request(session))


async def _upload(meeting: Meeting, session: SessionId) -> Reason | None:
    content = content_of("x")
    try:
        await meeting.made.put_chunk(session, 2, content[2 * KiB :])
    except SealaneError as error:
        return error.reason
    return None


async def _verify_object(meeting: Meeting, session: SessionId) -> Reason | None:
    try:
        async for _ in meeting.made.assembly_stub.VerifyObject(assembly.VerifyObjectRequest(session_id=session)):
            pass
    except aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return None


GET = unary("GetSession", lambda s: ingest.GetSessionRequest(session_id=s))
OUTCOME = unary("GetCommit", lambda s: assembly.GetCommitRequest(session_id=s))
VERIFY = unary("VerifySession", lambda s: assembly.VerifySessionRequest(**truth(s, "x")))
COMMIT = unary("CommitSession", lambda s: assembly.CommitSessionRequest(**truth(s, "x")))
ABORT = unary("AbortSession", lambda s: assembly.AbortSessionRequest(session_id=s))
DELETE = unary("DeleteSession", lambda s: assembly.DeleteSessionRequest(session_id=s))
KEY_ = unary("GetKey", lambda s: assembly.GetKeyRequest(object_key=KEY))
CREATE = unary("CreateSession", lambda s: ingest.CreateSessionRequest(filename="x.bin", size=9, request_id="twice"))

Scene = Callable[[Scenes], Awaitable[SessionId]]


async def _open(scenes: Scenes) -> SessionId:
    return await scenes.upload("x", chunks=2)


async def _fresh(scenes: Scenes) -> SessionId:
    return await scenes.upload("x", filename="x.bin", metadata={}, size=9, chunks=0, request_id="twice")


async def _decided(scenes: Scenes) -> SessionId:
    return await scenes.decide("x")


async def _committed(scenes: Scenes) -> SessionId:
    return await scenes.committed("x")


async def _chosen(scenes: Scenes) -> SessionId:
    await scenes.committed("holder", object_key=KEY)
    return await scenes.upload("x", object_key=KEY, overwrite=True)


async def _beside(scenes: Scenes) -> SessionId:
    """Another key of a folder that has one."""
    await scenes.committed("holder", object_key=KEY)
    return await scenes.upload("x", object_key="a folder/another.key")


async def _half_deleted(scenes: Scenes) -> SessionId:
    session = await scenes.committed("x")
    await scenes.record(session, keys.DELETED, DeletedRecord(session).encode())
    return session


async def _tombstone(scenes: Scenes) -> SessionId:
    """A key whose object was removed; the session that would come next."""
    gone = await scenes.committed("holder", object_key=KEY)
    request = assembly.DeleteSessionRequest(session_id=gone)
    await scenes.world.call(scenes.world.assembly_stub, "DeleteSession", request)
    return await scenes.upload("x", object_key=KEY)


async def _tombstones_key(meeting: Meeting, name: str) -> str:
    """A record of the only tombstone session that there is."""
    for key in meeting.store.state.keys(keys.sessions_prefix(TENANT)):
        if key.endswith(keys.SESSION) and b'"tombstone"' in (meeting.body(key) or b""):
            return key.removesuffix(keys.SESSION) + name
    raise AssertionError("no tombstone")


@dataclass(frozen=True)
class Row:
    """Which record is of the future, and which calls need it: they are refused with INTERNAL."""

    scene: Scene
    key: Callable[[Meeting, SessionId], Awaitable[str]]
    refused: tuple[Act, ...]
    days: tuple[int, ...] = (0, 400)
    """When the sweeper comes: at once, and when all that it could end is long overdue."""


def record(name: str) -> Callable[[Meeting, SessionId], Awaitable[str]]:
    async def key(meeting: Meeting, session: SessionId) -> str:
        return keys.record(TENANT, session, name)

    return key


def fixed(key: str) -> Callable[[Meeting, SessionId], Awaitable[str]]:
    async def found(meeting: Meeting, session: SessionId) -> str:
        return key

    return found


def tombstones(name: str) -> Callable[[Meeting, SessionId], Awaitable[str]]:
    return lambda meeting, session: _tombstones_key(meeting, name)


ROWS: dict[str, Row] = {
    "session, open": Row(_open, record(keys.SESSION), (GET, _upload, OUTCOME, VERIFY, COMMIT, ABORT, DELETE)),
    "session, committed": Row(_committed, record(keys.SESSION), (GET, OUTCOME, COMMIT, DELETE, _verify_object)),
    "multipart": Row(_open, record(keys.MULTIPART), (_upload,)),
    "decision, not done": Row(_decided, record(keys.DECISION), (_upload, OUTCOME, VERIFY, COMMIT, ABORT, DELETE)),
    "done": Row(_committed, record(keys.DONE), (OUTCOME, VERIFY, COMMIT, ABORT, DELETE, _verify_object)),
    "decision, done": Row(_committed, record(keys.DECISION), (), days=(0,)),  # done.json has the answer
    "deleted": Row(_half_deleted, record(keys.DELETED), (OUTCOME, VERIFY, COMMIT, DELETE, _verify_object)),
    # Its age alone says when a request record goes: it is not read then, and nothing depends on it.
    "request": Row(_fresh, fixed(keys.request_record(TENANT, "twice")), (CREATE,), days=(0,)),
    # Of a key that has claims the name is settled; that of its folder is read again for the folder's next key.
    "name": Row(_beside, fixed(keys.claim(TENANT, "a folder", 0)), (VERIFY, COMMIT), days=(0,)),
    "claim": Row(_chosen, fixed(keys.claim(TENANT, KEY, 1)), (KEY_, VERIFY, COMMIT), days=(0,)),
    "tombstone's session": Row(_tombstone, tombstones(keys.SESSION), (KEY_, COMMIT)),
    "tombstone's done": Row(_tombstone, tombstones(keys.DONE), (KEY_, COMMIT)),
}


@pytest.mark.parametrize("row", ROWS)
async def test_a_record_of_a_future_version_fails_closed(meeting: Meeting, row: str) -> None:
    """INTERNAL, an alarm, nothing deleted and no object made; and once it can be read again, all is as it was."""
    told = ROWS[row]
    session = await told.scene(meeting.scenes)
    key = await told.key(meeting, session)
    parsed = keys.parse_session_key(key)
    whose = parsed.session if parsed else session
    before = meeting.everything(whose)
    true = await meeting.make_future(key)
    answered = {number: await act(meeting, session) for number, act in enumerate(told.refused)}
    assert answered == dict.fromkeys(answered, Reason.INTERNAL)
    assert meeting.alarmed or not told.refused
    for days in told.days:
        await meeting.sweep(days=days)
        records, objects, uploads = meeting.everything(whose)
        assert [name for name in before[0] if name not in records] == []
        assert objects == before[1]
        assert uploads == before[2] or whose != session  # another session's may have come to its own end
    await meeting.store.put(key, true, timeout=10.0)
    assert Reason.INTERNAL not in [await act(meeting, session) for act in told.refused]


async def test_the_audit_names_the_record(meeting: Meeting) -> None:
    """BAD_RECORD, with the session: what an operator looks for after a roll-back."""
    session = await _committed(meeting.scenes)
    await meeting.make_future(keys.record(TENANT, session, keys.DONE))
    request = assembly.AuditStoreRequest()
    request.min_age.seconds = 0
    walk = meeting.made.assembly_stub.AuditStore(request, timeout=20.0)
    found = [message.finding async for message in walk if message.HasField("finding")]
    assert [(finding.kind, finding.session_id) for finding in found] == [(assembly.AUDIT_KIND_BAD_RECORD, session)]
