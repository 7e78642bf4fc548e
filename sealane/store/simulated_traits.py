"""What kind of store a simulated one is: how it speaks where the port allows for differences, and what it breaks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where stores differ and the port allows it. The defaults are SeaweedFS 4.48's ways."""

    lists_by_segment: bool = True
    """LIST sorts segment by segment (``a/b`` before ``a-b``), not by the bytes of the whole key."""
    keeps_overwritten_parts: bool = True
    """An overwritten part keeps all its rows, in no order of time; CMU takes the one whose ETag it names."""
    lists_part_checksums: bool = False
    complete_may_repeat: bool = True
    """CMU of a completed upload answers its ETag, whatever the list says, while its object is the one at the key."""
    abort_may_repeat: bool = True
    """Aborting an upload that is gone is no error, if the id was once this key's."""
    partless_is_unknown: bool = True
    """CMU of an upload without parts, or with an empty list, says NoSuchUpload (else InvalidPart)."""
    opaque_part_etags: bool = False
    """A part's ETag is another each time, whatever its bytes (stores that encrypt), not their MD5."""
    min_part_bytes: int = 0
    """Smallest part that isn't the last: 5 MiB in real stores, 0 here, as simulations use tiny chunks."""


SEAWEEDFS = Dialect()
AWS = Dialect(
    lists_by_segment=False,
    keeps_overwritten_parts=False,
    lists_part_checksums=True,
    complete_may_repeat=False,
    abort_may_repeat=False,
    partless_is_unknown=False,
)


@dataclass(frozen=True, slots=True)
class Flaws:
    """Guarantees (protocol.md section 2) that this store breaks. All False: an honest one."""

    list_hides_newest: bool = False
    """R1: LIST shows a new key only after the next write."""
    get_hides_newest: bool = False
    """R1: GET and HEAD answer NoSuchKey for a new key until the next write."""
    list_loses_page_edge: bool = False
    """R1: the key right behind a full page is on no page."""
    list_wants_whole_segments: bool = False
    """R1: a prefix that ends inside a segment finds nothing."""
    ignores_if_absent: bool = False
    """R2: ``If-None-Match: *`` does nothing, as with the JuiceFS gateway and ``rclone serve s3``."""
    races_if_absent: bool = False
    """R2: it is checked at one moment and obeyed at another."""
    ignores_part_checksum: bool = False
    """R3, at UploadPart."""
    ignores_etag_at_complete: bool = False
    """R3, at CMU."""
    ignores_sha256_at_complete: bool = False
    """R3, at CMU."""
    loses_metadata: bool = False
    """R4."""
    lacks_composite: bool = False
    """R4."""
    complete_resurrects: bool = False
    """R5: CMU repeated brings the old bytes back."""
    accepts_old_signatures: bool = False
    """R6."""
