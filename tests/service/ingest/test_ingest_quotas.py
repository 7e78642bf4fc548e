"""Quotas of tenants: what is refused is refused by name, and stores nothing; what other replicas did counts, too."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import pytest
from ingest_replica import KIB, NOBODY, Replica, chunk, header, refused, running, send_all
from store_faults import Faults

import ingest_service.usage
from sealane.client import Client
from sealane.domain.errors import Overloaded, QuotaExceeded
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import Limits, MiB
from sealane.domain.quotas import Quota, Quotas
from sealane.identity.caller import USER_ROLES, Caller, Presented, Role
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.simulated import SimulatedStore
from sealane.v1 import ingest_service_pb2 as pb


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal counts again each time: what the store shows is then all that matters."""
    monkeypatch.setattr(ingest_service.usage, "STALE_SECONDS", 0.0)
    monkeypatch.setattr(ingest_service.usage, "DUTY", 0.0)


def _quota(**fields: float | None) -> Quotas:
    return Quotas(Quota(**fields))  # type: ignore[arg-type]  # by name


async def _as_tenants(presented: Presented) -> Caller:
    """Whoever the metadata says: tests' own identity."""
    said: Mapping[str, str] = {key: value for key, value in presented.metadata if isinstance(value, str)}
    return Caller("test", USER_ROLES, Tenant(said.get("who", "default")))


def _decide(store: SimulatedStore, session: str) -> None:
    """As assembly would: here its name alone matters."""
    key = keys.record(Tenant("default"), SessionId(session), keys.DECISION)
    store.state.put(key, b"{}", store.now(), if_absent=True, content_type="application/json")


async def _counted_anew(replica: Replica) -> None:
    """As after quota_refresh_seconds."""
    usage = replica.ingest.usage
    figures = await usage.of(Tenant("default"), Deadline.after(20), stored=True)
    await usage.fresh(Tenant("default"), figures, Deadline.after(20), stored=True)


async def test_open_sessions_beyond_the_quota_are_refused_and_leave_nothing_in_the_store() -> None:
    store = SimulatedStore()
    async with running(store, quotas=_quota(open_sessions=2)) as replica:
        first, _ = [await replica.create(size=KIB) for _ in range(2)]
        before = store.state.keys("")
        error = await refused(replica.create(size=KIB, request_id="third"))
        assert isinstance(error, QuotaExceeded)
        assert (error.quota, error.limit, error.used) == ("open_sessions", 2, 2)
        assert store.state.keys("") == before
        _decide(store, first.session_id)
        await replica.create(size=KIB, request_id="third")


async def test_open_sessions_of_other_replicas_count_and_those_made_during_a_walk_count_once() -> None:
    store = SimulatedStore()
    quota = _quota(open_sessions=3)
    async with running(store, quotas=quota) as one, running(store, quotas=quota) as other:
        await one.create(size=KIB)
        await other.create(size=KIB)
        await one.create(size=KIB)
        for replica in (one, other):
            await _counted_anew(replica)
            assert isinstance(await refused(replica.create(size=KIB)), QuotaExceeded)


async def test_a_request_id_that_is_repeated_takes_no_quota() -> None:
    async with running(quotas=_quota(open_sessions=1)) as replica:
        first = await replica.create(size=KIB, request_id="same")
        assert (await replica.create(size=KIB, request_id="same")).session_id == first.session_id


async def test_bytes_of_the_last_day_are_counted_by_receipt_and_what_is_too_much_is_not_stored() -> None:
    store = SimulatedStore()
    quota = _quota(stored_bytes_per_day=3 * KIB)
    async with running(store, quotas=quota) as replica, running(store, quotas=quota) as other:
        session = (await replica.create()).session_id
        await replica.upload(session, [b"a" * KIB])
        await other.upload(session, {1: b"b" * KIB, 2: b"c" * KIB})
        before = store.state.keys("")
        for each in (replica, other):
            await _counted_anew(each)
            error = await refused(each.upload(session, {3: b"d"}))
            assert isinstance(error, QuotaExceeded)
            assert (error.quota, error.limit, error.used) == ("stored_bytes_per_day", 3 * KIB, 3 * KIB)
        assert store.state.keys("") == before
        assert replica.ingest.memory.in_use == 0
        again = await replica.upload(session, [b"a" * KIB])  # what is there already costs nothing
        assert again.chunks[0].status == pb.CHUNK_STATUS_DUPLICATE


async def test_a_session_of_a_known_size_that_the_day_has_no_room_for_is_refused_before_a_byte_is_sent() -> None:
    async with running(quotas=_quota(stored_bytes_per_day=4 * KIB)) as replica:
        await replica.upload((await replica.create(size=KIB)).session_id, [b"a" * KIB])
        assert isinstance(await refused(replica.create(size=4 * KIB)), QuotaExceeded)
        await replica.create(size=3 * KIB)


async def test_a_session_of_an_unknown_size_is_refused_once_the_day_has_room_for_no_byte() -> None:
    async with running(quotas=_quota(stored_bytes_per_day=2 * KIB)) as replica:
        session = (await replica.create()).session_id
        await replica.upload(session, [b"a" * KIB])
        await replica.create()
        await replica.upload(session, {1: b"b" * KIB})
        assert isinstance(await refused(replica.create()), QuotaExceeded)


async def test_what_was_stored_a_day_ago_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SimulatedStore()
    quota = _quota(stored_bytes_per_day=2 * KIB)
    async with running(store, quotas=quota) as replica:
        session = (await replica.create()).session_id
        await replica.upload(session, [b"a" * KIB, b"b" * KIB])
    monkeypatch.setattr(ingest_service.usage, "DAY_SECONDS", -1)
    async with running(store, quotas=quota) as replica:
        await replica.upload(session, {2: b"c" * KIB})


