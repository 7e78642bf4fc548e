"""VerifyObject: the proof at rest. Reads the committed object back, hashes it, and compares with done.json."""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from blake3 import blake3

from assembly_service.claims import Claims
from assembly_service.events import Events
from assembly_service.standing import read_session_last
from sealane.domain.claims import Standing
from sealane.domain.decision import refusal
from sealane.domain.errors import GenerationMismatch, ObjectCorrupt, SessionLost, SessionNotCommitted, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.store.deadline import Deadline
from sealane.store.port import NoSuchKey
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords

_STEPS = 100
"""Progress is told about so many times, and at every block of a small object."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``blake3`` only in the last one: everything was read, and is as committed."""

    bytes_read: int
    size: int
    blake3: bytes | None = None


class ObjectVerifier:
    """Reads objects, one block in memory at a time. The hash is computed inline: 0.1 ms a MiB."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        *,
        claims: Claims,
        events: Events,
        block_bytes: int = 1 << 20,
    ) -> None:
        self._claims = claims
        self._store = store
        self._records = records
        self._events = events
        self._block_bytes = block_bytes

    async def verify(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> AsyncGenerator[Progress, None]:
        """Progress, the last one with the digest.

        Raises SessionNotFound; SessionNotCommitted; SessionLost (the commit was, or its object is not there);
        ObjectCorrupt; the last two of them alarmed. GenerationMismatch naming the holder: a later generation has
        replaced the object, so that nothing at the key can prove it any more.
        """
        record, done = await self._committed(tenant, session, deadline)
        await self._require_not_replaced(tenant, record, done, deadline, by_done=True)
        yield Progress(0, done.size)
        digest = blake3()
        bytes_read = told = 0
        blocks = self._store.read(record.key, deadline, block_bytes=self._block_bytes)
        try:
            async for block in blocks:
                digest.update(block)
                bytes_read += len(block)
                if bytes_read > done.size:
                    break
                if bytes_read - told >= done.size // _STEPS:
                    told = bytes_read
                    yield Progress(bytes_read, done.size)
        except NoSuchKey as error:
            await self._committed(tenant, session, deadline)  # deleted by request meanwhile: NOT_FOUND
            await self._require_not_replaced(tenant, record, done, deadline)
            self._events.alarm("a committed object is not there", tenant=tenant, session_id=session)
            raise SessionLost(
                "The committed object is not in the store any more.", private=f"no object at {record.key}"
            ) from error
        finally:
            if isinstance(blocks, AsyncGenerator):
                await blocks.aclose()  # lets go of the connection now, not when the garbage is collected
        actual = digest.digest()
        if bytes_read != done.size or not hmac.compare_digest(actual, done.blake3):
            await self._require_not_replaced(tenant, record, done, deadline)  # meanwhile: these are a later one's
            self._events.alarm("a committed object has other bytes", tenant=tenant, session_id=session)
            raise ObjectCorrupt(
                "The object's bytes at rest are not those that were committed.",
                expected=done.blake3,
                actual=actual,
                expected_size=done.size,
                actual_size=bytes_read,
            )
        yield Progress(bytes_read, done.size, actual)

    async def _require_not_replaced(
        self, tenant: Tenant, record: SessionRecord, done: DoneRecord, deadline: Deadline, *, by_done: bool = False
    ) -> None:
        """At a chosen key: GenerationMismatch once a later generation is decided, whose object may come any moment.

        ``by_done``: only once one is done. One that waits for its client to mend a chunk leaves this object where it
        is, and it can be proved.
        """
        if not record.chosen_key:
            return
        key = record.chosen_key
        log = await self._claims.log(tenant, key, deadline)
        newest = await self._claims.newest(tenant, key, log, deadline, undecided=False)
        if newest is None or newest.generation <= done.generation:
            return
        is_done = newest.standing is Standing.DONE
        if by_done and not is_done and await self._claims.replaced(tenant, key, done.generation, deadline) is None:
            return
        holder = newest.holder(key)
        verb = "has replaced" if is_done else "is replacing"
        message = f"Generation {holder.generation} {verb} this object, which was generation {done.generation}."
        raise GenerationMismatch(message, holder=None if newest.tombstone else holder)

    async def _committed(
        self, tenant: Tenant, session: SessionId, deadline: Deadline
    ) -> tuple[SessionRecord, DoneRecord]:
        found = await read_session_last(self._records, tenant, session, deadline)
        state = found.records.state
        if found.session is None or state in (None, SessionState.DELETED) or found.session.record.tombstone:
            raise SessionNotFound
        if state is SessionState.LOST:
            raise refusal(state)
        if state is not SessionState.COMMITTED or found.done is None or not isinstance(found.done.record, DoneRecord):
            raise SessionNotCommitted(state=state)
        return found.session.record, found.done.record
