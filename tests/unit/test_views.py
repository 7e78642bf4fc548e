"""What is answered of a finished commit, field by field: other values of each, so that none can stand for another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sealane.domain.decision import DuplicateAnswer
from sealane.domain.limits import ChunkPlan
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject, SessionView

SID, HOLDER = "ab" * 16, "cd" * 16
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = bytes(range(32))


@pytest.mark.parametrize("replayed", [True, False])
def test_a_finished_commit_is_answered_as_done_json_says(replayed: bool) -> None:
    """I6: the same for every caller, but for who made it."""
    done = DoneRecord(SID, "etag-2", 2000, DIGEST, WHEN, generation=7)
    assert CommittedObject.of("bucket", "t/k", done, replayed=replayed) == CommittedObject(
        bucket="bucket",
        key="t/k",
        etag="etag-2",
        size=2000,
        blake3=DIGEST,
        commit_time=WHEN,
        replayed=replayed,
        generation=7,
        duplicate=False,
    )


@pytest.mark.parametrize("replayed", [True, False])
def test_a_duplicate_is_answered_with_the_holders_object(replayed: bool) -> None:
    """Section 8, step 4: a success, marked as such."""
    answer = DuplicateAnswer(HOLDER, 3, "etag-1", 2000, DIGEST, WHEN)
    assert CommittedObject.of_duplicate("bucket", "t/k", answer, replayed=replayed) == CommittedObject(
        bucket="bucket",
        key="t/k",
        etag="etag-1",
        size=2000,
        blake3=DIGEST,
        commit_time=WHEN,
        replayed=replayed,
        generation=3,
        duplicate=True,
    )


def test_a_session_expires_its_ttl_after_it_was_made() -> None:
    record = SessionRecord(SID, f"t/by-session/{SID}/f", "f", 1024, 2000, "t" * 32, 90, "a/b")
    view = SessionView(record, WHEN, SessionState.OPEN, ChunkPlan(chunk_size=1024, size=2000, max_chunks=10))
    assert view.expire_time == WHEN + timedelta(seconds=90)
