"""What `make rolling` calls a violation."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from sealane.client import BrokenStream, UploadResult
from tests.rolling.load import Load
from tests.rolling.roll import CHUNK, Report, Restart


def report(*uploads: Sequence[int], bytes_sent_again: int = 0) -> Report:
    """Of one restart of ingest, with two lanes of two streams; each upload had broken streams of so many chunks."""
    load = Load("", "", lanes=2, streams=2, size=CHUNK)
    for chunks in uploads:
        broken = tuple(BrokenStream("DRAINING", each) for each in chunks)
        load.uploads.append(
            cast(
                "UploadResult",
                SimpleNamespace(
                    size=CHUNK, retries=0, streams=2, bytes_sent_again=bytes_sent_again, broken_streams=broken
                ),
            )
        )
    return Report(load, [Restart("ingest-1", 0, 1.0, 2.0)])


def test_streams_are_counted_by_the_chunks_that_went_twice() -> None:
    made = report([0, 1], [], [1])
    assert made.violations == []
    assert made.document()["streams_cut_by_chunks_sent_twice"] == {0: 1, 1: 2}
    assert made.document()["by_reason"] == {"DRAINING": {0: 1, 1: 2}}


def test_one_stream_that_sends_two_chunks_twice_fails_the_run_whatever_the_average() -> None:
    made = report(*[[0]] * 50, [2])
    assert made.sent_twice == {0: 50, 1: 0, 2: 1}
    assert made.violations == ["2 chunks of one stream were sent twice"]


@pytest.mark.parametrize(("each", "fine"), [(2 * CHUNK, True), (2 * CHUNK + 4, False)])
def test_so_does_an_average_of_more_than_a_chunk(each: int, fine: bool) -> None:
    """A chunk that every new stream begins anew, and none brings over, costs one a stream, and no end of streams."""
    assert (report([1], [1], bytes_sent_again=each).violations == []) is fine


def test_a_replica_that_had_to_be_killed_is_a_violation_and_so_is_a_failed_upload() -> None:
    made = report([0])
    made.restarts.append(Restart("ingest-2", None, 40.0, 60.0))
    made.load.failures.append("GaveUp: …")
    assert made.violations == ["GaveUp: …", "ingest-2 ended with None"]


def test_without_a_broken_stream_there_is_nothing_to_count() -> None:
    assert report([]).document()["streams_cut_by_chunks_sent_twice"] == {0: 0}
    assert report().violations == ["nothing was uploaded"]
