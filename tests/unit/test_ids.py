"""Names that callers give: what is taken, and what is refused with which reason (protocol.md section 11)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealane.domain import ids
from sealane.domain.errors import (
    InvalidDigest,
    InvalidFilename,
    InvalidMetadata,
    InvalidObjectKey,
    InvalidRequest,
    InvalidSessionId,
)


@pytest.mark.parametrize(
    "text",
    ["", "../" * 4, "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 31 + "\n", "a" * 31 + "\0", "%2e" * 10 + "ab",
     "x" * 10_240, "a" * 32 + "\n", "٣" * 32, "../../../etc/passwd", "a" * 16 + "/" + "a" * 15],
)  # fmt: skip
def test_a_session_id_is_32_lower_case_hex_digits_and_nothing_else(text: str) -> None:
    with pytest.raises(InvalidSessionId):
        ids.session_id(text)


def test_a_new_session_id_is_valid_and_made_of_128_random_bits() -> None:
    asked: list[int] = []

    def entropy(n: int) -> bytes:
        asked.append(n)
        return bytes(range(n))

    assert ids.session_id(ids.new_session_id(entropy)) == "000102030405060708090a0b0c0d0e0f"
    assert asked == [16]


@pytest.mark.parametrize(
    "text",
    ["a/b", "a\\b", "/", ".", "..", "a\nb", "a\0b", "\x7f", "\x85", "a\u202eb", "a\u200bb", "\ud800", "e\u0301",
     " a", "a ", "\t", "a" * 256, "é" * 128, "\u2028", "\ufdd0", "\ue000"],
)  # fmt: skip
def test_a_filename_with_separators_controls_lookalikes_or_too_many_bytes_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilename) as caught:
        ids.filename(text)
    assert caught.value.field == "filename"


@pytest.mark.parametrize("text", ["a", "a" * 255, "é" * 127, "ein Name.tar.gz", "日本語.bin", "a%2fb", "-", "~a=b+c&d"])
def test_a_filename_of_any_language_is_taken_as_it_is(text: str) -> None:
    assert ids.filename(text) == text


def test_no_filename_is_the_default_one() -> None:
    assert ids.filename("") == "object"


@given(st.text(max_size=300))
def test_whatever_is_taken_as_a_filename_is_one_segment_of_an_s3_key(text: str) -> None:
    try:
        name = ids.filename(text)
    except InvalidFilename:
        return
    assert "/" not in name
    assert name not in ("", ".", "..")
    assert len(name.encode()) <= 255


T = ids.Tenant("acme")
LONGEST = "/".join(["x" * 254] * 4)
"""1,019 bytes; 1,024 with "acme/"."""


@pytest.mark.parametrize(
    "text",
    ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/../b", "a/./b", "../a", "a\\b", "a\nb", "a/\0b", "a\x7f",
     "\x85/a", "a\u202eb/c", "a/\u200b", "\ud800", "a/e\u0301", " a", "a /b", "a/ b", "a/\t", "a/" + "b" * 256,
     "é" * 128, LONGEST + "x", "by-session", "by-session/x", f"by-session/{'a' * 32}/f", ".sealane",
     ".sealane/acme/sessions/x", "a/\u2028", "\ufdd0", "a/\ue000"],
)  # fmt: skip
def test_an_object_key_of_section_11_is_refused(text: str) -> None:
    """I12 and section 11: nothing is repaired; nothing lands at a session's own key or among the records."""
    with pytest.raises(InvalidObjectKey) as caught:
        ids.object_key(text, T)
    assert caught.value.field == "object_key"


@pytest.mark.parametrize(
    "text",
    ["a", "a/b/c", "x" * 255, LONGEST, "by-sessions/x", "x/by-session/y", "x/.sealane", ".hidden", "a b/ü/日本.bin",
     "%2e%2e/a", "a?b#c&d=e+f", "...", "-", "~", "/".join("a" * 500)],
)  # fmt: skip
def test_an_object_key_of_any_language_is_taken_as_it_is(text: str) -> None:
    assert ids.object_key(text, T) == text


@given(st.text(max_size=400) | st.lists(st.text(max_size=20), max_size=8).map("/".join))
def test_whatever_is_taken_as_an_object_key_is_its_own_s3_key_under_the_tenant(text: str) -> None:
    """I12: no other tenant's, no session's own, no record's, and the same key for whoever normalizes paths."""
    try:
        key = f"{T}/{ids.object_key(text, T)}"
    except InvalidObjectKey:
        return
    assert posixpath.normpath(key) == key
    assert len(key.encode()) <= 1024
    assert not key.startswith((f"{T}/by-session/", f"{T}/.sealane/", ".sealane/"))


def test_the_folders_of_a_key_are_the_names_that_it_lies_in() -> None:
    assert ids.folders("a") == []
    assert ids.folders("a/b/c") == ["a", "a/b"]


@pytest.mark.parametrize(
    "values",
    [{"sealane-token": "x"}, {"Name": "x"}, {"": "x"}, {"a_b": "x"}, {"-a": "x"}, {"a" * 64: "x"}, {"a": "é"},
     {"a": "x\n"}, {"a": " x"}, {"a": "x" * 1536}, {f"k{i}": "v" * 100 for i in range(16)}],
)  # fmt: skip
def test_metadata_too_large_not_ascii_or_under_sealanes_own_names_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(InvalidMetadata):
        ids.metadata(values)


