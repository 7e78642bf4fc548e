"""Forged receipts and records, put straight into the bucket: fail closed, alarm, and nobody else is harmed.

The bucket is trusted (protocol.md section 2): who can write to it can lose data. What is tested here is that nonsense
there is never *believed*: no wrong commit, nothing deleted for it, a line of the log that an operator sees, and every
other session goes on. A well-formed forgery of a finished commit can't be told from a true one but by reading the
object, which VerifyObject does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from blake3 import blake3
from grpc import aio
from structlog.testing import capture_logs

from sealane.domain.chunks import Receipt
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import Reason, SealaneError
from sealane.domain.ids import SessionId
from sealane.domain.limits import KiB
from sealane.domain.records import DoneRecord, LostRecord, MultipartRecord, parse_done
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.store.simulated import SimulatedStore
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

from .world import TENANT, World, world

CONTENT = blake3(b"victim").digest(length=2 * KiB + 100)
OTHER = blake3(b"bystander").digest(length=2 * KiB + 100)
FUTURE = b'{"kind": "session", "version": 99, "session_id": "x"}'
GARBAGE = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe\x00",
    b'{"kind": "done"}',
    FUTURE,
    b"9" * 5000,
    b"[" * 3000,
    b'"\\ud800"',
)


@dataclass
class Scene:
    """A victim, a bystander that is still open, and one that is committed; and the bucket under them."""

    made: World
    store: SimulatedStore
    victim: SessionId
    bystander: SessionId
    finished_key: str

    async def put(self, key: str, body: bytes = b"") -> None:
        await self.store.put(key, body, timeout=10.0)

    async def record(self, name: str, body: bytes) -> None:
        await self.put(keys.record(TENANT, self.victim, name), body)

    async def receipts(self) -> list[Receipt]:
        page = await self.store.list_objects(keys.receipts_prefix(TENANT, self.victim), timeout=10.0)
        return [keys.parse_receipt(row.key) for row in page.objects]

    async def receipt(self, value: Receipt) -> None:
        await self.put(keys.receipt(TENANT, self.victim, value))

    async def drop_receipt(self, value: Receipt) -> None:
        await self.store.delete(keys.receipt(TENANT, self.victim, value), timeout=10.0)

    async def ask_everything(self) -> list[Reason]:
        """Every question about the victim and every act on it but abort; the reasons of the refusals."""
        session = self.victim
        truth: dict[str, Any] = {
            "session_id": session,
            "chunk_count": 3,
            "size": len(CONTENT),
            "blake3": blake3(CONTENT).digest(),
        }
        calls: list[tuple[Any, str, Any]] = [
            (self.made.ingest_stub, "GetSession", ingest_service_pb2.GetSessionRequest(session_id=session)),
            (self.made.ingest_stub, "ListSessions", ingest_service_pb2.ListSessionsRequest()),
            (self.made.assembly_stub, "VerifySession", assembly_service_pb2.VerifySessionRequest(**truth)),
            (self.made.assembly_stub, "CommitSession", assembly_service_pb2.CommitSessionRequest(**truth)),
            (self.made.assembly_stub, "GetCommit", assembly_service_pb2.GetCommitRequest(session_id=session)),
        ]
        said: list[Reason] = []
        for stub, method, request in calls:
            try:
                await self.made.call(stub, method, request)
            except SealaneError as error:
                said.append(error.reason)
        try:
            await self.made.put_chunk(session, 0, CONTENT[:KiB])
        except SealaneError as error:
            said.append(error.reason)
        return said

    async def sweep(self) -> None:
        for _ in range(2):
            await self.made.assembly.patrol.sweep(full=True)

    def body(self, key: str) -> bytes | None:
        found = self.store.state.object(key)
        return None if found is None else b"".join(found.read())

    @property
    def victim_key(self) -> str:
        return f"{TENANT}/by-session/{self.victim}/victim.bin"

    async def unharmed(self) -> None:
        """The others are as they were, and go on."""
        assert self.body(self.finished_key) == OTHER
        await self.made.put_chunk(self.bystander, 2, OTHER[2 * KiB :])
        answer = await self.made.commit(self.bystander, OTHER)
        assert answer.blake3 == blake3(OTHER).digest()
        assert self.body(answer.key) == OTHER


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    store = SimulatedStore()
    async with world(store) as made:

        async def upload(content: bytes, count: int, name: str) -> SessionId:
            session = await made.create(size=len(content), filename=name)
            for index in range(count):
                await made.put_chunk(session, index, content[index * KiB : (index + 1) * KiB])
            return SessionId(session)

        finished = await upload(OTHER, 3, "finished.bin")
        key = (await made.commit(finished, OTHER)).key
        yield Scene(made, store, await upload(CONTENT, 3, "victim.bin"), await upload(OTHER, 2, "bystander.bin"), key)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    structlog.reset_defaults()
    with capture_logs() as entries:
        yield entries


def alarmed(scene: Scene, logs: list[Any]) -> bool:
    return bool(scene.made.events.alarms) or any(entry.get("alarm") for entry in logs)


# --- what can't be read ---


@pytest.mark.parametrize("name", sorted(keys.RECORDS))
@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:12]))
async def test_a_record_that_cannot_be_read_decides_nothing_and_is_alarmed(
    scene: Scene, logs: list[Any], name: str, body: bytes
) -> None:
    """Section 11: forged or unparsable records, and records of a future version."""
    await scene.record(name, body)
    said = await scene.ask_everything()
    assert said
    assert set(said) <= {Reason.INTERNAL, Reason.SESSION_SEALED}
    assert scene.body(scene.victim_key) is None
    before = scene.store.state.keys(keys.session_prefix(TENANT, scene.victim))
    await scene.sweep()
    assert scene.store.state.keys(keys.session_prefix(TENANT, scene.victim)) == before
    assert scene.store.state.open_uploads() != []
    assert alarmed(scene, logs)
    await scene.unharmed()


RECEIPT_KEYS: dict[str, Callable[[str, str], str]] = {
    "no fields": lambda prefix, good: prefix + "x",
    "fields missing": lambda prefix, good: good.rsplit(".", 1)[0],
    "a field too many": lambda prefix, good: good + ".x",
    "an index that is none": lambda prefix, good: prefix + "-0000001" + good.removeprefix(prefix)[8:],
    "an index of nine digits": lambda prefix, good: prefix + "0" + good.removeprefix(prefix),
    "Arabic digits": lambda prefix, good: prefix + "٠" * 8 + good.removeprefix(prefix)[8:],
    "a length with a sign": lambda prefix, good: good.replace(".1024.", ".+1024."),
    "a length with a zero in front": lambda prefix, good: good.replace(".1024.", ".01024."),
    "a digest cut short": lambda prefix, good: good.replace(good.split(".")[-4], good.split(".")[-4][:-4]),
    "a digest that is not base64url": lambda prefix, good: good.replace(good.split(".")[-4], "!" * 43),
    "an empty ETag": lambda prefix, good: good.rsplit(".", 1)[0] + ".",
    "a folder": lambda prefix, good: prefix + "deep/" + good.removeprefix(prefix),
}


@pytest.mark.parametrize("row", RECEIPT_KEYS)
async def test_a_receipt_that_cannot_be_read_stops_the_commit_and_is_alarmed(
    scene: Scene, logs: list[Any], row: str
) -> None:
    """Section 11: fail closed: what it says is unknown, so nothing is known to be covered."""
    prefix = keys.receipts_prefix(TENANT, scene.victim)
    good = keys.receipt(TENANT, scene.victim, (await scene.receipts())[0])
    forged = RECEIPT_KEYS[row](prefix, good)
    assert forged != good
    await scene.put(forged)
    assert Reason.INTERNAL in await scene.ask_everything()
    assert scene.body(scene.victim_key) is None
    await scene.sweep()
    assert scene.body(keys.record(TENANT, scene.victim, keys.SESSION)) is not None
    assert alarmed(scene, logs)
    await scene.unharmed()


# --- what can be read, and is not true ---


def _second(receipts: list[Receipt]) -> Receipt:
    return next(receipt for receipt in receipts if receipt.index == 1)


LIES: dict[str, dict[str, Any]] = {
    "other bytes": {"blake3": b"\1" * 32},
    "another chaining value": {"chaining_value": b"\1" * 32},
    "another SHA-256": {"sha256": b"\1" * 32},
    "another ETag": {"etag": "0" * 32},
    "a shorter length": {"length": 1000},
    "a longer length": {"length": 5000},
    "an enormous length": {"length": 10**17},
    "an index beyond the end": {"index": 3},
    "an index beyond all": {"index": 99_999_999},
}


@pytest.mark.parametrize("beside", [True, False], ids=["beside the true one", "in place of the true one"])
@pytest.mark.parametrize("lie", LIES)
async def test_a_receipt_that_lies_never_makes_a_wrong_object(scene: Scene, lie: str, beside: bool) -> None:
    """I4: whatever a receipt says, the answer's digest is that of the object's bytes, or there is no object."""
    truth = _second(await scene.receipts())
    await scene.receipt(replace(truth, **LIES[lie]))
    if not beside:
        await scene.drop_receipt(truth)
    await scene.ask_everything()
    stored = scene.body(scene.victim_key)
    assert stored in (None, CONTENT)
    await scene.sweep()
    assert scene.body(scene.victim_key) in (stored, CONTENT)
    await scene.unharmed()


async def test_a_receipt_of_a_chunk_that_was_never_sent_covers_nothing(scene: Scene) -> None:
    """Its part is not in the store: the decision can't be completed, and the chunk is asked for."""
    truth = _second(await scene.receipts())
    forged = await scene.made.create(size=len(CONTENT), filename="victim.bin")
    scene.victim = SessionId(forged)
    for index in (0, 2):
        await scene.made.put_chunk(forged, index, CONTENT[index * KiB : (index + 1) * KiB])
    await scene.receipt(truth)
    assert Reason.CHUNK_NEEDED in await scene.ask_everything()
    assert scene.body(scene.victim_key) is None
    await scene.made.put_chunk(forged, 1, CONTENT[KiB : 2 * KiB])
    assert (await scene.made.commit(forged, CONTENT)).blake3 == blake3(CONTENT).digest()
    assert scene.body(scene.victim_key) == CONTENT
    await scene.unharmed()


