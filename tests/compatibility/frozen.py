"""A bucket as a file, and back: everything that a store keeps of it, the times and the upload ids too."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sealane.store.port import ListedPart, ObjectHead
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket, SimulatedObject, _Row, _Upload

HERE = Path(__file__).parent
RECORD_SUFFIX = ".json"


def _text(body: bytes) -> dict[str, str]:
    """A record stays readable in a diff."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _bytes(value: dict[str, str]) -> bytes:
    return value["text"].encode() if "text" in value else base64.b64decode(value["base64"])


def dump(bucket: SimulatedBucket, now: datetime, sessions: dict[str, Any]) -> dict[str, Any]:
    """As JSON; ``sessions`` are the answers that were given about it."""
    objects = {}
    for key in bucket.keys(""):
        stored = bucket.object(key)
        assert stored is not None
        head = stored.head
        objects[key] = {
            "etag": head.etag,
            "last_modified": head.last_modified.isoformat(),
            "content_type": head.content_type,
            "metadata": dict(head.metadata),
            "sha256_composite": head.sha256_composite,
            "upload_id": stored.upload_id,
            "body": _text(b"".join(stored.read())),
        }
    uploads = [
        {
            "key": upload.key,
            "upload_id": upload.upload_id,
            "initiated": upload.initiated.isoformat(),
            "metadata": upload.metadata,
            "content_type": upload.content_type,
            "parts": [
                {
                    "number": row.listed.number,
                    "etag": row.listed.etag,
                    "last_modified": row.listed.last_modified.isoformat(),
                    "body": _text(row.body or b""),
                }
                for rows in upload.rows.values()
                for row in rows
            ],
        }
        for upload in bucket._uploads.values()
    ]
    return {"now": now.isoformat(), "sessions": sessions, "objects": objects, "uploads": uploads}


def load(version: int) -> tuple[SimulatedStore, dict[str, Any]]:
    """A store that holds the frozen bucket, its clock going on from when it was frozen; and the answers."""
    frozen = json.loads((HERE / f"v{version}" / "bucket.json").read_text(encoding="utf-8"))
    bucket = SimulatedBucket()
    for key, told in frozen["objects"].items():
        body = _bytes(told["body"])
        head = ObjectHead(
            size=len(body),
            etag=told["etag"],
            last_modified=_time(told["last_modified"]),
            content_type=told["content_type"],
            metadata=told["metadata"],
            sha256_composite=told["sha256_composite"],
        )
        bucket._store(key, SimulatedObject(head, (body,), told["upload_id"]))
    for told in frozen["uploads"]:
        upload = _Upload(
            told["key"], told["upload_id"], _time(told["initiated"]), told["metadata"], told["content_type"]
        )
        for part in told["parts"]:
            upload.rows.setdefault(part["number"], []).append(_row(part))
        bucket._uploads[upload.upload_id] = upload
    bucket._serial = 1 << 32  # ids that no frozen upload has
    loop, begun = asyncio.get_running_loop(), _time(frozen["now"])
    start = loop.time()
    return SimulatedStore(bucket, clock=lambda: begun + timedelta(seconds=loop.time() - start)), frozen["sessions"]


def _row(part: dict[str, Any]) -> _Row:
    import hashlib

    body = _bytes(part["body"])
    listed = ListedPart(part["number"], part["etag"], len(body), _time(part["last_modified"]))
    return _Row(listed, hashlib.sha256(body).digest(), body)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def records(version: int) -> dict[str, bytes]:
    """The records of the frozen bucket by their keys; what is a receipt or an object is left out."""
    frozen = json.loads((HERE / f"v{version}" / "bucket.json").read_text(encoding="utf-8"))
    return {
        key: _bytes(told["body"])
        for key, told in frozen["objects"].items()
        if key.startswith(".sealane/") and key.endswith(RECORD_SUFFIX)
    }
