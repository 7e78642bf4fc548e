"""Two ingest and two assembly processes on a real store, called at random by the real grpcurl: any replica, any order.

The five classic failures of upload services, each as a user would meet it.
"""

from __future__ import annotations

import random

import blake3
import pytest
from cli_process import CHUNK
from grpcurl import b64, grpcurl, upload_messages

from sealane.dev.cluster import Cluster
from sealane.dev.signed_http import signed_request

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class Replicas:
    """Calls on a replica that a seeded hand picks."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = random.Random(seed)

    def ingest(self, method: str, *messages: dict):
        replica = self.rng.choice(self.cluster.of_kind("ingest"))
        return grpcurl(replica.address, f"IngestService/{method}", *messages)

    def assembly(self, method: str, *messages: dict):
        replica = self.rng.choice(self.cluster.of_kind("assembly"))
        return grpcurl(replica.address, f"AssemblyService/{method}", *messages)

    def create(self, **fields: object) -> str:
        return self.ingest("CreateSession", fields).one["session"]["session_id"]

    def commit(self, session: str, content: bytes):
        return self.assembly("CommitSession", commit_request(session, content))

    def read_object(self, key: str) -> tuple[int, bytes]:
        """Through plain S3, with nothing of sealane between."""
        store = self.cluster.store
        return signed_request(
            store.endpoint,
            "GET",
            f"/{store.bucket}/{key}",
            access_key=store.access_key,
            secret_key=store.secret_key,
            timeout=60,
        )


def commit_request(session: str, content: bytes) -> dict:
    return {
        "session_id": session,
        "chunk_count": str(-(-len(content) // CHUNK)),
        "size": str(len(content)),
        "blake3": b64(blake3.blake3(content).digest()),
    }


def cut(content: bytes) -> list[tuple[int, bytes]]:
    return [(i, content[i * CHUNK : (i + 1) * CHUNK]) for i in range(-(-len(content) // CHUNK))]


@pytest.fixture
def replicas(cluster: Cluster) -> Replicas:
    return Replicas(cluster, seed=7)


def test_chunks_in_any_order_on_any_replica_make_the_object_that_b3sum_names(replicas: Replicas) -> None:
    """I4, I6: committed bytes are the verified chunks in order; all answers to a commit are equal."""
    content = random.Random(1).randbytes(2 * CHUNK + 12_345)
    session = replicas.create(filename="any order.bin", size=str(len(content)))
    chunks = cut(content)
    replicas.rng.shuffle(chunks)
    for index, data in chunks:
        answer = replicas.ingest("UploadChunks", *upload_messages(session, (index, data))).one
        assert answer["chunks"] == [{"chunk_index": str(index), "status": "CHUNK_STATUS_STORED"}]
    answers = [replicas.commit(session, content).one["committed_object"] for _ in range(4)]
    assert [answer.pop("replayed") for answer in answers] == [False, True, True, True]
    assert all(answer == answers[0] for answer in answers)
    status, body = replicas.read_object(answers[0]["key"])
    assert (status, blake3.blake3(body).digest()) == (200, blake3.blake3(content).digest())
    outcome = replicas.assembly("GetCommit", {"session_id": session}).one
    assert outcome["state"] == "SESSION_STATE_COMMITTED"
    assert outcome["committed_object"]["etag"] == answers[0]["etag"]


def test_a_missing_chunk_0_or_1_is_named_by_status_and_by_commit(replicas: Replicas) -> None:
    """First classic failure: chunk 0 is missing and the upload is "loading for ever"."""
    content = random.Random(2).randbytes(2 * CHUNK + 1)
    for missing in (0, 1):
        session = replicas.create(size=str(len(content)))
        present = [chunk for chunk in cut(content) if chunk[0] != missing]
        assert replicas.ingest("UploadChunks", *upload_messages(session, *present)).code == 0
        coverage = replicas.ingest("GetSession", {"session_id": session}).one["session"]["coverage"]
        assert coverage["missing_ranges"] == [{"first": str(missing), "last": str(missing)}]
        refused = replicas.commit(session, content)
        assert refused.reason == "COVERAGE_INCOMPLETE"
        assert f"1 chunk is missing: {missing}." in refused.err
        assert replicas.ingest("UploadChunks", *upload_messages(session, cut(content)[missing])).code == 0
        assert replicas.commit(session, content).code == 0


def test_two_workers_see_the_same_state(replicas: Replicas) -> None:
    """Second classic failure: the second worker knows nothing of what the first received."""
    content = random.Random(3).randbytes(CHUNK + 5)
    session = replicas.create(size=str(len(content)))
    first, second = replicas.cluster.of_kind("ingest")
    assert grpcurl(first.address, "IngestService/UploadChunks", *upload_messages(session, cut(content)[0])).code == 0
    views = [
        grpcurl(service.address, "IngestService/GetSession", {"session_id": session}).one["session"]["coverage"]
        for service in (first, second)
    ]
    assert views[0] == views[1]
    assert views[0]["stored_chunks"] == "1"
    assert views[0]["prefix"]["blake3"] == b64(blake3.blake3(content[:CHUNK]).digest())
    again = grpcurl(second.address, "IngestService/UploadChunks", *upload_messages(session, *cut(content))).one
    assert [chunk["status"] for chunk in again["chunks"]] == ["CHUNK_STATUS_DUPLICATE", "CHUNK_STATUS_STORED"]


def test_a_restart_loses_no_acknowledged_chunk(replicas: Replicas) -> None:
    """Third classic failure, I5: state dies with the process. Here both ingest processes die."""
    content = random.Random(4).randbytes(CHUNK + 99)
    session = replicas.create(size=str(len(content)))
    assert replicas.ingest("UploadChunks", *upload_messages(session, cut(content)[0])).code == 0
    for service in replicas.cluster.of_kind("ingest"):
        service.kill()
    for service in replicas.cluster.of_kind("ingest"):
        service.start(timeout=120)
    coverage = replicas.ingest("GetSession", {"session_id": session}).one["session"]["coverage"]
    assert coverage["stored_chunks"] == "1"
    assert replicas.ingest("UploadChunks", *upload_messages(session, cut(content)[1])).code == 0
    committed = replicas.commit(session, content).one["committed_object"]
    assert replicas.read_object(committed["key"]) == (200, content)


def test_two_sessions_of_the_same_filename_never_collide(replicas: Replicas) -> None:
    """Fourth classic failure: the later upload of "same.bin" overwrites the earlier one, or mixes with it."""
    contents = [b"first" * 1000, b"second" * 1000]
    sessions = [replicas.create(filename="same.bin", size=str(len(c))) for c in contents]
    for session, content in zip(sessions, contents, strict=True):
        assert replicas.ingest("UploadChunks", *upload_messages(session, (0, content))).code == 0
    keys = [replicas.commit(s, c).one["committed_object"]["key"] for s, c in zip(sessions, contents, strict=True)]
    assert keys[0] != keys[1]
    assert [replicas.read_object(key) for key in keys] == [(200, content) for content in contents]


def test_an_aborted_session_takes_no_chunk_no_commit_and_never_becomes_an_object(replicas: Replicas) -> None:
    """Fifth classic failure, I9: deleted things come back. (What is purged when: test_nothing_left.)"""
    content = b"x" * 5000
    session = replicas.create(filename="gone.bin", size=str(len(content)))
    assert replicas.ingest("UploadChunks", *upload_messages(session, (0, content))).code == 0
    for _ in range(2):
        assert replicas.assembly("AbortSession", {"session_id": session}).one["state"] == "SESSION_STATE_ABORTED"
    assert replicas.commit(session, content).reason == "SESSION_ABORTED"

    def late_chunk_refused() -> (
        None
    ):  # the other replica may have seen "no decision" up to 2 s ago; its answer asks anew
        assert replicas.ingest("UploadChunks", *upload_messages(session, (0, content))).reason == "SESSION_ABORTED"

    for _ in range(3):
        late_chunk_refused()
    assert replicas.read_object(f"default/by-session/{session}/gone.bin")[0] == 404


def test_an_unknown_session_is_not_found_by_every_rpc_of_both_services(replicas: Replicas) -> None:
    nobody = {"session_id": "0" * 32}
    for answer in (
        replicas.ingest("GetSession", nobody),
        replicas.ingest("WatchSession", nobody),
        replicas.ingest("StreamReceipts", nobody),
        replicas.ingest("UploadChunks", *upload_messages("0" * 32, (0, b"x"))),
        replicas.commit("0" * 32, b"x"),
        replicas.assembly("VerifySession", commit_request("0" * 32, b"x")),
        replicas.assembly("GetCommit", nobody),
        replicas.assembly("AbortSession", nobody),
        replicas.assembly("VerifyObject", nobody),
    ):
        assert answer.reason == "SESSION_NOT_FOUND"
        assert "error_id" in answer.err


def test_reflection_lists_both_services_and_health_answers_on_a_port_of_its_own(cluster: Cluster) -> None:
    for service in cluster.services:
        name = f"sealane.v1.{service.kind.capitalize()}Service"
        described = grpcurl(service.address, f"{service.kind.capitalize()}Service/Nothing")
        assert described.code != 0
        assert name in described.err
        assert service.ready()


def test_no_reply_names_bucket_endpoint_upload_or_secret(replicas: Replicas) -> None:
    """Section 10: a reply never carries what only the log may hold."""
    store = replicas.cluster.store
    content = b"y" * 100
    session = replicas.create(size="100")
    replicas.ingest("UploadChunks", *upload_messages(session, (0, content)))
    failures = [
        replicas.commit(session, b"z" * 100).err,
        replicas.ingest("UploadChunks", *upload_messages(session, (0, b"z" * 100))).err,
        replicas.ingest("GetSession", {"session_id": "../x"}).err,
    ]
    for text in failures:
        for secret in (store.endpoint, store.secret_key, store.access_key, "Traceback", "multipart", "UploadId"):
            assert secret not in text
