"""CreateSession with a key that the caller chose: what is taken, what is kept, and every key that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from assembly_replica import assembly_at
from blake3 import blake3
from ingest_replica import KIB, refused, running

from sealane.dev.ports import free_ports
from sealane.domain.errors import GenerationMismatch, InvalidObjectKey, InvalidRequest, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.precondition import Precondition
from sealane.domain.records import MultipartRecord, SessionRecord
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.v1 import assembly_service_pb2, ingest_service_pb2, session_pb2

TENANT = Tenant("default")
KEY = "reports/2026/november.bin"
DATA = b"x" * (KIB + 100)
S = "ab" * 16


def body(store: SimulatedStore, session: str, name: str) -> bytes:
    stored = store.state.get(keys.record(TENANT, SessionId(session), name))
    return b"".join(piece or b"" for piece in stored.pieces)


async def test_session_json_carries_the_key_and_the_precondition_and_the_session_shows_them() -> None:
    """And its upload is at that key, whole: assembly completes what ingest started."""
    store = SimulatedStore()
    async with running(store) as replica:
        for fields, wanted in [({}, 0), ({"if_generation_match": 7}, 7), ({"overwrite": True}, None)]:
            session = await replica.create(size=len(DATA), object_key=KEY, **fields)
            shown = await replica.get(session.session_id)
            for view in (session, shown):
                assert (view.chosen_key, view.filename, view.object_key) == (KEY, "november.bin", "")
                assert view.overwrite == (wanted is None)
                assert (view.if_generation_match if view.HasField("if_generation_match") else None) == wanted
            record = SessionRecord.parse(body(store, session.session_id, keys.SESSION))
            assert (record.key, record.chosen_key) == (f"default/{KEY}", KEY)
            assert record.precondition == Precondition(wanted)
        await replica.upload(session.session_id, [DATA[:KIB], DATA[KIB:]])
        assert (await replica.get(session.session_id)).coverage.complete
        multipart = MultipartRecord.parse(body(store, session.session_id, keys.MULTIPART))
        assert multipart.key == f"default/{KEY}"
        assert store.state.open_uploads() == [f"default/{KEY}"]


async def test_without_a_key_nothing_of_it_is_recorded_or_shown() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        session = await replica.create(size=KIB)
        assert (session.chosen_key, session.overwrite) == ("", False)
        assert not session.HasField("if_generation_match")
        values = json.loads(body(store, session.session_id, keys.SESSION))
        assert {"chosen_key", "if_generation_match"}.isdisjoint(values)


async def test_a_filename_that_is_given_is_kept_and_never_changes_the_key() -> None:
    async with running() as replica:
        session = await replica.create(object_key="a/b", filename="shown.bin")
        assert (session.filename, session.chosen_key) == ("shown.bin", "a/b")


@pytest.mark.parametrize(
    "fields",
    [
        {"if_generation_match": 0},
        {"if_generation_match": 3},
        {"overwrite": True},
        {"object_key": KEY, "if_generation_match": 0, "overwrite": True},
        {"object_key": KEY, "if_generation_match": 3, "overwrite": True},
        {"object_key": KEY, "if_generation_match": -1},
        {"object_key": KEY, "if_generation_match": 10**12},
        {"object_key": KEY, "if_generation_match": (1 << 63) - 1},
    ],
    ids=str,
)
async def test_preconditions_without_a_key_or_against_each_other_are_refused(fields: dict[str, Any]) -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        assert type(await refused(replica.create(**fields))) is InvalidRequest
        assert store.state.keys() == []


BAD_KEYS = {
    "leading slash": "/a",
    "only a slash": "/",
    "trailing slash": "a/",
    "empty segment": "a//b",
    "dot": "a/./b",
    "dots": "a/../b",
    "only dots": "..",
    "backslash": "a\\b",
    "newline": "a\nb",
    "NUL": "a/\0",
    "bidi override": "a\u202eb",
    "zero width": "a\u200bb",
    "not NFC": "e\u0301",
    "1,025 bytes with the prefix": "/".join(["x" * 254] * 3 + ["x" * 252]),
    "segment of 256 bytes": "a/" + "b" * 256,
    "segment of 256 bytes of UTF-8": "é" * 128,
    "the records' own prefix": ".sealane/default/sessions",
    "the records' own name": ".sealane",
    "by-session": f"by-session/{S}/x",
    "by-session itself": "by-session",
    "white space at a segment's end": "a /b",
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_a_bad_key_of_section_11_is_refused_and_nothing_is_stored(key: str) -> None:
    """INVALID_OBJECT_KEY names the field."""
    store = SimulatedStore()
    async with running(store) as replica:
        error = await refused(replica.create(object_key=key, overwrite=True))
        assert isinstance(error, InvalidObjectKey)
        assert error.field == "object_key"
        assert store.state.keys() == []


@pytest.mark.parametrize("key", ["/".join(["x" * 254] * 3 + ["x" * 251]), "a/" + "b" * 255, "é/" + "日" * 85])
async def test_the_longest_keys_are_taken(key: str) -> None:
    """1,024 bytes with "default/", and segments of 255."""
    async with running() as replica:
        assert (await replica.create(object_key=key)).chosen_key == key


async def test_key_and_precondition_are_part_of_what_a_request_id_stands_for() -> None:
    """The fingerprint: another key, or another precondition, is another request; without a key it is what it was."""
    async with running() as replica:
        made = await replica.create(object_key=KEY, request_id="r")
        assert await replica.create(object_key=KEY, request_id="r") == made
        assert await replica.create(object_key=KEY, if_generation_match=0, request_id="r") == made
        for other in (
            {"object_key": KEY, "overwrite": True},
            {"object_key": KEY, "if_generation_match": 1},
            {"object_key": KEY + "x", "filename": "november.bin"},
            {"filename": "november.bin"},
        ):
            assert type(await refused(replica.create(request_id="r", **other))) is InvalidRequest


async def test_a_forged_session_that_names_a_key_it_may_not_touch_is_believed_by_nobody() -> None:
    """I12, section 11: fail closed."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = await replica.create(object_key=KEY)
        key = keys.record(TENANT, SessionId(session.session_id), keys.SESSION)
        forged = body(store, session.session_id, keys.SESSION).replace(KEY.encode(), b"../other/november.bin")
        store.state.put(key, forged, EPOCH, if_absent=False, content_type="")
        error = await refused(replica.get(session.session_id))
        assert error.reason == "INTERNAL"


