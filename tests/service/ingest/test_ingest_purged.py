"""What other replicas store and purge between two reads of this one, and records that nobody can read."""

from __future__ import annotations

import pytest
from assembly_acts import decide, key, purge
from assembly_writes import DATA, PIECES, decide_commit
from grpc import aio
from ingest_replica import KIB, NOBODY, chunk, header, receipt_keys, refused, running, until
from store_faults import Faults
from structlog.testing import capture_logs

from ingest_service.outcome_client import GrpcOutcomeClient
from sealane.domain.decision import Outcome
from sealane.domain.errors import ChunkOutOfRange, PeerUnavailable, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject
from sealane.rpc.channel import channel
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.port import ObjectPage
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.v1 import ingest_service_pb2 as pb
from sealane.v1 import session_pb2

FULL = b"f" * KIB


@pytest.mark.parametrize("read", [keys.DELETED, keys.DONE])
async def test_a_decided_session_that_is_purged_between_two_reads_is_not_found_and_never_open(read: str) -> None:
    """⚠ Its decision was read, so it can't have become open: session.json is read again, and is gone."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=KIB)).session_id
        decide(store.state, session, Outcome.ABORT)
        faults.just_before("get", f"/{read}", lambda: purge(store.state, session))
        assert isinstance(await refused(replica.upload(session, [FULL])), SessionNotFound)


class Purging:
    """Assembly, whose sweeper purges the session just before it is asked."""

    def __init__(self, bucket: SimulatedBucket, *, purges: bool) -> None:
        self._bucket = bucket
        self._purges = purges

    async def get_commit(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionState, CommittedObject | None]:
        if self._purges:
            purge(self._bucket, session)
        raise SessionNotFound()


async def test_a_session_that_assembly_does_not_find_any_more_is_not_found() -> None:
    """It is no absence of assembly's: session.json is read again, and says which."""
    store = SimulatedStore()
    async with running(store, outcome=Purging(store.state, purges=True)) as replica:
        session = (await replica.create(size=KIB)).session_id
        assert isinstance(await refused(replica.get(session)), SessionNotFound)


class Behind:
    """Assembly, which looked a moment earlier."""

    async def get_commit(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionState, CommittedObject | None]:
        return SessionState.OPEN, None


async def test_a_decision_that_either_service_has_read_is_shown_whichever_looked_last() -> None:
    """Section 3: a decision stands, so COMMITTING is never taken back."""
    async with running(SimulatedStore(), outcome=Behind()) as replica:
        session = (await replica.create(size=len(DATA))).session_id
        await replica.upload(session, PIECES)
        assert (await replica.get(session)).state == session_pb2.SESSION_STATE_OPEN
        await decide_commit(replica, session)
        assert (await replica.get(session)).state == session_pb2.SESSION_STATE_COMMITTING


@pytest.mark.parametrize("decided", [False, True])
async def test_a_session_that_is_found_gone_costs_no_client_its_bytes_again(*, decided: bool) -> None:
    """session.json is cached, and what was found gone is not: the next stream is refused at its header."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        session = (await replica.create(size=2 * KIB)).session_id
        await replica.upload(session, [FULL])
        if decided:
            decide(store.state, session, Outcome.ABORT)
            faults.just_before("get", f"/{keys.DONE}", lambda: purge(store.state, session))
        else:
            purge(store.state, session)
        assert isinstance(await refused(replica.upload(session, {1: FULL})), SessionNotFound)
        before = list(store.calls)
        assert isinstance(await refused(replica.upload(session, {1: FULL})), SessionNotFound)
        assert [call.op for call in store.calls[len(before) :]] == ["get"]


async def test_a_session_that_only_assembly_does_not_find_is_shown_with_its_outcome_unavailable() -> None:
    store = SimulatedStore()
    async with running(store, outcome=Purging(store.state, purges=False)) as replica:
        session = (await replica.create(size=KIB)).session_id
        assert (await replica.get(session)).outcome_unavailable


async def test_an_assembly_that_is_away_is_named_by_the_error_that_says_so() -> None:
    async with channel(NOBODY, own_connection=True) as nobody:
        asked = GrpcOutcomeClient(nobody).get_commit(Tenant("default"), SessionId("ab" * 16), Deadline.after(5))
        error = await refused(asked)
        assert isinstance(error, PeerUnavailable)
        assert "assembly" in error.message.lower()


async def test_a_session_that_cannot_be_read_is_alarmed_and_costs_nobody_the_list() -> None:
    store = SimulatedStore()
    async with running(store) as replica:
        sessions = sorted([(await replica.create(size=KIB)).session_id for _ in range(5)])
        future, torn = sessions[1], sessions[3]
        for session, body in ((future, b'{"version":2,"kind":"session"}'), (torn, b"{")):
            store.state.put(key(session, keys.SESSION), body, EPOCH, if_absent=False, content_type="")
        decide(store.state, torn, Outcome.ABORT)
        with capture_logs() as lines:
            page = await replica.call("ListSessions", pb.ListSessionsRequest())
        readable = [session for session in sessions if session not in (future, torn)]
        assert [found.session_id for found in page.sessions] == readable
        alarms = [line["listed_session"] for line in lines if line.get("alarm")]
        assert sorted(alarms) == [future, torn]


async def test_an_empty_page_of_the_store_is_not_the_end_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is not the last has a cursor, whatever its length: that is followed."""
    store = SimulatedStore()
    async with running(store) as replica:
        sessions = sorted([(await replica.create(size=KIB)).session_id for _ in range(3)])
        real = SimulatedStore.list_objects

        async def list_objects(
            self: SimulatedStore,
            prefix: str,
            *,
            timeout: float,
            cursor: str | None = None,
            start_after: str | None = None,
            limit: int = 1000,
        ) -> ObjectPage:
            if cursor is None:
                return ObjectPage((), prefix)
            return await real(self, prefix, timeout=timeout, cursor=cursor, limit=limit)

        monkeypatch.setattr(SimulatedStore, "list_objects", list_objects)
        page = await replica.call("ListSessions", pb.ListSessionsRequest())
        assert [found.session_id for found in page.sessions] == sessions


@pytest.mark.parametrize("first", ["the short one", "the one behind it"])
async def test_of_a_short_chunk_and_one_behind_it_on_two_streams_at_once_both_are_never_acknowledged(
    first: str,
) -> None:
    """While the size is unknown: no commit could succeed any more, so one client at least must hear it at once."""
    store = SimulatedStore()
    async with running(store) as replica:
        session = (await replica.create()).session_id
        short, behind = (1, b"short"), (5, FULL)
        early, late = (short, behind) if first == "the short one" else (behind, short)
        call = replica.stub.UploadChunks(timeout=20)  # opened when neither was there
        for message in [header(session), *chunk(0, FULL)]:
            await call.write(message)
        await until(lambda: len(receipt_keys(store, session)) == 1, what="the slow stream is open")
        await replica.upload(session, dict([early]))
        for message in chunk(*late):
            await call.write(message)
        await call.done_writing()
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert isinstance(from_rpc_error(caught.value), ChunkOutOfRange)
