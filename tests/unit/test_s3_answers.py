"""Reading the store's answers: pages, refusals, its clock - and what isn't an answer at all."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealane.store import s3_xml
from sealane.store.port import (
    AccessDenied,
    ChecksumMismatch,
    ClockSkewed,
    InvalidPart,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    OutcomeUnknown,
    Part,
    PreconditionFailed,
    Rejected,
    StoreError,
    Throttled,
    WriteConflict,
)
from sealane.store.s3_clock import StoreClock
from sealane.store.s3_errors import refusal

NS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
TIME = "2026-01-02T03:04:05.678Z"


def page(root: str, *inner: str, namespace: str = NS) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{namespace}>{"".join(inner)}</{root}>'.encode()


def contents(key: str) -> str:
    return f'<Contents><Key>{key}</Key><Size>3</Size><LastModified>{TIME}</LastModified><ETag>"e"</ETag></Contents>'


def part(number: int, etag: str, more: str = "") -> str:
    return (
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{etag}"</ETag><Size>5</Size>'
        f"<LastModified>{TIME}</LastModified>{more}</Part>"
    )


# --- pages ---


@pytest.mark.parametrize("namespace", [NS, "", ' xmlns:x="y"', ' x="y"' + NS])
@pytest.mark.parametrize("rows", ["<Contents>", f"<Contents{NS}>"])
def test_a_page_of_objects_is_read_wherever_its_namespace_stands(namespace: str, rows: str) -> None:
    inner = (contents(key).replace("<Contents>", rows) for key in ("a/b", "c"))
    body = page("ListBucketResult", *inner, namespace=namespace)
    read = s3_xml.object_page(body)
    assert [(row.key, row.size) for row in read.objects] == [("a/b", 3), ("c", 3)]
    assert read.objects[0].last_modified == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert read.cursor is None


def test_keys_are_decoded_only_if_the_store_says_that_it_encoded_them() -> None:
    rows = contents("a%2Bb+c%25")
    assert s3_xml.object_page(page("ListBucketResult", rows)).objects[0].key == "a%2Bb+c%25"
    encoded = page("ListBucketResult", "<EncodingType>url</EncodingType>", rows)
    assert s3_xml.object_page(encoded).objects[0].key == "a+b c%"


def test_a_truncated_page_always_has_a_cursor_even_when_it_is_empty() -> None:
    more = "<IsTruncated>true</IsTruncated>"
    token = "<NextContinuationToken>t&amp;1</NextContinuationToken>"
    empty = s3_xml.object_page(page("ListBucketResult", more, token))
    assert list(s3_xml.cursor_query(empty.cursor)) == [("continuation-token", "t&1")]
    tokenless = s3_xml.object_page(page("ListBucketResult", more, contents("a"), contents("b")))
    assert list(s3_xml.cursor_query(tokenless.cursor)) == [("start-after", "b")]
    with pytest.raises(s3_xml.Unreadable):
        s3_xml.object_page(page("ListBucketResult", more))


def test_no_row_of_an_overwritten_part_is_lost_between_two_pages() -> None:
    """Section 2: both versions of an overwritten part are listed, and C3 needs the newest of them all."""
    more = "<IsTruncated>true</IsTruncated><NextPartNumberMarker>3</NextPartNumberMarker>"
    read = s3_xml.part_page(page("ListPartsResult", more, part(2, "a"), part(2, "b"), part(3, "c")))
    assert [(row.number, row.etag) for row in read.parts] == [(2, "a"), (2, "b")]
    assert list(s3_xml.cursor_query(read.cursor)) == [("part-number-marker", "2")]
    last = s3_xml.part_page(page("ListPartsResult", part(3, "c"), part(3, "d")))
    assert [row.etag for row in last.parts] == ["c", "d"]
    assert last.cursor is None


def test_a_parts_sha256_is_read_where_there_is_one() -> None:
    digest = bytes(range(32))
    more = f"<ChecksumSHA256>{base64.b64encode(digest).decode()}</ChecksumSHA256>"
    rows = s3_xml.part_page(page("ListPartsResult", part(1, "a", more), part(2, "b"))).parts
    assert [row.sha256 for row in rows] == [digest, None]


def test_uploads_are_paged_with_exactly_the_markers_that_the_store_gave() -> None:
    """SeaweedFS gives an upload id alone, and would take a key-marker for a filter."""
    row = f"<Upload><Key>k+1</Key><UploadId>u</UploadId><Initiated>{TIME}</Initiated></Upload>"
    more = "<IsTruncated>true</IsTruncated><NextUploadIdMarker>u</NextUploadIdMarker>"
    read = s3_xml.upload_page(page("ListMultipartUploadsResult", more, row))
    assert [(upload.key, upload.upload_id) for upload in read.uploads] == [("k+1", "u")]
    assert list(s3_xml.cursor_query(read.cursor)) == [("upload-id-marker", "u")]
    both = page("ListMultipartUploadsResult", more, "<NextKeyMarker>k</NextKeyMarker>", row)
    assert list(s3_xml.cursor_query(s3_xml.upload_page(both).cursor)) == [
        ("key-marker", "k"),
        ("upload-id-marker", "u"),
    ]


@pytest.mark.parametrize("cursor", ["", "x", "[]", "1", '{"prefix":"other/"}', '{"uploadId":"u"}'])
def test_a_cursor_that_no_page_gave_is_refused(cursor: str) -> None:
    """Cursors may come back from far away: one must not be able to ask for anything but the next page."""
    with pytest.raises(ValueError, match=r".*"):
        list(s3_xml.cursor_query(cursor))


def test_a_complete_request_names_number_etag_and_sha256_of_every_part() -> None:
    sent = s3_xml.complete_request([Part(1, 'a<&">', b"\1" * 32), Part(10000, "b", b"\2" * 32)])
    rows = s3_xml.parse(sent, "CompleteMultipartUpload").findall("Part")
    assert [row.findtext("PartNumber") for row in rows] == ["1", "10000"]
    assert [row.findtext("ETag") for row in rows] == ['"a<&">"', '"b"']
    assert [base64.b64decode(row.findtext("ChecksumSHA256", "")) for row in rows] == [b"\1" * 32, b"\2" * 32]


# --- what is no answer ---


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"<html>",
        b"<ListBucketResult>",
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><ListBucketResult>&b;</ListBucketResult>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><ListBucketResult/>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x><ListBucketResult/>'.encode("utf-16"),
        page("ListBucketResult", "<Contents><Key>k</Key></Contents>"),
        page("ListBucketResult", contents("k").replace("3", "three", 1)),
        page("ListBucketResult", contents("k").replace(TIME, "yesterday")),
        page("SomethingElse", contents("k")),
    ],
)
def test_what_is_no_page_is_unreadable_and_nothing_else(body: bytes) -> None:
    with pytest.raises(s3_xml.Unreadable):
        s3_xml.object_page(body)


@given(st.binary(max_size=300))
def test_garbage_is_unreadable_and_nothing_else(body: bytes) -> None:
    for read in (s3_xml.object_page, s3_xml.part_page, s3_xml.upload_page, s3_xml.upload_id, s3_xml.completed_etag):
        with pytest.raises(s3_xml.Unreadable):
            read(body)
    assert s3_xml.error_document(body) is None


# --- refusals ---


def refused(status: int, code: str = "", method: str = "PUT", moved: float = 0.0) -> type[StoreError]:
    body = page("Error", f"<Code>{code}</Code><Message>m</Message>", namespace="") if code else b""
    return type(refusal("PUT /k", method=method, status=status, body=body, clock_moved=moved))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", NoSuchKey),
        (404, "NoSuchUpload", NoSuchUpload),
        (404, "NoSuchBucket", NoSuchBucket),
        (404, "NoSuchSomething", Rejected),
        (412, "PreconditionFailed", PreconditionFailed),
        (412, "", PreconditionFailed),
        (409, "ConditionalRequestConflict", WriteConflict),
        (409, "OperationAborted", WriteConflict),
        (409, "", WriteConflict),
        (409, "BucketNotEmpty", Rejected),
        (400, "InvalidPart", InvalidPart),
        (400, "InvalidPartOrder", InvalidPart),
        (400, "BadDigest", ChecksumMismatch),
        (400, "XAmzContentChecksumMismatch", ChecksumMismatch),
        (400, "ExpiredToken", AccessDenied),
        (403, "", AccessDenied),
        (403, "SignatureDoesNotMatch", AccessDenied),
        (403, "Whatever", AccessDenied),
        (401, "", AccessDenied),
        (403, "RequestTimeTooSkewed", ClockSkewed),
        (400, "EntityTooSmall", Rejected),
        (400, "", Rejected),
        (301, "PermanentRedirect", Rejected),
        (501, "NotImplemented", Rejected),
        (503, "SlowDown", Throttled),
        (503, "", Throttled),
        (429, "", Throttled),
        (400, "RequestTimeout", OutcomeUnknown),
        (408, "", OutcomeUnknown),
        (500, "InternalError", OutcomeUnknown),
        (500, "", OutcomeUnknown),
        (502, "", OutcomeUnknown),
        (504, "", OutcomeUnknown),
        (200, "InternalError", OutcomeUnknown),
        (200, "Unheard", OutcomeUnknown),
    ],
)
def test_a_refusal_is_known_by_its_code_then_by_its_status(status: int, code: str, kind: type[StoreError]) -> None:
    """Section 6: what is read as a definite no must be one."""
    assert refused(status, code) is kind


def test_a_bare_404_means_no_such_key_to_head_alone() -> None:
    assert refused(404, method="HEAD") is NoSuchKey
    assert refused(404, method="GET") is OutcomeUnknown


def test_a_bare_403_whose_date_moved_the_clock_is_a_skewed_clocks() -> None:
    assert refused(403, method="HEAD", moved=-86400.0) is ClockSkewed
    assert refused(403, method="HEAD", moved=2.0) is AccessDenied
    assert refused(403, "AccessDenied", moved=86400.0) is AccessDenied


def test_a_refusal_names_the_request_for_the_log() -> None:
    body = page("Error", "<Code>SlowDown</Code><Message>easy</Message><RequestId>r1</RequestId>", namespace="")
    failure = refusal("PUT /k", method="PUT", status=503, body=body)
    assert failure.request_id == "r1"
    for word in ("PUT /k", "503", "SlowDown", "easy", "r1"):
        assert word in failure.detail


# --- the clock ---


class Local:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


@given(
    skew=st.floats(-1e6, 1e6),
    answers=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=20),
)
def test_i15_the_learnt_time_is_right_to_a_second_and_the_round_trip(
    skew: float, answers: list[tuple[float, float, float]]
) -> None:
    """Whatever the local clock says; and a store that is consistent moves the offset only towards the truth."""
    local = Local(1_800_000_000.0)
    clock = StoreClock(local)
    widest = 0.0
    for trip, share, later in answers:
        sent, local.now = local.now, local.now + trip
        date = http_date(sent + trip * share + skew)
        clock.learn(date, sent=sent, received=local.now)
        widest = max(widest, trip)
        assert abs(clock.offset - skew) <= 1.0 + widest + 1e-3
        local.now += later
    assert abs(clock.now().timestamp() - (local.now + skew)) <= 1.0 + widest + 1e-3


def test_rounding_and_latency_do_not_move_the_time() -> None:
    clock = StoreClock(Local(1000.0))
    for tenth in range(40):
        at = 1_800_000_000 + tenth / 10
        assert clock.learn(http_date(at), sent=at, received=at + 0.5) == 0.0
    assert clock.offset == 0.0


def test_a_step_of_the_local_clock_is_noticed_by_the_next_answer() -> None:
    local = Local(1_800_000_000.0)
    clock = StoreClock(local)
    clock.learn(http_date(local.now), sent=local.now, received=local.now)
    truth, local.now = local.now, local.now - 3600
    moved = clock.learn(http_date(truth), sent=local.now, received=local.now)
    assert moved == pytest.approx(3600, abs=1)
    assert abs(clock.now() - datetime.fromtimestamp(truth, UTC)) <= timedelta(seconds=1)


@pytest.mark.parametrize(
    "date",
    [None, "", "yesterday", *(f"Sun, {day} 06:24:43 GMT" for day in ("99 Nov 2026", "22 Nov 9999", f"22 Nov {9**40}"))],
)
def test_what_is_no_date_teaches_nothing(date: str | None) -> None:
    clock = StoreClock(Local(5.0))
    assert clock.learn(date, sent=5.0, received=5.0) == 0.0