def _records(scene: Scene) -> dict[str, tuple[str, bytes]]:
    """Well-formed records that are not the victim's truth."""
    other = scene.bystander
    upload = next(iter(scene.store.state._uploads))  # whichever: not ours to name
    return {
        "session.json of another session": (
            keys.SESSION,
            scene.body(keys.record(TENANT, other, keys.SESSION)) or b"",
        ),
        "multipart.json of another session": (
            keys.MULTIPART,
            scene.body(keys.record(TENANT, other, keys.MULTIPART)) or b"",
        ),
        "multipart.json with an upload that is none": (
            keys.MULTIPART,
            MultipartRecord(scene.victim, "no-such-upload").encode(),
        ),
        "multipart.json with another's upload": (keys.MULTIPART, MultipartRecord(scene.victim, upload).encode()),
        "decision.json of another session": (keys.DECISION, Decision(other, Outcome.ABORT).encode()),
        "done.json of another session": (keys.DONE, LostRecord(other, "forged").encode()),
        "done.json without a decision": (
            keys.DONE,
            DoneRecord(scene.victim, "0" * 32, 5, b"\0" * 32, datetime(2030, 1, 1, tzinfo=UTC)).encode(),
        ),
        "done.json that says LOST": (keys.DONE, LostRecord(scene.victim, "forged").encode()),
    }


