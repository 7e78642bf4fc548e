"""GetKey: who holds a key that callers chose, true when it was read (protocol.md section 8). Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from assembly_service.claims import Claim, Claims, cooling_of, foreign_holder, is_of, with_object
from assembly_service.names import Names
from sealane.domain.claims import Standing
from sealane.domain.errors import OutcomeUnknown
from sealane.domain.ids import Tenant
from sealane.domain.states import SessionState
from sealane.domain.views import KeyHolder
from sealane.store.deadline import Deadline
from sealane.store.retry import RetryingStore

_LOOKS = 16


@dataclass(frozen=True, slots=True)
class KeyState:
    """``generation`` is what ``if_generation_match`` must say: the holder's, or 0 if the key is vacant."""

    holder: KeyHolder | None = None
    generation: int = 0
    cooling_until: datetime | None = None
    """Of a vacant key whose object was deleted less than an hour ago."""


class KeyReader:
    """Reads keys."""

    def __init__(self, store: RetryingStore, *, claims: Claims, names: Names) -> None:
        self._store = store
        self._claims = claims
        self._names = names

    async def key(self, tenant: Tenant, object_key: str, deadline: Deadline) -> KeyState:
        """The holder: of a decided session, or foreign. InvalidObjectKey if the name can't be a key (docs/adr/0007).

        A claim that nobody has decided yet holds nothing: its object can't be there. A deletion that is decided and
        not finished leaves the key to its target, as DELETED, for as long as that one's object is there.
        """
        for _ in range(_LOOKS):
            log = await self._claims.log(tenant, object_key, deadline)
            if not log.claims:
                await self._names.check(tenant, object_key, deadline)
            claim = await self._claims.newest(tenant, object_key, log, deadline, undecided=False)
            head = await self._claims.object(tenant, object_key, deadline)
            present = with_object(claim)
            settled = claim is None or claim.standing is Standing.DONE
            foreign = settled and head is not None and not is_of(head, present)
            newest = await self._claims.newest(tenant, object_key, log, deadline) if foreign else claim
            if await self._claims.moved(tenant, object_key, log, deadline):
                continue
            # A tombstone has its target's token: what shows that behind it was put there by somebody (a backup, say).
            if foreign and newest is not None and not newest.tombstone and is_of(head, newest):
                continue  # decided meanwhile, and there already
            generation = present.generation if present else 0
            if foreign and head is not None:
                return KeyState(foreign_holder(object_key, generation, head), generation)
            if present is not None:
                return KeyState(present.holder(object_key), generation)
            if claim is not None and not settled and is_of(head, claim):
                target = await self._target(tenant, object_key, claim, deadline)
                if target is None:
                    continue
                return KeyState(replace(target.holder(object_key), state=SessionState.DELETED), target.generation)
            return KeyState(cooling_until=cooling_of(claim, self._store.now()))
        raise OutcomeUnknown(private=f"claims of {object_key!r} grow faster than they can be read")

    async def _target(self, tenant: Tenant, object_key: str, tombstone: Claim, deadline: Deadline) -> Claim | None:
        """The claim whose object ``tombstone`` is to delete, and has not yet: while that is there the key is not
        vacant, and who removes by key must be told what there is to remove. None if it is done meanwhile."""
        assert tombstone.session is not None
        target = await self._claims.claim(tenant, object_key, tombstone.session.tombstone, deadline)
        return target if target.standing is Standing.DONE else None
