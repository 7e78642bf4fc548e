"""Bytes that are missing, outside of the plan, or not those that were declared: of a chunk, or of the whole."""

from __future__ import annotations

from collections.abc import Sequence

from sealane.domain.chunks import ChunkDigests, ChunkRange
from sealane.domain.errors.reason import Reason, SealaneError


def _hex(digest: bytes | None) -> str:
    return digest.hex() if digest else "unknown"


class ChunkError(SealaneError):
    """About some chunks: ``chunks`` ascending, ``truncated`` if there are more than are listed."""

    def __init__(
        self,
        message: str,
        *,
        chunks: Sequence[ChunkDigests] = (),
        truncated: bool = False,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.chunks = tuple(chunks)
        self.truncated = truncated


class ChunkCorrupt(ChunkError):
    """The bytes are not what the client declared: send the chunk again."""

    reason = Reason.CHUNK_CORRUPT

    @classmethod
    def digest(cls, index: int, *, declared: bytes, actual: bytes) -> ChunkCorrupt:
        return cls(
            f"Chunk {index} arrived with BLAKE3 {_hex(actual)}, declared was {_hex(declared)}. Send it again.",
            chunks=[ChunkDigests(index, declared, actual)],
        )


class ChunkNeeded(ChunkError):
    """The commit found parts overwritten: send those bytes again, then commit again."""

    reason = Reason.CHUNK_NEEDED

    @classmethod
    def of(cls, chunks: Sequence[ChunkDigests], *, cap: int = 16) -> ChunkNeeded:
        listed = tuple(chunks)[:cap]
        names = ", ".join(str(c.index) for c in listed)
        return cls(
            f"The store no longer has the verified bytes of chunk {names}. Send them again, then commit again.",
            chunks=listed,
            truncated=len(chunks) > cap,
        )


class ChunkConflict(ChunkError):
    """Other bytes are stored under the index: a bug of the client's."""

    reason = Reason.CHUNK_CONFLICT

    @classmethod
    def of(cls, index: int, *, stored: bytes, sent: bytes) -> ChunkConflict:
        return cls(
            f"Chunk {index} is stored with BLAKE3 {_hex(stored)}, and was sent with {_hex(sent)} too. "
            "One session is one object: start a new session for other bytes.",
            chunks=[ChunkDigests(index, stored, sent)],
        )


class ChunkOutOfRange(SealaneError):
    """A value of a chunk lies outside the plan. ``field`` is "chunk_index", "length" or "offset"."""

    reason = Reason.CHUNK_OUT_OF_RANGE

    def __init__(
        self,
        message: str,
        *,
        index: int = 0,
        field: str = "",
        value: int = 0,
        minimum: int = 0,
        maximum: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.index = index
        self.field = field
        self.value = value
        self.minimum = minimum
        self.maximum = maximum

    @classmethod
    def of(cls, index: int, field: str, value: int, minimum: int, maximum: int) -> ChunkOutOfRange:
        allowed = f"must be {minimum}" if minimum == maximum else f"must be from {minimum} to {maximum}"
        subject = "chunk_index" if field == "chunk_index" else f"The {field} of chunk {index}"
        return cls(
            f"{subject} is {value}; it {allowed}.",
            index=index,
            field=field,
            value=value,
            minimum=minimum,
            maximum=maximum,
        )


class CoverageIncomplete(SealaneError):
    """Chunks are missing. ``missing`` is capped; ``missing_chunks`` counts them all."""

    reason = Reason.COVERAGE_INCOMPLETE

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[ChunkRange] = (),
        truncated: bool = False,
        missing_chunks: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(message, private=private)
        self.missing = tuple(missing)
        self.truncated = truncated
        self.missing_chunks = missing_chunks

    @classmethod
    def of(cls, missing: Sequence[ChunkRange], *, cap: int = 64) -> CoverageIncomplete:
        listed = tuple(missing)[:cap]
        count = sum(r.count for r in missing)
        named = ", ".join(str(r) for r in listed[:8]) + (", …" if len(missing) > 8 else "")
        return cls(
            f"{count} chunk{'s are' if count != 1 else ' is'} missing: {named}. Send them, then commit again.",
            missing=listed,
            truncated=len(missing) > cap,
            missing_chunks=count,
        )


class DigestMismatch(SealaneError):
    """Size or digest of the whole differ from what the client said."""

    reason = Reason.DIGEST_MISMATCH

    def __init__(
        self,
        message: str = "",
        *,
        expected: bytes = b"",
        actual: bytes = b"",
        expected_size: int = 0,
        actual_size: int = 0,
        private: str = "",
    ) -> None:
        super().__init__(
            message
            or f"The stored chunks make {actual_size} bytes with BLAKE3 {_hex(actual)}; "
            f"{expected_size} bytes with {_hex(expected)} were declared.",
            private=private,
        )
        self.expected = expected
        self.actual = actual
        self.expected_size = expected_size
        self.actual_size = actual_size


class ObjectCorrupt(DigestMismatch):
    """The object's bytes at rest are not those committed."""

    reason = Reason.OBJECT_CORRUPT