NAMES = [
    "session.json of another session",
    "multipart.json of another session",
    "multipart.json with an upload that is none",
    "multipart.json with another's upload",
    "decision.json of another session",
    "done.json of another session",
    "done.json without a decision",
    "done.json that says LOST",
]


@pytest.mark.parametrize("row", NAMES)
async def test_a_well_formed_record_that_is_not_true_makes_no_wrong_object_and_harms_nobody_else(
    scene: Scene, row: str
) -> None:
    """I4, I12: another's record in our place is nobody's, and what it names is not touched."""
    records = _records(scene)
    assert list(records) == NAMES
    name, body = records[row]
    assert body
    await scene.record(name, body)
    await scene.ask_everything()
    assert scene.body(scene.victim_key) in (None, CONTENT)
    await scene.sweep()
    await scene.unharmed()


async def test_an_object_at_rest_that_is_not_what_done_says_is_found_by_verify_object(scene: Scene) -> None:
    """A well-formed forgery of done.json is believed until the object is read: that is what VerifyObject is for."""
    await scene.made.commit(scene.victim, CONTENT)
    key = keys.record(TENANT, scene.victim, keys.DONE)
    truth = parse_done(scene.body(key) or b"")
    assert isinstance(truth, DoneRecord)
    await scene.put(key, replace(truth, blake3=b"\1" * 32).encode())
    request = assembly_service_pb2.VerifyObjectRequest(session_id=scene.victim)
    with pytest.raises(aio.AioRpcError) as caught:
        async for _ in scene.made.assembly_stub.VerifyObject(request, timeout=20.0):
            pass
    assert from_rpc_error(caught.value).reason is Reason.OBJECT_CORRUPT
    await scene.unharmed()
