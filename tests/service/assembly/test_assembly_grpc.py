"""AssemblyService over real gRPC: an ingest that tells receipts, assembly on another port, one simulated store."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from assembly_faults import Fault, refuses
from assembly_time import eventually
from assembly_world import CHUNK, LIMITS, TENANT, Journal, ReceiptsOfStore, Session, World, content_of
from blake3 import blake3

from assembly_service.assembly import Assembly
from assembly_service.patrol import Pace
from assembly_service.receipts_client import GrpcReceiptsClient
from assembly_service.servicer import AssemblyServicer
from assembly_service.settings import AssemblySettings
from sealane.domain import errors
from sealane.domain.ids import SessionId
from sealane.domain.limits import Limits
from sealane.identity.caller import StaticIdentity
from sealane.logs import get_logger
from sealane.rpc import convert
from sealane.rpc.channel import channel
from sealane.rpc.interceptors import server_interceptors
from sealane.rpc.status import from_rpc_error
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore
from sealane.store.simulated import SimulatedStore
from sealane.v1 import assembly_service_pb2 as pb
from sealane.v1 import ingest_service_pb2, ingest_service_pb2_grpc, session_pb2
from sealane.v1.assembly_service_pb2_grpc import AssemblyServiceStub


@dataclass
class Settings:
    default_timeout: float = 30.0
    max_timeout: float = 60.0
    max_stream_timeout: float = 60.0


@dataclass
class Counts:
    errors_by_reason: Counter[str] = field(default_factory=Counter)


def interceptors(counts: Counts) -> Any:
    return server_interceptors(
        identity=StaticIdentity(TENANT), settings=Settings(), log=get_logger("test"), counters=counts
    )


class Ingest(ingest_service_pb2_grpc.IngestServiceServicer):
    """StreamReceipts as ingest has it."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def StreamReceipts(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        session = SessionId(request.session_id)
        if self.world.bucket.object(keys.record(TENANT, session, keys.SESSION)) is None:
            raise errors.SessionNotFound
        found = await ReceiptsOfStore(self.world.plain).receipts(TENANT, session, Deadline.after(30))
        for start in range(0, len(found), 500):
            yield ingest_service_pb2.StreamReceiptsResponse(
                receipts=[convert.receipt_to_proto(receipt) for receipt in found[start : start + 500]]
            )


@contextlib.asynccontextmanager
async def serving(register: Any, counts: Counts, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=interceptors(counts), options=[("grpc.so_reuseport", 0)])
    register(server)
    number = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{number}"
    finally:
        await server.stop(0)


def ingest(world: World) -> Any:
    return lambda server: ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(Ingest(world), server)


@dataclass
class Service:
    world: World
    stub: Any
    store: SimulatedStore
    events: Journal
    counts: Counts
    assembly: Assembly

    def request(self, session: Session, kind: Any = pb.CommitSessionRequest, **changes: Any) -> Any:
        parameters = session.parameters
        values = {
            "session_id": session.id,
            "chunk_count": parameters.chunk_count,
            "size": parameters.size,
            "blake3": parameters.blake3,
        }
        return kind(**(values | changes))


@contextlib.asynccontextmanager
async def assembly(world: World, peer: str, *, limits: Limits = LIMITS) -> AsyncIterator[Service]:
    store, events, counts = SimulatedStore(world.bucket), Journal(), Counts()
    async with channel(peer, own_connection=True) as to_ingest:
        parts = Assembly.on(
            RetryingStore(store, rng=world.rng),
            GrpcReceiptsClient(to_ingest, timeout=10),
            rng=world.rng,
            events=events,
            limits=limits,
            pace=Pace(interval=3600),
            verify_block_bytes=CHUNK,
        )
        servicer = AssemblyServicer(parts, limits=limits)
        async with serving(servicer.register, counts) as address, channel(address, own_connection=True) as to_assembly:
            yield Service(world, AssemblyServiceStub(to_assembly), store, events, counts, parts)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    world = World()
    async with serving(ingest(world), Counts()) as peer, assembly(world, peer) as running:
        yield running