async def test_a_chunk_that_could_not_be_stored_takes_no_quota() -> None:
    faults = Faults()
    async with running(SimulatedStore(faults=faults), quotas=_quota(stored_bytes_per_day=KIB)) as replica:
        session = (await replica.create()).session_id
        await refused(replica.upload(session, {0: b"x" * KIB, 9: b"y" * 2}))  # a short chunk, and not the last
        figures = replica.ingest.usage._tenants.get(Tenant("default"))
        assert figures is not None
        assert figures.stored_bytes.total <= KIB


async def test_while_the_store_shows_nothing_no_quota_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota is no promise to the tenant: what can't be counted stops nobody."""
    faults = Faults()
    store = SimulatedStore(faults=faults)
    async with running(store) as replica:
        await replica.create(size=KIB)
    held = faults.hold("list_objects", times=100)
    monkeypatch.setattr(ingest_service.usage, "WAIT_SECONDS", 0.05)
    async with running(store, quotas=_quota(open_sessions=1), drain_seconds=0.05) as replica:
        await replica.create(size=KIB)
        assert held.reached.is_set()


async def test_a_tenants_override_goes_before_the_default_and_others_keep_theirs() -> None:
    quotas = Quotas(Quota(open_sessions=0), {"acme": {"open_sessions": 1}, "free": {"open_sessions": None}})
    async with running(quotas=quotas, identity=_as_tenants) as replica:

        async def create(who: str) -> None:
            await replica.stub.CreateSession(pb.CreateSessionRequest(), timeout=20, metadata=(("who", who),))

        await create("acme")
        for _ in range(3):
            await create("free")
        for who in ("acme", "other"):
            with pytest.raises(Exception, match="open sessions"):
                await create(who)
        quotas.override({"acme": {"open_sessions": 2}})
        await create("acme")


async def test_a_tenant_that_calls_too_often_is_told_when_to_come_back_and_no_other_is() -> None:
    quotas = Quotas(None, {"often": {"requests_per_second": 0.5}})
    async with running(quotas=quotas, identity=_as_tenants) as replica:

        async def info(who: str) -> None:
            await replica.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=20, metadata=(("who", who),))

        await info("often")
        error = await refused(_domain(replica, "often"))
        assert isinstance(error, Overloaded)
        assert 0 < error.retry_after <= 2
        for _ in range(5):
            await info("other")


async def test_what_a_service_asks_on_behalf_of_a_tenant_is_not_counted_against_it() -> None:
    async def service(presented: Presented) -> Caller:
        return Caller("assembly", frozenset({Role.SERVICE}))

    async with running(quotas=Quotas(None, {"acme": {"requests_per_second": 0.01}}), identity=service) as replica:
        for _ in range(3):
            stream = replica.stub.StreamReceipts(
                pb.StreamReceiptsRequest(session_id="ab" * 16), timeout=20, metadata=(("x-sealane-tenant", "acme"),)
            )
            with pytest.raises(Exception, match="no such session"):
                await stream.read()


async def _domain(replica: Replica, who: str) -> None:
    from sealane.rpc.status import from_rpc_error

    try:
        await replica.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=20, metadata=(("who", who),))
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def test_a_walk_jumps_over_receipts_where_bytes_do_not_matter() -> None:
    store = SimulatedStore()
    store.state.page = 5
    async with running(store, quotas=_quota(open_sessions=100)) as replica:
        session = (await replica.create(size=20 * KIB)).session_id
        await replica.upload(session, [bytes([i]) * KIB for i in range(20)])
        await replica.create(size=KIB)
        figures = replica.ingest.usage._tenants.get(Tenant("default"))
        assert figures is not None
        await replica.ingest.usage._walk(Tenant("default"), figures, stored=False)
        assert figures.open_sessions.total == 2


async def test_the_sdk_raises_a_used_up_quota_at_once_and_sends_no_second_time() -> None:
    """No RetryInfo, no retry: a client that waited would wait for a day."""
    async with running(limits=Limits(), quotas=_quota(stored_bytes_per_day=MiB), memory_budget=64 * MiB) as replica:
        source = replica.ingest.statistics.errors_by_reason
        async with Client(replica.address, NOBODY) as client:
            with pytest.raises(QuotaExceeded) as told:
                await client.upload(bytes(2 * MiB), parallel=1, journal=False)
        assert (told.value.quota, told.value.limit) == ("stored_bytes_per_day", MiB)
        assert source == {"QUOTA_EXCEEDED": 1}


async def test_bytes_in_flight_beyond_the_quota_wait_and_then_are_overloaded_and_no_other_tenant_waits() -> None:
    quotas = Quotas(None, {"acme": {"bytes_in_flight": 2 * KIB}})
    async with running(quotas=quotas, identity=_as_tenants, memory_wait_seconds=0.05) as replica:

        async def upload(who: str) -> pb.UploadChunksResponse:
            metadata = (("who", who),)
            created = await replica.stub.CreateSession(pb.CreateSessionRequest(size=KIB), timeout=20, metadata=metadata)
            call = replica.stub.UploadChunks(timeout=20, metadata=metadata)
            return await send_all(call, [header(created.session.session_id), *chunk(0, b"x" * KIB)])

        held = await replica.ingest.memory.lease(2 * KIB, Deadline.after(20), "acme")
        assert isinstance(await refused(upload("acme")), Overloaded)
        assert (await upload("other")).coverage.complete
        held.release()
        assert (await upload("acme")).coverage.complete
