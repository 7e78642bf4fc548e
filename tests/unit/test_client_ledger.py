"""What is stored, as a coverage says it and as an upload counts it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealane.client.ledger import ChunkFacts, Ledger, stored_indexes
from sealane.client.progress import Phase, Progress
from sealane.client.results import BrokenStream
from sealane.domain.chunks import Receipt
from sealane.domain.coverage import missing_ranges


@given(st.sets(st.integers(0, 200)), st.booleans())
def test_the_stored_chunks_are_had_back_from_their_number_and_the_gaps(stored: set[int], size_known: bool) -> None:
    count = 250 if size_known else max(stored, default=-1) + 1
    assert stored_indexes(len(stored), missing_ranges(sorted(stored), count)) == stored


def receipt(index: int, digest: bytes = b"d" * 32, length: int = 8) -> Receipt:
    return Receipt(index, length, digest, bytes(32), bytes(32), "etag")


def test_chunks_of_an_earlier_run_count_as_stored_and_are_compared_byte_for_byte_by_digest() -> None:
    seen: list[Progress] = []
    ledger = Ledger("s", 8, 20, seen.append)
    ledger.held_by_server([receipt(0), receipt(2, length=4), receipt(1, b"e" * 32)])
    for index, length in enumerate((8, 8, 4)):
        ledger.seen[index] = ChunkFacts(length, b"d" * 32)
    assert [ledger.differs_from_server(index) for index in range(3)] == [False, True, False]
    assert ledger.resumed(0)
    assert ledger.resumed(2)
    assert (seen[-1].bytes_stored, seen[-1].bytes_resumed, seen[-1].chunks_stored) == (12, 12, 2)
    ledger.sent(8)
    assert seen[-1].bytes_in_flight == 8
    assert ledger.store(1, landed=8)
    assert not ledger.store(1)
    assert (seen[-1].bytes_stored, seen[-1].bytes_in_flight, ledger.bytes_sent) == (20, 0, 8)
    ledger.unstore([1, 7])
    assert (seen[-1].bytes_stored, seen[-1].chunks_stored) == (12, 2)
    ledger.enter(Phase.DONE)
    assert seen[-1].phase is Phase.DONE


def test_a_chunk_that_goes_out_again_is_counted_on_the_stream_that_had_sent_it() -> None:
    """One that broke off, or one whose chunk the commit asked for; a stream that only opened has cost nothing."""
    ledger = Ledger("s", 8, 40, None)
    first, second, third, fourth = (ledger.open_stream() for _ in range(4))
    for index in (0, 1):
        ledger.begin(index, first)
    ledger.stream_broke(first, "DRAINING")  # 0 had arrived
    ledger.begin(1, second)
    ledger.stream_broke(second, "PEER_UNAVAILABLE")
    ledger.stream_broke(third, "DRAINING")
    for index in (1, 2, 3):
        ledger.begin(index, fourth)
    assert ledger.broken_streams == (
        BrokenStream("DRAINING", 1),
        BrokenStream("PEER_UNAVAILABLE", 1),
        BrokenStream("DRAINING", 0),
    )
    assert ledger.chunks_sent_again == 2
    ledger.begin(3, ledger.open_stream())
    assert ledger.chunks_sent_again == 3
    assert (len(ledger.broken_streams), ledger.streams) == (3, 5)
