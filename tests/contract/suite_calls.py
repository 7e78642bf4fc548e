"""Whole walks over the store's paged calls, and whole multipart uploads: what the contract suite is written in."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from sealane.store.port import ListedObject, ListedPart, ListedUpload, ObjectStore, Part
from sealane.store.s3 import S3Settings, S3Store

T = 20.0
"""Seconds for one call: far more than any takes, so that a busy machine fails nothing."""
MIN_PART = 5 << 20
"""Real stores refuse a smaller part that isn't the last."""
MAX_PAGES = 5000


def sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def s3_store(endpoint: str, bucket: str, access_key: str, secret_key: str) -> S3Store:
    return S3Store(S3Settings(endpoint=endpoint, bucket=bucket, access_key=access_key, secret_key=secret_key))


async def object_pages(store: ObjectStore, prefix: str, limit: int = 1000) -> AsyncIterator[Sequence[ListedObject]]:
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await store.list_objects(prefix, timeout=T, cursor=cursor, limit=limit)
        yield page.objects
        cursor = page.cursor
        if cursor is None:
            return
    raise AssertionError(f"LIST of {prefix!r} never ends")


async def listed_keys(store: ObjectStore, prefix: str, limit: int = 1000) -> list[str]:
    return [row.key async for page in object_pages(store, prefix, limit) for row in page]


async def every_part(store: ObjectStore, key: str, upload_id: str, limit: int = 1000) -> list[ListedPart]:
    found: list[ListedPart] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await store.list_parts(key, upload_id, timeout=T, cursor=cursor, limit=limit)
        found += page.parts
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("ListParts never ends")


async def every_upload(store: ObjectStore, prefix: str, limit: int = 1000) -> list[ListedUpload]:
    found: list[ListedUpload] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await store.list_uploads(prefix, timeout=T, cursor=cursor, limit=limit)
        found += page.uploads
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("ListMultipartUploads never ends")


async def begin(store: ObjectStore, key: str, **metadata: str) -> str:
    named = {name.replace("_", "-"): value for name, value in metadata.items()}
    return await store.create_multipart(key, timeout=T, metadata=named)


async def send(store: ObjectStore, key: str, upload_id: str, number: int, body: bytes) -> Part:
    etag = await store.upload_part(key, upload_id, number, body, sha256=sha256(body), timeout=T)
    return Part(number, etag, sha256(body))


async def finish(store: ObjectStore, key: str, upload_id: str, *parts: Part) -> str:
    return await store.complete_multipart(key, upload_id, parts, timeout=T)


async def make(store: ObjectStore, key: str, *bodies: bytes, **metadata: str) -> tuple[str, list[Part]]:
    """A whole multipart object; its upload id and its parts."""
    upload_id = await begin(store, key, **metadata)
    parts = [await send(store, key, upload_id, number, body) for number, body in enumerate(bodies, 1)]
    await finish(store, key, upload_id, *parts)
    return upload_id, parts


async def body_of(store: ObjectStore, key: str, block_bytes: int = 1 << 20) -> bytes:
    return b"".join([block async for block in store.read(key, timeout=T, block_bytes=block_bytes)])
