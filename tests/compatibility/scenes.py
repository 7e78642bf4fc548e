"""One session of every kind that there is, brought about by the services themselves as far as they can."""

from __future__ import annotations

import contextlib
from typing import Any

from blake3 import blake3
from google.protobuf.json_format import MessageToDict

from sealane.domain.decision import CommitParameters, Decision, Outcome
from sealane.domain.errors import SealaneError, SessionLost
from sealane.domain.ids import SessionId
from sealane.domain.limits import KiB
from sealane.domain.records import DeletedRecord, MultipartRecord
from sealane.store import keys
from sealane.store.simulated import SimulatedStore
from sealane.v1 import assembly_service_pb2, ingest_service_pb2
from tests.hostile.world import TENANT, World


def content_of(name: str) -> bytes:
    """Two whole chunks and a short third."""
    return blake3(name.encode()).digest(length=2 * KiB + 100)


class Scenes:
    """Makes sessions; ``made`` is name -> session id."""

    def __init__(self, world: World, store: SimulatedStore) -> None:
        self.world, self.store = world, store
        self.made: dict[str, SessionId] = {}

    async def upload(self, name: str, *, chunks: int = 3, content: bytes | None = None, **fields: Any) -> SessionId:
        content = content_of(name) if content is None else content
        fields = {"filename": f"{name}.bin", "metadata": {"colour": "blue"}} | fields
        session = SessionId(await self.world.create(**fields))
        for index in range(chunks):
            await self.world.put_chunk(session, index, content[index * KiB : (index + 1) * KiB])
        self.made[name] = session
        return session

    async def committed(self, name: str, *, content: bytes | None = None, **fields: Any) -> SessionId:
        content = content_of(name) if content is None else content
        session = await self.upload(name, content=content, chunks=-(-len(content) // KiB), **fields)
        await self.world.commit(session, content)
        return session

    async def record(self, session: SessionId, name: str, body: bytes) -> None:
        await self.store.put(keys.record(TENANT, session, name), body, timeout=10.0, if_absent=True)

    async def decide(self, name: str) -> SessionId:
        """A committer that crashed right behind its decision."""
        session = await self.upload(name)
        page = await self.store.list_objects(keys.receipts_prefix(TENANT, session), timeout=10.0)
        receipts = [keys.parse_receipt(row.key) for row in page.objects]
        body = (await self.store.get(keys.record(TENANT, session, keys.MULTIPART), timeout=10.0)).body
        content = content_of(name)
        parameters = CommitParameters(3, len(content), blake3(content).digest())
        decision = Decision.commit(session, parameters, MultipartRecord.parse(body).upload_id, receipts)
        await self.record(session, keys.DECISION, decision.encode())
        return session

    async def all(self) -> None:
        """Every kind of record, in every state that a session can be in."""
        await self.upload("open", chunks=2, size=2 * KiB + 100, request_id="frozen")
        await self.upload("open, of unknown size", chunks=0)
        await self.committed("committed")
        await self.committed("empty", content=b"")
        await self.decide("committing")
        aborted = await self.upload("aborted", chunks=1)
        request = assembly_service_pb2.AbortSessionRequest(session_id=aborted)
        await self.world.call(self.world.assembly_stub, "AbortSession", request)
        expired = await self.upload("expired", chunks=1)
        await self.record(expired, keys.DECISION, Decision(expired, Outcome.EXPIRE).encode())
        lost = await self.decide("lost")
        body = (await self.store.get(keys.record(TENANT, lost, keys.MULTIPART), timeout=10.0)).body
        self.store.state.lose_upload(MultipartRecord.parse(body).upload_id)
        with contextlib.suppress(SessionLost):
            await self.world.commit(lost, content_of("lost"))
        half = await self.committed("half deleted")
        await self.record(half, keys.DELETED, DeletedRecord(half).encode())
        await self.committed("generation 1", object_key="a folder/chosen.key")
        await self.committed("generation 2", object_key="a folder/chosen.key", if_generation_match=1)
        await self.committed("a duplicate", content=content_of("generation 2"), object_key="a folder/chosen.key")
        await self.upload("open, at a chosen key", object_key="a folder/chosen.key", overwrite=True)
        gone = await self.committed("removed", object_key="removed.key")
        request = assembly_service_pb2.DeleteSessionRequest(session_id=gone)
        await self.world.call(self.world.assembly_stub, "DeleteSession", request)


async def answers(world: World, sessions: dict[str, Any]) -> dict[str, Any]:
    """What both services say of each session: name -> its id, and each answer or the reason of the refusal."""
    told: dict[str, Any] = {}
    for name, session in sessions.items():
        told[name] = {
            "session_id": session,
            "GetCommit": await _said(world, world.assembly_stub, "GetCommit", assembly_service_pb2, session),
            "GetSession": await _said(world, world.ingest_stub, "GetSession", ingest_service_pb2, session),
        }
    return told


async def _said(world: World, stub: Any, method: str, messages: Any, session: str) -> Any:
    try:
        answer = await world.call(stub, method, getattr(messages, f"{method}Request")(session_id=session))
    except SealaneError as error:
        return error.reason.value
    return MessageToDict(answer)
