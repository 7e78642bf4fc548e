"""A name is a key or a folder of keys, for ever: so no key of sealane's lies below another object (docs/adr/0007).

Measured on SeaweedFS 4.48: ``p`` written while ``p/q`` is loses the acknowledged ``p``; and where ``p/q`` is there
first, CompleteMultipartUpload at ``p`` is a 500 for ever, so that a decided commit could never be finished ⚠.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sealane.domain import ids
from sealane.domain.claims import Nature
from sealane.domain.errors import InvalidObjectKey
from sealane.domain.ids import Tenant
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.key_claims import KeyClaims
from sealane.store.retry import RetryingStore

_AT_ONCE = 8


class Names:
    """Number 0 of each log of claims, created once (``If-None-Match``): two writers can't disagree."""

    def __init__(self, store: RetryingStore) -> None:
        self._store = store
        self._claims = KeyClaims(store)

    async def take(self, tenant: Tenant, object_key: str, deadline: Deadline) -> None:
        """Make the name a key, and those that it lies in folders. InvalidObjectKey if one of them is the other.

        Asked before a claim of a key that holds nothing. Names don't change, so what was taken stays taken; but others
        may have written below it ⚠.
        """

        async def nature(name: str, wanted: Nature) -> Nature:
            known = await self._claims.name(tenant, name, deadline)
            if wanted is Nature.OBJECT and known is not Nature.FOLDER:
                await self._require_none_below(tenant, name, deadline)  # before the name is a key for ever
            return known or await self._claims.settle_name(tenant, name, wanted, deadline)

        await self._each(object_key, nature)

    async def check(self, tenant: Tenant, object_key: str, deadline: Deadline) -> None:
        """As :meth:`take` would answer now, writing nothing."""

        async def nature(name: str, wanted: Nature) -> Nature:
            known = await self._claims.name(tenant, name, deadline) or wanted
            if wanted is known is Nature.OBJECT:
                await self._require_none_below(tenant, name, deadline)
            return known

        await self._each(object_key, nature)

    async def _require_none_below(self, tenant: Tenant, object_key: str, deadline: Deadline) -> None:
        """InvalidObjectKey if objects lie below the key: none of them is sealane's, which knows the name for no folder.

        ⚠ A store that keeps keys in folders would never complete what is decided here. Best effort, as with any object
        of somebody else's.
        """
        below = f"{keys.chosen_object_key(tenant, object_key)}/"
        if (await self._store.list_objects(below, deadline, limit=1)).objects:
            why = "has objects below it that sealane did not write. Remove those, or take another key"
            raise _refusal(object_key, f"{_shown(object_key)} {why}")

    async def _each(self, object_key: str, nature: Callable[[str, Nature], Awaitable[Nature]]) -> None:
        folders = ids.folders(object_key)
        for start in range(0, len(folders), _AT_ONCE):
            some = folders[start : start + _AT_ONCE]
            for folder, found in zip(some, await _all([nature(name, Nature.FOLDER) for name in some]), strict=True):
                if found is not Nature.FOLDER:
                    raise _refusal(object_key, f"lies below {_shown(folder)}, which is a key: no key is a folder, too")
        if await nature(object_key, Nature.OBJECT) is not Nature.OBJECT:
            raise _refusal(object_key, f"{_shown(object_key)} is a folder of other keys: it can't be a key, too")


async def _all(works: list[Awaitable[Nature]]) -> list[Nature]:
    answers = await asyncio.gather(*works, return_exceptions=True)  # none is left running behind us
    natures: list[Nature] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        natures.append(answer)
    return natures


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:99] + "…")


def _refusal(object_key: str, why: str) -> InvalidObjectKey:
    return InvalidObjectKey(f"object_key {why}.", field="object_key", private=object_key)
