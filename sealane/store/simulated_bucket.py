"""A bucket in memory: S3's semantics as plain synchronous state, each call an effect at one instant.

:class:`~sealane.store.simulated.SimulatedStore` puts the waiting, the faults and the port around it. What is
written here was read off SeaweedFS 4.48 by experiment and is held to it by tests/contract; where S3-compatible stores
differ within the port's contract, :class:`~sealane.store.simulated_traits.Dialect` says how.
"""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from sealane.store.port import (
    ChecksumMismatch,
    InvalidPart,
    ListedObject,
    ListedPart,
    ListedUpload,
    NoSuchKey,
    NoSuchUpload,
    ObjectHead,
    ObjectPage,
    Part,
    PartPage,
    PreconditionFailed,
    Rejected,
    UploadPage,
)
from sealane.store.simulated_traits import SEAWEEDFS, Dialect, Flaws

MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 255
MAX_PART_NUMBER = 10_000
MAX_PAGE = 1000
SIGNATURE_LIFETIME = timedelta(minutes=15)
"""R6: how far a request's signature may be from the store's clock."""


@dataclass(slots=True)
class _Row:
    """One stored version of a part."""

    listed: ListedPart
    sha256: bytes
    body: bytes | None


@dataclass(slots=True)
class _Upload:
    key: str
    upload_id: str
    initiated: datetime
    metadata: dict[str, str]
    content_type: str
    rows: dict[int, list[_Row]] = field(default_factory=dict)
    made: SimulatedObject | None = None


@dataclass(frozen=True, slots=True)
class SimulatedObject:
    """An object: its head, and its bytes in the pieces they came in (None: not kept)."""

    head: ObjectHead
    pieces: tuple[bytes | None, ...]
    upload_id: str = ""

    def read(self) -> Iterator[bytes]:
        """The kept pieces in order; Rejected if the bytes were not kept."""
        for piece in self.pieces:
            if piece is None:
                raise Rejected("the simulated store was told to keep no bytes of parts")
            yield piece


