"""The object store as sealane needs it: a dozen calls, their answers, and the ways in which they fail.

The lifecycle of everything stored is in docs/protocol.md; this page states what each call promises:

* Every call is tried **once**. Retrying belongs to one layer (:mod:`sealane.store.retry`), because a hidden retry
  turns one's own success into a ``PreconditionFailed`` (protocol.md section 6).
* Every call ends within ``timeout`` seconds, with an answer or an error. A call that ends with
  :class:`OutcomeUnknown` may have taken effect, may yet take effect, or may never.
* A cancelled call is an unknown outcome too: an adapter may let the request in hand run out behind it.
* Keys are whole keys, UTF-8, at most 1,024 bytes; only :mod:`sealane.store.keys` spells them.

Rights an adapter's credentials need on the one bucket: deploy/s3-policies, tested to be enough and no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

# --- what comes back ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small object read whole: its bytes and what the store says of it."""

    body: bytes
    etag: str
    last_modified: datetime
    """The store's clock, UTC, whole seconds at worst."""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What HEAD answers. ``metadata`` keys are lower case, without ``x-amz-meta-``."""

    size: int
    etag: str
    last_modified: datetime
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    sha256_composite: str | None = None
    """``base64(sha256(part sha256s))-n`` as the store gives it; None if the store keeps none."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    key: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """Objects in ascending order of their keys within one folder. ``cursor`` continues; None means that was all.

    Across folders the order is the store's: S3 sorts whole keys by their bytes, SeaweedFS 4.48 segment by segment.
    """

    objects: Sequence[ListedObject]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part in a complete-multipart list. ``etag`` without quotes; ``sha256`` is the raw 32 bytes."""

    number: int
    etag: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A row of ListParts. A store may list several rows of one number: the newest is the one that counts.

    ``sha256`` is None where the store does not list checksums (SeaweedFS 4.48 lists none).
    """

    number: int
    etag: str
    size: int
    last_modified: datetime
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class PartPage:
    parts: Sequence[ListedPart]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ListedUpload:
    key: str
    upload_id: str
    initiated: datetime


@dataclass(frozen=True, slots=True)
class UploadPage:
    uploads: Sequence[ListedUpload]
    cursor: str | None = None


# --- how it fails ------------------------------------------------------------------------------------------------


class StoreError(Exception):
    """A call did not do what it was asked. ``detail`` is for logs, never for the wire."""

    def __init__(self, detail: str = "", *, request_id: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.request_id = request_id


class NoSuchKey(StoreError):
    """404 NoSuchKey (or a HEAD's bare 404)."""


class NoSuchUpload(StoreError):
    """404 NoSuchUpload. SeaweedFS 4.48 also says so of a living upload without parts, at CMU."""


class NoSuchBucket(StoreError):
    """404 NoSuchBucket: the settings name a bucket that is not there."""


class PreconditionFailed(StoreError):
    """412: the key exists already. It may be one's own earlier, unanswered write."""


class WriteConflict(StoreError):
    """409: another conditional write is in flight. Back off, then the same call again."""


class InvalidPart(StoreError):
    """400 InvalidPart or InvalidPartOrder: a part of the list is not what is stored."""


class ChecksumMismatch(StoreError):
    """400 BadDigest / XAmzContentChecksumMismatch: bytes and SHA-256 disagree."""


class AccessDenied(StoreError):
    """403. Nothing has changed; the credentials or the policy must."""


class ClockSkewed(AccessDenied):
    """403 RequestTimeTooSkewed. The adapter has learnt the store's time from this answer: repeat once."""


class Rejected(StoreError):
    """Any other 4xx: nothing changed, and the same call will fail again."""


class OutcomeUnknown(StoreError):
    """Time-out, 5xx, cut connection, unreadable or 200-with-error answer: it may have happened, or may yet."""


class NoListener(OutcomeUnknown):
    """The connection was refused: nothing was sent, for nobody listened there. A store's process was away."""


class Throttled(OutcomeUnknown):
    """503 SlowDown or ServiceUnavailable: treated as unknown, with a longer pause."""


# --- the calls ---------------------------------------------------------------------------------------------------


class ObjectStore(Protocol):
    """The port. ``timeout`` is seconds for the whole call, as the caller waits it."""

    @property
    def bucket(self) -> str: ...

    def now(self) -> datetime:
        """The **store's** time, UTC: the local clock plus the offset learnt from the last ``Date`` header.

        Never the local clock alone (I15). Before the first answer the offset is 0.
        """
        ...

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        timeout: float,
        if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> str:
        """PUT a small object; answer its ETag. ``if_absent`` sends ``If-None-Match: *`` (R2).

        Always carries ``x-amz-checksum-sha256``, as SeaweedFS checks no ``x-amz-content-sha256``.
        Raises PreconditionFailed, WriteConflict, and the general errors.
        """
        ...

    async def get(self, key: str, *, timeout: float, max_bytes: int = 16 << 20) -> StoredObject:
        """GET a whole small object; NoSuchKey if it is not there; Rejected if it is larger than ``max_bytes``."""
        ...

    def read(self, key: str, *, timeout: float, block_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Stream an object's bytes in blocks of at most ``block_bytes``; ``timeout`` is for each block."""
        ...

    async def head(self, key: str, *, timeout: float) -> ObjectHead:
        """HEAD with checksum mode on; NoSuchKey if it is not there."""
        ...

    async def delete(self, key: str, *, timeout: float, signed_at: datetime | None = None) -> None:
        """DELETE; a key that is not there is no error.

        ``signed_at`` is the moment, by :meth:`now`, that the request says it was signed at: 15 minutes after it no
        store accepts it any more (R6), wherever it was held up. Without it: the moment of the call. Raises ClockSkewed.
        """
        ...

    async def list_objects(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        """One page of the objects under ``prefix`` (which may end inside a segment), at most ``limit`` <= 1000.

        Read-after-write (R1). A non-final page always has a cursor, whatever its length. ``start_after``, in place of
        a cursor, begins behind that key (under ``prefix``, there or not): how a listing skips what it need not see.
        """
        ...

    async def create_multipart(
        self,
        key: str,
        *,
        timeout: float,
        metadata: Mapping[str, str],
        content_type: str = "",
    ) -> str:
        """Start a multipart upload (with ``x-amz-checksum-algorithm: SHA256``); answer its upload id.

        Metadata comes back from :meth:`head` once the upload is completed (R4).
        """
        ...

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        body: bytes | bytearray | memoryview,
        *,
        sha256: bytes,
        timeout: float,
    ) -> str:
        """Upload part ``number`` (1…10,000); answer its ETag. ``sha256`` is payload signature and part checksum (R3).

        The caller keeps ``body`` unchanged until the call **ends**; after a cancellation the adapter waits for
        the request in hand to let go of ``body`` before the call ends (I13).
        Raises ChecksumMismatch if the bytes differ from ``sha256``, NoSuchUpload if the upload is gone.
        """
        ...

    async def complete_multipart(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[Part],
        *,
        timeout: float,
    ) -> str:
        """CompleteMultipartUpload naming each part's ETag and SHA-256, no precondition; answer the object's ETag.

        Raises InvalidPart, ChecksumMismatch, NoSuchUpload, PreconditionFailed, WriteConflict, and the general errors
        (a 200 with an ``<Error>`` body is that error if it is known, else OutcomeUnknown).
        """
        ...

    async def abort_multipart(self, key: str, upload_id: str, *, timeout: float) -> None:
        """AbortMultipartUpload; NoSuchUpload if it is gone already. Confirm by :meth:`list_parts`."""
        ...

    async def list_parts(
        self,
        key: str,
        upload_id: str,
        *,
        timeout: float,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> PartPage:
        """One page of an upload's parts by number; NoSuchUpload if it is gone."""
        ...

    async def list_uploads(
        self,
        prefix: str,
        *,
        timeout: float,
        cursor: str | None = None,
        limit: int = 1000,
    ) -> UploadPage:
        """One page of the open multipart uploads whose keys begin with ``prefix``."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and threads, after the requests in hand."""
        ...