async def test_a_tombstone_is_no_session_of_a_caller_s() -> None:
    """Section 7: ingest neither shows it nor takes chunks for it."""
    store = SimulatedStore()
    async with running(store) as replica:
        record = SessionRecord(
            S,
            f"default/{KEY}",
            "x",
            KIB,
            None,
            "t",
            3600,
            "a/b",
            chosen_key=KEY,
            precondition=Precondition(3),
            tombstone=3,
        )
        store.state.put(
            keys.record(TENANT, SessionId(S), keys.SESSION), record.encode(), EPOCH, if_absent=True, content_type=""
        )
        assert isinstance(await refused(replica.get(S)), SessionNotFound)
        assert isinstance(await refused(replica.upload(S, [DATA[:KIB]])), SessionNotFound)
        assert isinstance(await refused(replica.receipts(S)), SessionNotFound)
        listed = await replica.call("ListSessions", ingest_service_pb2.ListSessionsRequest())
        assert list(listed.sessions) == []


async def test_a_duplicate_shows_the_holder_s_object_and_is_covered() -> None:
    """Over both services: create, upload, commit, replace, get the key; GetSession says what assembly decided."""
    store = SimulatedStore()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    async with running(store, peer=address) as replica, assembly_at(address, store, replica.address) as assembly:

        async def put(data: bytes, **fields: Any) -> tuple[str, session_pb2.CommittedObject]:
            session = (await replica.create(size=len(data), object_key=KEY, **fields)).session_id
            await replica.upload(session, [data])
            request = assembly_service_pb2.CommitSessionRequest(
                session_id=session, chunk_count=1, size=len(data), blake3=blake3(data).digest()
            )
            answer = await assembly.CommitSession(request, timeout=20)
            return session, answer.committed_object

        _, first = await put(b"one")
        assert (first.generation, first.duplicate, first.key) == (1, False, f"default/{KEY}")
        session, same = await put(b"one")
        assert (same.generation, same.duplicate, same.etag) == (1, True, first.etag)
        shown = await replica.get(session)
        assert shown.state == session_pb2.SESSION_STATE_DUPLICATE
        assert (shown.committed_object.duplicate, shown.object_key) == (True, f"default/{KEY}")
        assert shown.coverage.complete
        await holder_is(assembly, first.generation, b"one")
        with pytest.raises(Exception, match="generation 1") as caught:  # an RpcError of grpc.aio
            await put(b"two")
        error = from_rpc_error(caught.value)  # type: ignore[arg-type]
        assert isinstance(error, GenerationMismatch)
        assert error.holder is not None
        assert (error.holder.generation, error.holder.blake3) == (1, blake3(b"one").digest())
        _, second = await put(b"two", if_generation_match=1)
        assert second.generation == 2
        await holder_is(assembly, 2, b"two")


async def holder_is(assembly: Any, generation: int, data: bytes) -> None:
    answer = await assembly.GetKey(assembly_service_pb2.GetKeyRequest(object_key=KEY), timeout=20)
    assert (answer.generation, answer.holder.generation) == (generation, generation)
    assert answer.holder.blake3 == blake3(data).digest()
    assert not answer.holder.foreign


async def test_get_key_refuses_what_is_no_key_and_calls_the_rest_vacant() -> None:
    store = SimulatedStore()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    async with running(store, peer=address) as replica, assembly_at(address, store, replica.address) as assembly:
        answer = await assembly.GetKey(assembly_service_pb2.GetKeyRequest(object_key="free"), timeout=20)
        assert not answer.HasField("holder")
        assert (answer.HasField("generation"), answer.generation) == (True, 0)
        for bad in ("", "a//b", "by-session/x"):
            with pytest.raises(Exception, match="object_key") as caught:
                await assembly.GetKey(assembly_service_pb2.GetKeyRequest(object_key=bad), timeout=20)
            assert isinstance(from_rpc_error(caught.value), InvalidObjectKey)  # type: ignore[arg-type]