def md5_etag(body: bytes) -> str:
    """What S3 answers for one body: equal bytes, equal ETag."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class SimulatedBucket:
    """The state that any number of :class:`SimulatedStore` share. ``keep_bytes=False`` drops the bytes of parts."""

    def __init__(self, *, dialect: Dialect = SEAWEEDFS, flaws: Flaws | None = None, keep_bytes: bool = True) -> None:
        self.dialect = dialect
        self.flaws = flaws or Flaws()
        self._keep_bytes = keep_bytes
        self._objects: dict[str, SimulatedObject] = {}
        self._order: list[bytes] = []
        self._uploads: dict[str, _Upload] = {}
        self._gone: dict[str, _Upload] = {}  # completed or aborted
        self._serial = 0
        self._newest = ""

    # --- for tests to look at and to tamper with ---

    def keys(self, prefix: str = "") -> list[str]:
        """Every object's key under ``prefix``, sorted."""
        return sorted(key for key in self._objects if key.startswith(prefix))

    def open_uploads(self, prefix: str = "") -> list[str]:
        """The keys of the open multipart uploads under ``prefix``, sorted."""
        return sorted(upload.key for upload in self._uploads.values() if upload.key.startswith(prefix))

    def object(self, key: str) -> SimulatedObject | None:
        return self._objects.get(key)

    def lose_upload(self, upload_id: str) -> None:
        """Forget an upload and its parts, as a store that loses data would."""
        self._uploads.pop(upload_id, None)

    # --- objects ---

    def exists(self, key: str) -> bool:
        return key in self._objects

    def put(self, key: str, body: bytes, now: datetime, *, if_absent: bool, content_type: str) -> str:
        _check_key(key)
        if if_absent and not self.flaws.ignores_if_absent and key in self._objects:
            raise PreconditionFailed(f"{key} is there already")
        head = ObjectHead(
            size=len(body), etag=md5_etag(body), last_modified=_whole_seconds(now), content_type=content_type
        )
        self._store(key, SimulatedObject(head, (body,)))
        return head.etag

    def get(self, key: str) -> SimulatedObject:
        stored = self._objects.get(key)
        if stored is None or (self.flaws.get_hides_newest and key == self._newest):
            raise NoSuchKey(key)
        return stored

    def head(self, key: str) -> ObjectHead:
        return self.get(key).head

    def refuses_signature(self, age: timedelta) -> bool:
        return abs(age) > SIGNATURE_LIFETIME and not self.flaws.accepts_old_signatures

    def delete(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            rank = self._rank(key)
            del self._order[bisect_left(self._order, rank)]

    def list_objects(self, prefix: str, cursor: str | None, limit: int) -> ObjectPage:
        wanted = self._rank(prefix)
        limit = _page_limit(limit)
        if self.flaws.list_wants_whole_segments and prefix and not prefix.endswith("/"):
            return ObjectPage(())
        start = bisect_left(self._order, wanted)
        if cursor is not None:
            start = max(start, bisect_right(self._order, self._rank(cursor)))
            start += self.flaws.list_loses_page_edge
        page: list[ListedObject] = []
        for rank in self._order[start : start + limit]:
            if not rank.startswith(wanted):
                return ObjectPage(page)
            key = self._unrank(rank)
            head = self._objects[key].head
            if not (self.flaws.list_hides_newest and key == self._newest):
                page.append(ListedObject(key, head.size, head.last_modified))
        more = start + limit < len(self._order) and self._order[start + limit].startswith(wanted)
        return ObjectPage(page, self._unrank(self._order[start + limit - 1]) if more else None)

    # --- multipart uploads ---

    def create_multipart(self, key: str, now: datetime, *, metadata: Mapping[str, str], content_type: str) -> str:
        _check_key(key)
        self._serial += 1
        upload_id = f"{md5_etag(key.encode())}_{self._serial:012x}"
        kept = {} if self.flaws.loses_metadata else {name.lower(): value for name, value in metadata.items()}
        self._uploads[upload_id] = _Upload(key, upload_id, _whole_seconds(now), kept, content_type)
        return upload_id

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes, sha256: bytes, now: datetime) -> str:
        upload = self._open(key, upload_id)
        if not 1 <= number <= MAX_PART_NUMBER:
            raise InvalidPart(f"part number {number}")
        actual = hashlib.sha256(body).digest()
        if actual != sha256 and not self.flaws.ignores_part_checksum:
            raise ChecksumMismatch(f"part {number} of {key}")
        checksum = actual if self.dialect.lists_part_checksums else None
        etag = md5_etag(body)
        if self.dialect.opaque_part_etags:
            self._serial += 1
            etag = md5_etag(f"{self._serial} {etag}".encode())
        listed = ListedPart(number, etag, len(body), _whole_seconds(now), checksum)
        row = _Row(listed, actual, body if self._keep_bytes else None)
        if self.dialect.keeps_overwritten_parts:
            upload.rows.setdefault(number, []).append(row)
        else:
            upload.rows[number] = [row]
        return listed.etag

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], now: datetime) -> str:
        gone = self._gone.get(upload_id)
        if gone is not None and gone.key == key:
            return self._complete_again(gone)
        upload = self._open(key, upload_id)
        if not upload.rows or not parts:
            raise NoSuchUpload(upload_id) if self.dialect.partless_is_unknown else InvalidPart("no parts")
        if any(later.number <= earlier.number for earlier, later in pairwise(parts)):
            raise InvalidPart("InvalidPartOrder")
        rows = [self._named_row(upload, part) for part in parts]
        if any(row.listed.size < self.dialect.min_part_bytes for row in rows[:-1]):
            raise Rejected("EntityTooSmall")
        etags = b"".join(bytes.fromhex(row.listed.etag) for row in rows)
        composite = base64.b64encode(hashlib.sha256(b"".join(row.sha256 for row in rows)).digest()).decode()
        head = ObjectHead(
            size=sum(row.listed.size for row in rows),
            etag=f"{md5_etag(etags)}-{len(rows)}",
            last_modified=_whole_seconds(now),
            content_type=upload.content_type,
            metadata=upload.metadata,
            sha256_composite=None if self.flaws.lacks_composite else f"{composite}-{len(rows)}",
        )
        made = SimulatedObject(head, tuple(row.body for row in rows), upload_id)
        self._close(upload)
        if self.flaws.complete_resurrects:
            upload.made = made
        self._store(key, made)
        return head.etag

    def abort_multipart(self, key: str, upload_id: str) -> None:
        gone = self._gone.get(upload_id)
        if gone is None or gone.key != key or not self.dialect.abort_may_repeat:
            self._close(self._open(key, upload_id))

    def list_parts(self, key: str, upload_id: str, cursor: str | None, limit: int) -> PartPage:
        """Pages end between two numbers: all rows of a number are on one page, which may exceed ``limit`` by them."""
        upload = self._open(key, upload_id)
        limit = _page_limit(limit)
        after = int(cursor) if cursor else 0
        page: list[ListedPart] = []
        for number in sorted(number for number in upload.rows if number > after):
            if len(page) >= limit:
                return PartPage(page, str(page[-1].number))
            # By ETag: any order that isn't the order of time, for a reader must not lean on it.
            page.extend(sorted((row.listed for row in upload.rows[number]), key=lambda listed: listed.etag))
        return PartPage(page)

    def list_uploads(self, prefix: str, cursor: str | None, limit: int) -> UploadPage:
        """By upload id, as SeaweedFS does: in no order of keys or time."""
        limit = _page_limit(limit)
        found = sorted(
            (upload.upload_id, upload)
            for upload in self._uploads.values()
            if upload.key.startswith(prefix) and upload.upload_id > (cursor or "")
        )
        page = [ListedUpload(upload.key, upload_id, upload.initiated) for upload_id, upload in found[:limit]]
        return UploadPage(page, page[-1].upload_id if len(found) > limit else None)

    # --- within ---

    def _store(self, key: str, stored: SimulatedObject) -> None:
        if key not in self._objects:
            insort(self._order, self._rank(key))
        self._objects[key] = stored
        self._newest = key

    def _open(self, key: str, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise NoSuchUpload(upload_id)
        return upload

    def _close(self, upload: _Upload) -> None:
        upload.rows = {}
        self._gone[upload.upload_id] = self._uploads.pop(upload.upload_id)

    def _complete_again(self, upload: _Upload) -> str:
        if upload.made is not None:
            self._store(upload.key, upload.made)
            return upload.made.head.etag
        current = self._objects.get(upload.key)
        if self.dialect.complete_may_repeat and current is not None and current.upload_id == upload.upload_id:
            return current.head.etag
        raise NoSuchUpload(upload.upload_id)

    def _named_row(self, upload: _Upload, part: Part) -> _Row:
        rows = upload.rows.get(part.number, [])
        named = [row for row in rows if row.listed.etag == part.etag or self.flaws.ignores_etag_at_complete]
        if not named:
            raise InvalidPart(f"part {part.number} with ETag {part.etag} is not stored")
        if named[-1].sha256 != part.sha256 and not self.flaws.ignores_sha256_at_complete:
            raise ChecksumMismatch(f"part {part.number} has another SHA-256")
        return named[-1]

    def _rank(self, key: str) -> bytes:
        """A key's place in LIST. NUL is in no key and below every other byte, so it sorts segments as units."""
        rank = key.encode()
        return rank.replace(b"/", b"\0") if self.dialect.lists_by_segment else rank

    def _unrank(self, rank: bytes) -> str:
        return (rank.replace(b"\0", b"/") if self.dialect.lists_by_segment else rank).decode()


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _page_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"a page has 1 to {MAX_PAGE} rows, not {limit}")
    return limit


def _check_key(key: str) -> None:
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise Rejected("a key is UTF-8") from error
    too_long = len(encoded) > MAX_KEY_BYTES or any(len(part) > MAX_SEGMENT_BYTES for part in encoded.split(b"/"))
    if not encoded or too_long or b"\0" in encoded:
        raise Rejected(f"no key: {key[:80]!r}")
