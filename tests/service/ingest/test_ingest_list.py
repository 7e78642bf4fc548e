"""ListSessions: each session once, by pages and by state, without a look at its receipts."""

from __future__ import annotations

from assembly_writes import TENANT, decide
from ingest_replica import KIB, Replica, refused, running

from sealane.domain.decision import Outcome
from sealane.domain.ids import SessionId
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import session_pb2

_LETTERS = "abcdefghijklmnopqrstuvwxyz012"


async def test_sessions_are_listed_once_each_in_the_order_of_their_ids_over_any_page_size() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = sorted([(await replica.create(size=KIB, filename=f"f{n}")).session_id for n in range(11)])
        for session in made[::3]:
            await replica.upload(session, [b"x" * KIB])
        for size in (1, 2, 5, 11, 100):
            assert [s.session_id for s in await _list(replica, size)] == made


async def test_a_list_jumps_over_receipts_instead_of_reading_them() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = [(await replica.create(size=KIB)).session_id for _ in range(3)]
        for session in made:
            prefix = keys.receipts_prefix(TENANT, SessionId(session))
            for index in range(5000):
                store.state.put(f"{prefix}{index:08d}.x", b"", EPOCH, if_absent=False, content_type="")
        store.calls.clear()
        assert [s.session_id for s in await _list(replica, 10)] == sorted(made)
        assert sum(call.op == "list_objects" for call in store.calls) <= 2 * len(made) + 1


async def test_a_list_filters_by_state_and_its_token_belongs_to_that_filter() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        made = sorted([(await replica.create(size=KIB)).session_id for _ in range(6)])
        for session in made[:4]:
            decide(store.state, session, Outcome.ABORT)
        aborted = await _list(replica, 2, session_pb2.SESSION_STATE_ABORTED)
        assert [s.session_id for s in aborted] == made[:4]
        assert [s.session_id for s in await _list(replica, 2, session_pb2.SESSION_STATE_OPEN)] == made[4:]
        page = await replica.call("ListSessions", pb.ListSessionsRequest(page_size=2))
        request = pb.ListSessionsRequest(
            page_size=2, page_token=page.next_page_token, state=session_pb2.SESSION_STATE_OPEN
        )
        assert (await refused(replica.call("ListSessions", request))).reason == "INVALID_PAGE_TOKEN"


async def test_what_a_purge_has_left_is_no_session() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        gone = (await replica.create(size=KIB)).session_id
        await replica.upload(gone, [b"x" * KIB])
        kept = (await replica.create(size=KIB)).session_id
        store.state.delete(keys.record(TENANT, SessionId(gone), keys.SESSION))
        decide(store.state, gone, Outcome.ABORT)
        assert [s.session_id for s in await _list(replica, 10)] == [kept]


async def test_a_page_of_the_largest_sessions_is_no_larger_than_a_client_takes() -> None:
    """gRPC's clients take answers of 4 MiB, unless they were told otherwise."""
    largest = {
        "filename": "f" * 255,
        "content_type": "x/" + "y" * 253,
        "object_key": "/".join(["k" * 200] * 5),
        # Names of two characters, each with an envelope of its own on the wire.
        "metadata": {a + b: "" for a in _LETTERS for b in _LETTERS[:26]},
    }
    async with running(SimulatedStore()) as replica:
        made = sorted([(await replica.create(size=KIB, **largest)).session_id for _ in range(560)])
        assert [s.session_id for s in await _list(replica, 1000)] == made


async def _list(replica: Replica, page_size: int, state: int = 0) -> list[session_pb2.Session]:
    found: list[session_pb2.Session] = []
    token = ""
    while True:
        request = pb.ListSessionsRequest(page_size=page_size, page_token=token, state=state)  # type: ignore[arg-type]
        page = await replica.call("ListSessions", request)
        assert len(page.sessions) <= page_size
        found += page.sessions
        token = page.next_page_token
        if not token:
            return found
