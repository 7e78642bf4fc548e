"""64 callers commit one session at once, spread over real replicas on a real store: one object, one answer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import blake3
import pytest
from cli_process import CHUNK

from sealane.client import Client
from sealane.dev.cluster import Cluster
from sealane.rpc.channel import channel
from sealane.v1 import assembly_service_pb2, assembly_service_pb2_grpc, session_pb2

pytestmark = pytest.mark.e2e
CALLERS = 64


async def test_i6_64_callers_at_once_over_all_replicas_get_equal_answers(cluster: Cluster) -> None:
    """I6, I7: whoever decides, completes or only repeats, says the same; and so do 64 more when all is done."""
    content = blake3.blake3(b"committed by many").digest(length=CHUNK + 4711)
    async with AsyncExitStack() as scope:
        client = await scope.enter_async_context(Client(cluster.target("ingest"), cluster.target("assembly")))
        session = await client.create_session(filename="many.bin", size=len(content))
        await _upload_only(cluster, session.session_id, content)
        stubs = [
            assembly_service_pb2_grpc.AssemblyServiceStub(
                await scope.enter_async_context(channel(service.address, own_connection=True))
            )
            for service in cluster.of_kind("assembly")
        ]
        request = assembly_service_pb2.CommitSessionRequest(
            session_id=session.session_id,
            chunk_count=2,
            size=len(content),
            blake3=blake3.blake3(content).digest(),
        )

        async def all_at_once() -> list[session_pb2.CommittedObject]:
            calls = (stubs[number % len(stubs)].CommitSession(request, timeout=120) for number in range(CALLERS))
            return [answer.committed_object for answer in await asyncio.gather(*calls)]

        answers = await all_at_once() + await all_at_once()
        assert not all(answer.replayed for answer in answers)
        for answer in answers:
            answer.ClearField("replayed")
        assert len(answers) == 2 * CALLERS
        assert {answer.SerializeToString(deterministic=True) for answer in answers} == {
            answers[0].SerializeToString(deterministic=True)
        }
        verified = await client.verify_object(session.session_id)
        assert verified.blake3 == request.blake3 == answers[0].blake3


async def _upload_only(cluster: Cluster, session: str, content: bytes) -> None:
    from grpcurl import grpcurl, upload_messages

    address = cluster.of_kind("ingest")[0].address
    chunks = [(index, content[index * CHUNK : (index + 1) * CHUNK]) for index in range(2)]
    sent = await asyncio.to_thread(grpcurl, address, "IngestService/UploadChunks", *upload_messages(session, *chunks))
    assert sent.code == 0, sent.err
