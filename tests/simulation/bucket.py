"""The bucket with a witness: every change is shown to the model at the very moment at which it happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealane.store.keys import TOKEN_METADATA
from sealane.store.port import Part
from sealane.store.simulated_bucket import SimulatedBucket, SimulatedObject
from sealane.store.simulated_traits import Dialect

if TYPE_CHECKING:
    from tests.simulation.model import Model


class WatchedBucket(SimulatedBucket):
    """A :class:`SimulatedBucket` that tells its tenant's model what is about to change and what has changed."""

    models: dict[str, Model]
    """What is known of each tenant."""
    later: Callable[[Callable[[], None]], object] | None = None
    """For the next CompleteMultipartUpload: when its object shows."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect=dialect)
        self.strangers: dict[str, SimulatedObject] = {}
        """What somebody else has written, by key."""

    def model_of(self, key: str) -> Model:
        """Of the tenant that ``key`` belongs to; of any, if it is nobody's (I12)."""
        root, _, rest = key.partition("/")
        model = self.models.get(rest.partition("/")[0] if root == ".sealane" else root)
        return model or next(iter(self.models.values()))

    def put_by_stranger(self, key: str) -> None:
        """An object that is none of sealane's."""
        now = datetime.fromtimestamp(0, UTC)
        super().put(key, b"somebody else's", now, if_absent=False, content_type="text/plain")
        self.strangers[key] = self._objects[key]

    def put(self, key: str, body: bytes, now: datetime, *, if_absent: bool, content_type: str) -> str:
        before = self._objects.get(key)
        etag = super().put(key, body, now, if_absent=if_absent, content_type=content_type)
        self.model_of(key).has_put(key, body, None if before is None else b"".join(before.read()))
        return etag

    def delete(self, key: str) -> None:
        if key in self._objects:
            self.model_of(key).will_delete(key)
        super().delete(key)

    def create_multipart(self, key: str, now: datetime, *, metadata: Mapping[str, str], content_type: str) -> str:
        self.model_of(key).touched(key)
        return super().create_multipart(key, now, metadata=metadata, content_type=content_type)

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part], now: datetime) -> str:
        later, self.later = self.later, None
        before = self._objects.get(key)
        etag = super().complete_multipart(key, upload_id, parts, now)
        if (made := self._objects[key]) is before:
            return etag
        if later is None:
            self.model_of(key).has_completed(key, upload_id, made)
            return etag
        if before is None:
            super().delete(key)
        else:
            self._objects[key] = before
        later(lambda: self._shows(key, upload_id, made))
        return etag

    def _shows(self, key: str, upload_id: str, made: SimulatedObject) -> None:
        self._store(key, made)
        self.model_of(key).has_completed(key, upload_id, made)

    def abort_multipart(self, key: str, upload_id: str) -> None:
        if upload_id in self._uploads:
            self.model_of(key).will_abort(key, upload_id)
        super().abort_multipart(key, upload_id)

    # --- for the model and the faults ---

    def uploads(self) -> dict[str, str]:
        """Open uploads: id -> key."""
        return {upload_id: upload.key for upload_id, upload in self._uploads.items()}

    def token_of(self, upload_id: str) -> str:
        """The token that an open upload carries."""
        upload = self._uploads.get(upload_id)
        return "" if upload is None else upload.metadata.get(TOKEN_METADATA, "")

    def part_sha256s(self, upload_id: str, number: int) -> list[bytes] | None:
        """The SHA-256 of each stored row of a part; None if the upload is not open."""
        upload = self._uploads.get(upload_id)
        return None if upload is None else [row.sha256 for row in upload.rows.get(number, [])]
