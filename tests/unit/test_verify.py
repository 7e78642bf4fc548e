"""The checks of a commit, as pure functions: C1–C4 of protocol.md section 5, and what CMU refused."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from datetime import UTC, datetime, timedelta

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from assembly_service.mend import choose_receipt, mend, newest_rows, part_list
from assembly_service.roll_forward import composite_sha256
from assembly_service.verify import check_parameters, check_receipts
from sealane.domain.blake3_tree import reference_chunk_cv
from sealane.domain.chunks import Receipt
from sealane.domain.decision import CommitParameters, DecidedPart
from sealane.domain.errors import ChunkConflict, ChunkOutOfRange, CoverageIncomplete, DigestMismatch, InvalidSize
from sealane.domain.limits import ChunkPlan, Limits
from sealane.domain.records import SessionRecord
from sealane.store.port import ListedPart

CHUNK = 1024
LIMITS = Limits(min_chunk_bytes=CHUNK, default_chunk_bytes=CHUNK, unknown_size_chunk_bytes=CHUNK, max_chunk_bytes=CHUNK)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def session(size: int | None = None) -> SessionRecord:
    return SessionRecord("0" * 32, "k", "f", CHUNK, size, "t", 60, "a/b")


def receipts_of(content: bytes) -> list[Receipt]:
    chunks = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
    return [
        Receipt(
            index,
            len(data),
            blake3(data).digest(),
            reference_chunk_cv(data, index, CHUNK),
            hashlib.sha256(data).digest(),
            hashlib.md5(data, usedforsecurity=False).hexdigest(),
        )
        for index, data in enumerate(chunks)
    ]


def parameters_of(content: bytes) -> CommitParameters:
    return CommitParameters(-(-len(content) // CHUNK), len(content), blake3(content).digest())


def check(receipts: list[Receipt], parameters: CommitParameters, size: int | None = None) -> list[list[Receipt]]:
    return check_receipts(receipts, check_parameters(session(size), parameters, LIMITS), parameters, LIMITS)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, 12 * CHUNK), seed=st.integers(0, 2**32))
def test_receipts_of_a_whole_object_pass_in_any_order_of_arrival(size: int, seed: int) -> None:
    rng = random.Random(seed)
    content = rng.randbytes(size)
    receipts = receipts_of(content)
    shuffled = rng.sample(receipts, len(receipts))
    assert check(shuffled, parameters_of(content)) == [[receipt] for receipt in receipts]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_no_set_of_receipts_passes_that_is_not_exactly_the_object(data: st.DataObject, seed: int) -> None:
    """I4: drop, shorten, replace, move or add chunks - each is refused by its own name."""
    rng = random.Random(seed)
    content = rng.randbytes(rng.randint(CHUNK + 1, 8 * CHUNK))
    receipts = receipts_of(content)
    index = data.draw(st.integers(0, len(receipts) - 1))
    other = receipts_of(rng.randbytes(len(content)))[index]
    fault = data.draw(st.sampled_from(["drop", "shorten", "replace", "conflict", "add", "swap"]))
    expected: type[Exception] | tuple[type[Exception], ...]
    if fault == "drop":
        receipts.pop(index)
        expected = CoverageIncomplete
    elif fault == "shorten":
        receipts[index] = dataclasses.replace(receipts[index], length=receipts[index].length - 1)
        expected = ChunkOutOfRange
    elif fault == "replace":
        receipts[index] = other
        expected = DigestMismatch
    elif fault == "conflict":
        receipts.append(other)
        expected = ChunkConflict
    elif fault == "add":
        receipts.append(dataclasses.replace(other, index=len(receipts) + rng.randint(0, 9)))
        expected = ChunkOutOfRange
    else:
        last = len(receipts) - 1
        receipts[0], receipts[last] = (
            dataclasses.replace(receipts[last], index=0),
            dataclasses.replace(receipts[0], index=last),
        )
        expected = (DigestMismatch, ChunkOutOfRange)
    with pytest.raises(expected):
        check(receipts, parameters_of(content))


def test_a_chunk_behind_the_end_is_told_before_a_hole() -> None:
    """C2's order: a client that is told of holes first would fill them in vain."""
    content = random.Random(4).randbytes(3 * CHUNK)
    receipts = receipts_of(content)
    receipts[1] = dataclasses.replace(receipts[1], index=3)
    with pytest.raises(ChunkOutOfRange):
        check(receipts, parameters_of(content))


def test_every_receipt_of_an_index_has_the_planned_length_and_not_only_the_first() -> None:
    """⚠ C2: "every receipt", whichever of them the part list will name."""
    content = random.Random(5).randbytes(3 * CHUNK)
    receipts = receipts_of(content)
    with pytest.raises(ChunkOutOfRange):
        check([*receipts, dataclasses.replace(receipts[1], length=CHUNK - 1)], parameters_of(content))