async def raised(call: Any) -> errors.SealaneError:
    """The domain error that a call ended with, as a client sees it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert "Traceback" not in (caught.value.details() or "")
    return from_rpc_error(caught.value)


async def test_a_session_is_verified_committed_asked_for_and_read_back(service: Service) -> None:
    session = await service.world.session(content_of(5 * CHUNK + 1))
    verified = await service.stub.VerifySession(service.request(session, pb.VerifySessionRequest))
    assert verified.state == session_pb2.SESSION_STATE_OPEN
    assert verified.blake3 == session.parameters.blake3
    assert (await service.stub.GetCommit(pb.GetCommitRequest(session_id=session.id))).state == verified.state
    answer = (await service.stub.CommitSession(service.request(session))).committed_object
    assert (answer.size, answer.blake3, answer.key) == (
        len(session.content),
        blake3(session.content).digest(),
        session.record.key,
    )
    assert not answer.replayed
    outcome = await service.stub.GetCommit(pb.GetCommitRequest(session_id=session.id))
    assert outcome.state == session_pb2.SESSION_STATE_COMMITTED
    assert outcome.committed_object.etag == answer.etag
    again = (await service.stub.CommitSession(service.request(session))).committed_object
    assert again.replayed
    again.replayed = False
    assert again == answer
    told = [p async for p in service.stub.VerifyObject(pb.VerifyObjectRequest(session_id=session.id))]
    assert [p.verified for p in told] == [False] * (len(told) - 1) + [True]
    assert told[-1].blake3 == answer.blake3
    assert [p.bytes_read for p in told] == sorted(p.bytes_read for p in told)
    assert len(told) > 3


async def test_i6_sixty_four_calls_at_once_get_equal_answers(service: Service) -> None:
    session = await service.world.session()
    answers = await asyncio.gather(*(service.stub.CommitSession(service.request(session)) for _ in range(64)))
    for answer in answers:
        answer.committed_object.replayed = False
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert service.world.object(session) == session.content


async def test_abort_over_the_wire_is_idempotent_and_told_to_the_sweeper(service: Service) -> None:
    session = await service.world.session()
    patrol = asyncio.create_task(service.assembly.patrol.run())
    for _ in range(2):
        answer = await service.stub.AbortSession(pb.AbortSessionRequest(session_id=session.id))
        assert answer.state == session_pb2.SESSION_STATE_ABORTED
    await eventually(lambda: not service.world.bucket.open_uploads())
    patrol.cancel()
    assert isinstance(await raised(service.stub.CommitSession(service.request(session))), errors.SessionAborted)


async def test_each_refusal_has_its_reason_and_its_detail_over_the_wire(service: Service) -> None:
    """Section 10: the client raises what the server raised, with the same fields."""
    world, stub = service.world, service.stub
    holes = await world.session(without=[0, 1])
    error = await raised(stub.CommitSession(service.request(holes)))
    assert isinstance(error, errors.CoverageIncomplete)
    assert [(r.first, r.last) for r in error.missing] == [(0, 1)]

    whole = await world.session()
    error = await raised(stub.CommitSession(service.request(whole, blake3=bytes(32))))
    assert isinstance(error, errors.DigestMismatch)
    assert (error.expected, error.actual) == (bytes(32), whole.parameters.blake3)

    await world.store_chunk(whole, 1, content_of(CHUNK, seed=8))
    error = await raised(stub.VerifySession(service.request(whole, pb.VerifySessionRequest)))
    assert isinstance(error, errors.ChunkConflict)

    long = await world.session()
    await world.store_chunk(long, 7, b"x")
    error = await raised(stub.CommitSession(service.request(long)))
    assert isinstance(error, errors.ChunkOutOfRange)
    assert (error.index, error.maximum) == (7, 3)

    torn = await world.session()
    await world.decide(torn)
    world.bucket._uploads[torn.upload_id].rows[2].clear()
    error = await raised(stub.CommitSession(service.request(torn)))
    assert isinstance(error, errors.ChunkNeeded)
    assert error.chunks[0].index == 1
    error = await raised(stub.AbortSession(pb.AbortSessionRequest(session_id=torn.id)))
    assert isinstance(error, errors.SessionSealed)
    error = await raised(_drained(stub.VerifyObject(pb.VerifyObjectRequest(session_id=torn.id))))
    assert isinstance(error, errors.SessionNotCommitted)

    world.bucket.lose_upload(torn.upload_id)
    error = await raised(stub.CommitSession(service.request(torn)))
    assert isinstance(error, errors.SessionLost)

    ghost = "0" * 32
    for call in (
        stub.GetCommit(pb.GetCommitRequest(session_id=ghost)),
        stub.AbortSession(pb.AbortSessionRequest(session_id=ghost)),
        stub.CommitSession(service.request(whole, session_id=ghost)),
        _drained(stub.VerifyObject(pb.VerifyObjectRequest(session_id=ghost))),
    ):
        assert isinstance(await raised(call), errors.SessionNotFound)


async def _drained(call: Any) -> list[Any]:
    return [answer async for answer in call]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"session_id": ""}, errors.InvalidSessionId),
        ({"session_id": "../" + "0" * 29}, errors.InvalidSessionId),
        ({"session_id": "0" * 31 + "\n"}, errors.InvalidSessionId),
        ({"session_id": "0" * 31 + "\0"}, errors.InvalidSessionId),
        ({"session_id": "%2e" * 10}, errors.InvalidSessionId),
        ({"session_id": "a" * 10_000}, errors.InvalidSessionId),
        ({"session_id": "A" * 32}, errors.InvalidSessionId),
        ({"blake3": b""}, errors.InvalidDigest),
        ({"blake3": bytes(31)}, errors.InvalidDigest),
        ({"chunk_count": -1}, errors.InvalidSize),
        ({"chunk_count": 2**63 - 1}, errors.InvalidSize),
        ({"size": -(2**63)}, errors.InvalidSize),
        ({"size": 2**63 - 1}, errors.InvalidSize),
        ({"chunk_count": 0}, errors.InvalidSize),
        ({"size": 0}, errors.InvalidSize),
        ({"chunk_count": 3}, errors.InvalidSize),
    ],
    ids=repr,
)
async def test_bad_input_is_refused_and_nothing_is_stored_and_the_server_goes_on(
    service: Service, changes: dict[str, Any], error: type[errors.SealaneError]
) -> None:
    """Section 11."""
    session = await service.world.session()
    before = service.world.bucket.keys()
    for method, kind in (("CommitSession", pb.CommitSessionRequest), ("VerifySession", pb.VerifySessionRequest)):
        told = await raised(getattr(service.stub, method)(service.request(session, kind, **changes)))
        assert type(told) is error
    assert service.world.bucket.keys() == before
    await service.stub.CommitSession(service.request(session))


async def test_ingest_away_is_unavailable_and_is_found_again_by_itself() -> None:
    """Issue 2, item 7: each survives the other's absence with a clear UNAVAILABLE, and recovers by itself."""
    world = World()
    session = await world.session()
    async with serving(ingest(world), Counts()) as peer:
        pass  # a port where nobody listens
    async with assembly(world, peer) as service:
        for method, kind in (("CommitSession", pb.CommitSessionRequest), ("VerifySession", pb.VerifySessionRequest)):
            error = await raised(getattr(service.stub, method)(service.request(session, kind)))
            assert isinstance(error, errors.PeerUnavailable)
            assert "ingest" in error.message
        assert world.decision(session) is None
        outcome = await service.stub.GetCommit(pb.GetCommitRequest(session_id=session.id))
        assert outcome.state == session_pb2.SESSION_STATE_OPEN
        async with serving(ingest(world), Counts(), peer):

            async def committed() -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await service.stub.CommitSession(service.request(session))
                    return True
                return False

            await eventually(committed)
        assert world.object(session) == session.content
        # The commit is finished: ingest is not needed to answer it again.
        assert (await service.stub.CommitSession(service.request(session))).committed_object.replayed


