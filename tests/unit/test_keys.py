"""The bucket's layout: every key under its own tenant, every receipt read as it was written."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain.chunks import Receipt
from sealane.domain.errors import BadRecord
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.precondition import VACANT
from sealane.domain.records import SessionRecord
from sealane.store import keys

T = Tenant("default")
S = SessionId("0123456789abcdef" * 2)
digests = st.binary(min_size=32, max_size=32)
receipts = st.builds(
    Receipt,
    index=st.integers(0, 9_999),
    length=st.integers(1, 64 << 20),
    blake3=digests,
    chaining_value=digests,
    sha256=digests,
    etag=st.one_of(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), st.text(min_size=1, max_size=30)),
)  # fmt: skip


@given(receipts)
def test_a_receipts_key_says_the_whole_receipt(receipt: Receipt) -> None:
    assert keys.parse_receipt(keys.receipt(T, S, receipt)) == receipt


@given(receipts)
def test_a_receipts_last_segment_fits_the_255_bytes_that_stores_allow(receipt: Receipt) -> None:
    key = keys.receipt(T, S, receipt)
    if len(receipt.etag) == 32 and receipt.etag.isalnum():
        assert len(key.rsplit("/", 1)[1].encode()) <= 190


@given(receipts, st.data())
def test_a_receipt_key_with_any_character_changed_is_another_receipt_or_refused(
    receipt: Receipt, data: st.DataObject
) -> None:
    key = keys.receipt(T, S, receipt)
    start = key.rindex("/") + 1
    at = data.draw(st.integers(start, len(key) - 1))
    forged = key[:at] + data.draw(st.characters(exclude_characters=key[at] + "/")) + key[at + 1 :]
    with contextlib.suppress(BadRecord):
        assert keys.parse_receipt(forged) != receipt


@given(st.text(max_size=250))
def test_an_unparsable_receipt_key_is_a_bad_record_and_never_another_error(text: str) -> None:
    with pytest.raises(BadRecord):
        keys.parse_receipt(f"{keys.receipts_prefix(T, S)}{text}")


def test_receipts_list_in_order_of_their_indexes() -> None:
    some = [Receipt(i, 1, bytes(32), bytes(32), bytes(32), "e") for i in (0, 1, 9, 10, 99, 100, 9_999)]
    listed = [keys.receipt(T, S, r) for r in some]
    assert listed == sorted(listed)


def test_the_receipts_of_one_chunk_have_a_prefix_that_no_other_chunk_shares() -> None:
    prefix = keys.receipts_prefix(T, S, 1)
    assert keys.receipt(T, S, Receipt(1, 1, bytes(32), bytes(32), bytes(32), "e")).startswith(prefix)
    assert not keys.receipt(T, S, Receipt(10, 1, bytes(32), bytes(32), bytes(32), "e")).startswith(prefix)


def test_i12_every_key_of_a_session_is_under_its_tenant_and_names_its_session() -> None:
    own = [
        keys.record(T, S, keys.DONE),
        keys.receipts_prefix(T, S),
        keys.sessions_prefix(T),
        keys.requests_prefix(T),
    ]
    assert all(key.startswith(f".sealane/{T}/") for key in own)
    assert keys.object_key(T, S, "f").startswith(f"{T}/by-session/{S}/")
    assert keys.request_record(T, "../../x").startswith(f".sealane/{T}/requests/")


def test_two_sessions_of_one_filename_never_collide() -> None:
    """The fourth classic failure."""
    other = SessionId("f" * 32)
    assert keys.object_key(T, S, "same.bin") != keys.object_key(T, other, "same.bin")
    assert keys.session_prefix(T, S) != keys.session_prefix(T, other)


def test_keys_are_taken_apart_again() -> None:
    assert keys.parse_session_key(keys.record(T, S, keys.DECISION)) == (T, S, "decision.json")
    assert keys.parse_object_key(keys.object_key(T, S, "a b\n.bin")) == (T, S, "a b\n.bin")


@pytest.mark.parametrize(
    "key",
    ["", ".sealane/", f".sealane/{T}/sessions/{S}/", f".sealane/{T}/sessions/{S[:-1]}/x", f".sealane/T/sessions/{S}/x",
     f"x/.sealane/{T}/sessions/{S}/x", f".sealane/../sessions/{S}/x", f".sealane/{T}/requests/{S}.json"],
)  # fmt: skip
def test_a_foreign_key_is_no_sessions(key: str) -> None:
    assert keys.parse_session_key(key) is None


@pytest.mark.parametrize(
    "key", ["", f"{T}/by-session/{S}/", f"{T}/by-session/{S}/a/b", f"{T}/{S}/a", f".sealane/by-session/{S}/a"]
)
def test_a_foreign_object_is_no_sessions_own(key: str) -> None:
    assert keys.parse_object_key(key) is None


def test_only_the_known_records_have_keys() -> None:
    with pytest.raises(ValueError, match="no such record"):
        keys.record(T, S, "../x")


def test_a_claim_s_key_says_its_log_and_its_number_and_sorts_by_it() -> None:
    logs = [keys.claim(T, "a/b", number) for number in (0, 1, 2, 10, 999, 1000, 10**12 - 1)]
    assert logs == sorted(logs)
    parsed = [keys.parse_claim_key(key) for key in logs]
    assert [claim.number for claim in parsed if claim] == [0, 1, 2, 10, 999, 1000, 10**12 - 1]
    assert {(claim.tenant, len(claim.log)) for claim in parsed if claim} == {(T, 64)}
    assert all(key.startswith(keys.claims_prefix(T, "a/b")) for key in logs)
    assert keys.claims_prefix(T, "a/b") != keys.claims_prefix(T, "a/c")


@pytest.mark.parametrize("key", ["", "x", ".sealane/t/claims/x/000000000001.json", ".sealane/t/claims/" + "a" * 64])
def test_what_is_no_claim_s_key_is_none(key: str) -> None:
    assert keys.parse_claim_key(key) is None


CHOSEN = SessionRecord(S, "default/a/b", "b", 1024, None, "t", 1, "a/b", chosen_key="a/b", precondition=VACANT)


def test_i12_a_session_may_touch_the_key_that_it_chose_or_its_own_and_no_other() -> None:
    """I12: a forged session.json names no key of another tenant, of another session, or among the records."""
    assert keys.key_of(T, CHOSEN) == "default/a/b"
    assert keys.key_of(T, replace(CHOSEN, chosen_key="")) == f"default/by-session/{S}/b"
    for forged in ("../other/x", "by-session/x/y", "/x", ".sealane/x", "a//b"):
        with pytest.raises(BadRecord):
            keys.key_of(T, replace(CHOSEN, chosen_key=forged))


@pytest.mark.parametrize(
    ("index", "length", "etag"),
    [
        ("0000001", "5", "e"),
        ("000000001", "5", "e"),
        ("٠٠٠٠٠٠٠١", "5", "e"),
        ("00000001", "05", "e"),
        ("00000001", "+5", "e"),
        ("00000001", "5", "a b"),
        ("00000001", "5", "e!"),
        ("00000001", "5", "x" * 65),
        ("00000001", "5", "é"),
        ("00000001", "5", "~"),
    ],
)
def test_a_receipt_key_has_one_spelling(index: str, length: str, etag: str) -> None:
    """Section 11: what int() or a store would let pass is no receipt of ours."""
    digests = ".".join(["A" * 43] * 3)
    assert keys.parse_receipt(f"00000001.5.{digests}.e").length == 5
    with pytest.raises(BadRecord):
        keys.parse_receipt(f"{index}.{length}.{digests}.{etag}")