def test_metadata_is_taken_and_sorted() -> None:
    assert list(ids.metadata({"b": "2", "a": "1", "c": ""})) == ["a", "b", "c"]


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_digest_is_32_bytes(length: int) -> None:
    with pytest.raises(InvalidDigest):
        ids.digest(bytes(length))


@pytest.mark.parametrize("text", ["", "a" * 128, "7b0e…"[:4], "x y"])
def test_a_request_id_is_short_printable_ascii(text: str) -> None:
    assert ids.request_id(text) == text


@pytest.mark.parametrize("text", ["a" * 129, "a\n", "é"])
def test_another_request_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        ids.request_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "text",
        "text/",
        "/plain",
        "text/plain\r\nx: y",
        "text/plain; ",
        "text/plain;\tcharset=utf-8",
        "a/b\r\n;x: y",
        "text/plain;",
        "é/é",
        "a/" + "b" * 300,
    ],
)
def test_a_content_type_that_could_break_a_header_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        ids.content_type(text)


@pytest.mark.parametrize("text", ["", "-a", "A", "a" * 64, "a.b", "a/b", ".sealane", "a\n"])
def test_a_tenant_can_never_spell_a_path_or_the_records_prefix(text: str) -> None:
    """I12: the tenant is a key's first segment."""
    with pytest.raises(InvalidRequest):
        ids.tenant(text)


@pytest.mark.parametrize("text", ["text/plain", "text/plain; charset=utf-8", "application/vnd.a+json", "a/b;c=d ;e=f"])
def test_a_content_type_with_parameters_is_taken_as_it_is(text: str) -> None:
    assert ids.content_type(text) == text


@pytest.mark.parametrize(
    ("refused", "field", "says"),
    [
        (lambda: ids.session_id("x"), "session_id", "session_id must be 32 lower-case hex digits."),
        (lambda: ids.tenant("A"), "tenant", "A tenant is made of a-z, 0-9 and '-', and has at most 63 characters."),
        (lambda: ids.filename("."), "filename", "filename must not be '.' or '..'."),
        (lambda: ids.filename("a/b"), "filename", "filename must not have a separator ('/' or '\\')."),
        (
            lambda: ids.filename("a\u202eb"),
            "filename",
            "filename must not have control, format, surrogate or unassigned characters.",
        ),
        (lambda: ids.filename("e\u0301"), "filename", "filename must be in Unicode normal form C."),
        (lambda: ids.filename(" a"), "filename", "filename must not begin or end with white space."),
        (lambda: ids.filename("a" * 256), "filename", "filename has 256 bytes of UTF-8; at most 255."),
        (
            lambda: ids.content_type("x"),
            "content_type",
            "content_type must look like type/subtype, printable ASCII, at most 255 characters.",
        ),
        (
            lambda: ids.metadata({"A": "b"}),
            "metadata",
            "A metadata name is made of a-z, 0-9 and '-', and has at most 63 characters.",
        ),
        (
            lambda: ids.metadata({"sealane-token": "b"}),
            "metadata",
            "Metadata names that begin with 'sealane-' are sealane's own.",
        ),
        (
            lambda: ids.metadata({"a": "b "}),
            "metadata",
            "A metadata value is printable ASCII without white space at its ends.",
        ),
        (lambda: ids.metadata({"a": "b" * 1536}), "metadata", "metadata has 1537 bytes; at most 1536."),
        (
            lambda: ids.request_id("\n"),
            "request_id",
            "request_id must be printable ASCII, at most 128 characters.",
        ),
        (lambda: ids.digest(b"123"), "blake3", "blake3 must be 32 bytes; it has 3."),
        (lambda: ids.digest(b"123", field="sha256"), "sha256", "sha256 must be 32 bytes; it has 3."),
    ],
)
def test_a_refusal_names_its_field_and_says_what_would_do(refused: Callable[[], object], field: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        refused()
    assert (caught.value.field, caught.value.message) == (field, says)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must not be empty"),
        ("a\x1fb", "must not have control, format, surrogate or unassigned characters"),
        ("a\\b", "must not have a backslash"),
        ("e\u0301", "must be in Unicode normal form C"),
        ("a/" * 600 + "a", f"has {1201 + len(T) + 1} bytes of UTF-8 with the tenant's prefix; at most 1024"),
        ("a//b", "must not have empty, '.' or '..' segments, nor begin or end with '/'"),
        ("a/../b", "must not have empty, '.' or '..' segments, nor begin or end with '/'"),
        ("a/ b", "must not have segments that begin or end with white space"),
        ("é" * 128, "has a segment of 256 bytes of UTF-8; at most 255"),
        ("by-session/a", "must not be at or under 'by-session', which is sealane's own"),
    ],
)
def test_a_refused_object_key_is_told_what_is_wrong_with_it(text: str, why: str) -> None:
    with pytest.raises(InvalidObjectKey) as refused:
        ids.object_key(text, T)
    assert refused.value.message == f"object_key {why}."


def test_a_content_type_and_metadata_may_be_as_long_as_their_bounds_and_no_longer() -> None:
    longest = "a/" + "b" * (ids.MAX_CONTENT_TYPE_CHARS - 2)
    assert ids.content_type(longest) == longest
    with pytest.raises(InvalidRequest):
        ids.content_type(longest + "b")
    values = {"a": "b" * (ids.MAX_METADATA_BYTES - 1)}
    assert ids.metadata(values) == values
    with pytest.raises(InvalidMetadata):
        ids.metadata({"a": "b" * ids.MAX_METADATA_BYTES})