async def test_a_replica_of_ingest_that_is_gone_is_gone_around() -> None:
    """SEALANE_PEER names all replicas: as long as one lives, commits go on."""
    world = World()
    async with serving(ingest(world), Counts()) as gone:
        pass  # a port where nobody listens
    async with serving(ingest(world), Counts()) as alive:
        settings = AssemblySettings(s3_endpoint="http://127.0.0.1:1", peer=f"{gone},{alive}")
        async with assembly(world, settings.peer) as service:
            for _ in range(4):
                session = await world.session()
                await service.stub.CommitSession(service.request(session))
                assert world.object(session) == session.content


async def test_the_outcome_is_unknown_at_the_callers_deadline_and_never_a_failure(service: Service) -> None:
    """Section 6: UNAVAILABLE OUTCOME_UNKNOWN, said before gRPC's own DEADLINE_EXCEEDED."""
    session = await service.world.session()
    service.store.faults = Fault("put", keys.DECISION, refuses(port.OutcomeUnknown("cut")), times=10**6)
    error = await raised(service.stub.CommitSession(service.request(session), timeout=2))
    assert isinstance(error, errors.OutcomeUnknown)
    error = await raised(service.stub.AbortSession(pb.AbortSessionRequest(session_id=session.id), timeout=2))
    assert isinstance(error, errors.OutcomeUnknown)
    service.store.faults = None
    await service.stub.CommitSession(service.request(session))


async def test_a_store_that_refuses_or_breaks_is_told_without_a_word_of_its_own(service: Service) -> None:
    session = await service.world.session()
    secret = "AKIA-secret endpoint bucket"
    service.store.faults = Fault("get", keys.SESSION, refuses(port.AccessDenied(secret)), times=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.stub.GetCommit(pb.GetCommitRequest(session_id=session.id))
    assert isinstance(from_rpc_error(caught.value), errors.StoreUnavailable)
    assert "secret" not in repr(caught.value)
    await service.world.put_record(session, keys.DECISION, b"torn")
    error = await raised(service.stub.GetCommit(pb.GetCommitRequest(session_id=session.id)))
    assert isinstance(error, errors.InternalError)
    assert service.counts.errors_by_reason["INTERNAL"] == 1


async def test_a_receipt_that_ingest_garbles_fails_closed(service: Service) -> None:
    """Section 11: forged or unparsable receipts."""
    session = await service.world.session()
    forged = dataclasses.replace(session.receipts[0], index=0, etag="")
    with pytest.raises(errors.BadRecord):
        convert.receipt_from_proto(convert.receipt_to_proto(forged))
    prefix = keys.receipts_prefix(TENANT, session.id)
    await service.world.plain.put(prefix + "00000001.nonsense", b"", timeout=30)
    error = await raised(service.stub.CommitSession(service.request(session)))
    assert type(error) is errors.InternalError  # "not now" would have the client repeat a hopeless commit
    assert service.world.decision(session) is None
