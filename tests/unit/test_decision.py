"""The decision as it is made, not as it is stored (tests/unit/test_records.py): of receipts, in their order."""

from __future__ import annotations

import dataclasses

from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, DecidedPart, Decision, Outcome, plan_of
from sealane.domain.records import SessionRecord

SID = "ab" * 16


def test_a_decision_to_commit_names_what_the_receipts_prove_part_by_part() -> None:
    """C5: everything that CompleteMultipartUpload needs, so that anybody can go on from it."""
    rows = [(bytes([n]) * 32, bytes([n + 1]) * 32, bytes([n + 2]) * 32, f"e{n}", 1024 - n) for n in (10, 20, 30)]
    receipts = [Receipt(index, length, b3, cv, sha, etag) for index, (b3, cv, sha, etag, length) in enumerate(rows)]
    parameters = CommitParameters(3, sum(receipt.length for receipt in receipts), bytes(32))
    made = Decision.commit(SID, parameters, "upload", receipts)
    assert made == Decision(
        session_id=SID,
        outcome=Outcome.COMMIT,
        parameters=parameters,
        upload_id="upload",
        parts=tuple(DecidedPart(etag, sha, b3, length) for b3, _, sha, etag, length in rows),
    )
    assert (made.generation, made.answer, made.tombstone) == (0, None, False)
    assert Decision.parse(made.encode()) == made


def test_the_plan_of_a_session_is_its_records_and_the_servers_limit() -> None:
    record = SessionRecord(SID, f"t/by-session/{SID}/f", "f", 1024, 2000, "t" * 32, 60, "a/b")
    plan = plan_of(record, 7)
    assert (plan.chunk_size, plan.size, plan.max_chunks) == (1024, 2000, 7)
    assert plan_of(dataclasses.replace(record, size=None), 7).size is None
