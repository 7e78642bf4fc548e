"""What assembly, or another replica, writes and deletes beside the ingest under test: straight into its store."""

from __future__ import annotations

from datetime import UTC, datetime

from blake3 import blake3
from ingest_replica import Replica

from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, Decision, Outcome
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, MultipartRecord
from sealane.rpc import convert
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket

TENANT = Tenant("default")


def key(session: str, name: str) -> str:
    return keys.record(TENANT, SessionId(session), name)


def write(bucket: SimulatedBucket, session: str, name: str, body: bytes) -> None:
    bucket.put(key(session, name), body, EPOCH, if_absent=True, content_type="application/json")


def decide(bucket: SimulatedBucket, session: str, outcome: Outcome) -> None:
    write(bucket, session, keys.DECISION, Decision(session, outcome).encode())


def upload_id(bucket: SimulatedBucket, session: str) -> str:
    body = b"".join(piece or b"" for piece in bucket.get(key(session, keys.MULTIPART)).pieces)
    return MultipartRecord.parse(body).upload_id


async def commit(replica: Replica, session: str, data: bytes) -> None:
    """decision=COMMIT over what is stored, the beginning of ``data``; not done yet."""
    assert isinstance(replica.store, SimulatedStore)
    bucket = replica.store.state
    receipts: list[Receipt] = [convert.receipt_from_proto(r) for r in await replica.receipts(session)]
    size = sum(receipt.length for receipt in receipts)
    parameters = CommitParameters(len(receipts), size, blake3(data[:size]).digest())
    decision = Decision.commit(session, parameters, upload_id(bucket, session), receipts)
    write(bucket, session, keys.DECISION, decision.encode())


def finish(bucket: SimulatedBucket, session: str, data: bytes) -> None:
    """The upload is completed, and done.json says so."""
    bucket.lose_upload(upload_id(bucket, session))
    done = DoneRecord(session, "etag", len(data), blake3(data).digest(), datetime(2030, 1, 1, tzinfo=UTC))
    write(bucket, session, keys.DONE, done.encode())


def purge(bucket: SimulatedBucket, session: str) -> None:
    """All of the session's records and receipts, as a sweeper leaves it in the end."""
    for name in bucket.keys(f".sealane/{TENANT}/sessions/{session}/"):
        bucket.delete(name)
