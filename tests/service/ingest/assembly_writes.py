"""Records as assembly, or another replica, writes them beside an ingest under test."""

from __future__ import annotations

import random

from blake3 import blake3
from ingest_replica import KIB, Replica, chunks_of

from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, Decision, DuplicateAnswer, Outcome
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import MultipartRecord
from sealane.rpc import convert
from sealane.store import keys
from sealane.store.simulated import EPOCH, SimulatedBucket, SimulatedStore

TENANT = Tenant("default")
DATA = random.Random(3).randbytes(3 * KIB)
PIECES = chunks_of(DATA)


def record_key(session: str, name: str) -> str:
    return keys.record(TENANT, SessionId(session), name)


def write_record(bucket: SimulatedBucket, session: str, name: str, body: bytes) -> None:
    """What another replica, or assembly, writes."""
    bucket.put(record_key(session, name), body, EPOCH, if_absent=True, content_type="application/json")


def decide(bucket: SimulatedBucket, session: str, outcome: Outcome) -> None:
    decision = Decision(session, outcome)
    if outcome is Outcome.DUPLICATE:
        parameters = CommitParameters(3, 3 * KIB, blake3(DATA).digest())
        answer = DuplicateAnswer("ab" * 16, 1, "etag", parameters.size, parameters.blake3, EPOCH)
        decision = Decision(session, outcome, parameters, answer=answer)
    write_record(bucket, session, keys.DECISION, decision.encode())


async def decide_commit(replica: Replica, session: str) -> None:
    """decision=COMMIT over what is stored, as assembly writes it; not done yet."""
    assert isinstance(replica.store, SimulatedStore)
    bucket = replica.store.state
    receipts: list[Receipt] = [convert.receipt_from_proto(r) for r in await replica.receipts(session)]
    stored = bucket.get(record_key(session, keys.MULTIPART))
    multipart = MultipartRecord.parse(b"".join(piece or b"" for piece in stored.pieces))
    size = sum(r.length for r in receipts)
    parameters = CommitParameters(len(receipts), size, blake3(DATA[:size]).digest())
    write_record(
        bucket,
        session,
        keys.DECISION,
        Decision.commit(session, parameters, multipart.upload_id, receipts).encode(),
    )


def calls_of(store: SimulatedStore, op: str, part: str = "") -> list[str]:
    return [call.key for call in store.calls if call.op == op and part in call.key]