class OnlyInConstantTime(bytes):
    """Bytes that must not be compared by ``==``, which answers the sooner the earlier they differ."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared in variable time")

    def __ne__(self, other: object) -> bool:
        raise AssertionError("compared in variable time")

    __hash__ = bytes.__hash__


def test_the_digest_is_compared_in_constant_time() -> None:
    """C4."""
    content = random.Random(6).randbytes(3 * CHUNK)
    receipts = receipts_of(content)
    told = dataclasses.replace(parameters_of(content), blake3=OnlyInConstantTime(blake3(content).digest()))
    check(receipts, told)
    with pytest.raises(DigestMismatch):
        check(receipts, dataclasses.replace(told, blake3=OnlyInConstantTime(bytes(32))))


@pytest.mark.parametrize(
    ("count", "size", "field"),
    [
        (0, 1, "chunk_count"),
        (1, 0, "chunk_count"),
        (2, CHUNK, "chunk_count"),
        (1, CHUNK + 1, "chunk_count"),
        (-1, 0, "chunk_count"),
        (1, -1, "size"),
        (1, 1 << 63, "size"),
        (10_001, 10_001 * CHUNK, "size"),
    ],
)
def test_counts_and_sizes_that_do_not_fit_each_other_name_the_field(count: int, size: int, field: str) -> None:
    with pytest.raises(InvalidSize) as caught:
        check_parameters(session(), CommitParameters(count, size, bytes(32)), LIMITS)
    assert caught.value.field == field


def test_the_largest_object_fits() -> None:
    plan = check_parameters(session(), CommitParameters(10_000, 10_000 * CHUNK, bytes(32)), LIMITS)
    assert plan == ChunkPlan(CHUNK, 10_000 * CHUNK, 10_000)


def test_missing_ranges_are_capped_and_counted() -> None:
    receipts = receipts_of(bytes(400 * CHUNK))[::2]
    with pytest.raises(CoverageIncomplete) as caught:
        check(receipts, parameters_of(bytes(400 * CHUNK)))
    assert (len(caught.value.missing), caught.value.truncated, caught.value.missing_chunks) == (64, True, 200)


# --- what CMU refused ---


def row(number: int, etag: str, second: int = 0, sha256: bytes | None = None) -> ListedPart:
    return ListedPart(number, etag, CHUNK, NOON + timedelta(seconds=second), sha256)


PARTS = [DecidedPart(f"{n:032x}", bytes([n]) * 32, bytes(32), CHUNK) for n in range(3)]
ROWS = [row(n + 1, part.etag) for n, part in enumerate(PARTS)]


def test_nothing_differs_if_the_newest_rows_are_the_decisions() -> None:
    mending = mend(PARTS, reversed(ROWS))
    assert mending.differing == ()
    assert mending.parts == part_list(PARTS)


def test_a_newer_row_with_other_bytes_and_a_missing_row_differ() -> None:
    assert mend(PARTS, [*ROWS[:2], row(2, "f" * 32, second=1)]).differing == (1, 2)


def test_an_older_row_with_other_bytes_does_not_count() -> None:
    assert mend(PARTS, [row(2, "f" * 32, second=-1), *ROWS]).differing == ()


def test_of_rows_in_the_same_second_any_may_be_the_newest() -> None:
    for rows in ([*ROWS, row(2, "f" * 32)], [row(2, "f" * 32), *ROWS]):
        assert mend(PARTS, rows).differing == ()


def test_a_newer_row_with_our_sha256_is_named_instead() -> None:
    mending = mend(PARTS, [*ROWS, row(2, "f" * 32, second=1, sha256=PARTS[1].sha256)])
    assert mending.differing == ()
    assert [part.etag for part in mending.parts] == [PARTS[0].etag, "f" * 32, PARTS[2].etag]
    assert mending.parts[1].sha256 == PARTS[1].sha256


def test_a_row_with_our_etag_and_another_sha256_differs() -> None:
    """Two bodies may share an MD5; the SHA-256 in the part list is what protects."""
    assert mend(PARTS, [*ROWS[:2], row(3, PARTS[2].etag, second=1, sha256=bytes(32))]).differing == (2,)


def test_the_newest_row_chooses_among_receipts_of_equal_bytes() -> None:
    one = receipts_of(bytes(10))[0]
    two = dataclasses.replace(one, etag="f" * 32)
    for receipts in ([one, two], [two, one]):
        assert choose_receipt(receipts, [row(1, one.etag), row(1, two.etag, second=1)]) is two
        assert choose_receipt(receipts, [row(1, one.etag, second=1), row(1, two.etag)]) is one
        assert choose_receipt(receipts, []) in receipts
    assert newest_rows([]) == {}


def test_the_composite_is_the_base64_of_the_sha256_of_the_parts_sha256_with_their_number() -> None:
    assert composite_sha256(PARTS).endswith("-3")
    assert composite_sha256([DecidedPart("", hashlib.sha256(b"").digest(), bytes(32), 0)]) == (
        "Xfbg4nYTWdMKgnUFjimfzAOBU0VF9Vz0PkGYP11MlFY=-1"
    )
