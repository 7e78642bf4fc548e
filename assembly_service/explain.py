"""ExplainSession: a session's history as the store remembers it, in order of the store's times. Reads only.

The times are the store's Last-Modified, whole seconds: what shares a second is told in the protocol's order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

from assembly_service.claims import Claims
from assembly_service.confirmed import upload_exists
from assembly_service.explain_receipts import Event, tell
from assembly_service.retention import Retention
from assembly_service.verify import ReceiptsClient
from sealane.domain.claims import may_be_own
from sealane.domain.decision import Decision, Outcome
from sealane.domain.errors import DeadlineExceeded, InternalError, RetryLater, SessionNotFound
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.records import DoneRecord, LostRecord, MultipartRecord, SessionRecord
from sealane.domain.states import SessionState
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.store.key_claims import KeyClaims
from sealane.store.port import NoSuchKey
from sealane.store.retry import RetryingStore
from sealane.store.session_records import SessionRecords, Snapshot, Stored

MAX_CLAIMS = 64
"""Bodies of claims that are read to find an undecided session's own."""


class Explainer:
    """Tells histories."""

    def __init__(
        self,
        store: RetryingStore,
        records: SessionRecords,
        receipts: ReceiptsClient,
        *,
        claims: Claims,
        retention: Retention,
    ) -> None:
        self._store = store
        self._records = records
        self._receipts = receipts
        self._claims = claims
        self._key_claims = KeyClaims(store)
        self._retention = retention

    async def explain(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Event]:
        """What happened, in order; last what comes next. SessionNotFound, BadRecord, the port's errors.

        Ingest may be away: the receipts are then missing, and the history says so.
        """
        found = await self._records.snapshot(tenant, session, deadline)
        if found.session is None:
            raise SessionNotFound
        record = found.session.record
        events = [_created(found.session)]
        multipart = await self._records.multipart(tenant, session, deadline)
        if multipart is not None:
            text = "The multipart upload was started: the first chunk was on its way."
            events.append(Event("upload_started", text, multipart.last_modified))
            if found.records.state is SessionState.OPEN and await self._upload_is_gone(
                tenant, record, multipart, deadline
            ):
                text = (
                    "The store does not have that upload any more: what had arrived is lost. Upload in a new session."
                )
                events.append(Event("upload_missing", text))
        receipts = [event async for event in self._chunks(tenant, session, deadline)]
        events += receipts
        events += [event async for event in self._claim(tenant, found, deadline)]
        events += _outcome(found)
        events += [event async for event in self._object(tenant, found, deadline)]
        if await self._records.session(tenant, session, deadline) is None:
            raise SessionNotFound  # purged meanwhile: what was read is no history
        # Stable: what shares a second stays in the protocol's order; what has no time stays behind its predecessor.
        times, latest = [], found.session.last_modified
        for event in events:
            latest = event.time or latest
            times.append(latest)
        order = sorted(range(len(events)), key=lambda position: times[position])
        history = [events[position] for position in order]
        later = next((event for event in events if event.event == "replaced"), None)
        if later is not None and later.time is not None and found.deleted is None:
            text = "A later generation has the key: the records of this one go."
            return [*history, self._next(found, text, later.time + self._retention.outcome)]
        has_receipts = any(event.event.startswith("chunks") for event in receipts)
        return [*history, self._next(found, *self._coming(record, found, has_receipts=has_receipts))]

    async def _upload_is_gone(
        self, tenant: Tenant, record: SessionRecord, multipart: Stored[MultipartRecord], deadline: Deadline
    ) -> bool:
        """Of an open session: it goes behind a decision, so that is looked for once more."""
        if await upload_exists(self._store, record.key, multipart.record.upload_id, deadline):
            return False
        return await self._records.decision(tenant, SessionId(record.session_id), deadline) is None

    async def _chunks(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> AsyncIterator[Event]:
        try:
            receipts = await self._receipts.receipts(tenant, session, deadline)
        except SessionNotFound:
            return  # the last look at session.json says whether that is so
        except (RetryLater, DeadlineExceeded):
            yield Event(
                "receipts_unavailable", "Ingest does not answer now, so the receipts of the chunks are not told."
            )
            return
        except InternalError:
            text = "Ingest can't read the receipts of this session: one of them is forged or torn (see its log)."
            yield Event("receipts_unreadable", text)
            return
        for event in tell(receipts):
            yield event

    async def _claim(self, tenant: Tenant, found: Snapshot, deadline: Deadline) -> AsyncIterator[Event]:
        """At a chosen key: this session's own claim, and the generation that came after it."""
        assert found.session is not None
        record, key = found.session.record, found.session.record.chosen_key
        if not key:
            return
        decision = found.decision.record if found.decision else None
        own = decision.generation if decision is not None else 0
        log = await self._claims.log(tenant, key, deadline)
        for listed in reversed(log.claims[-MAX_CLAIMS:] if not own else log.claims):
            if own and listed.number != own:
                continue
            if not own and not may_be_own(listed.written, found.session.last_modified):
                break
            stored = await self._key_claims.claim(tenant, key, listed.number, deadline)
            if stored is not None and stored.record.session_id == record.session_id:
                text = f"Generation {listed.number} of {key!r} was claimed."
                yield Event("claimed", text, listed.written, {"generation": str(listed.number), "object_key": key})
                break
        done = found.done.record if found.done else None
        if isinstance(done, DoneRecord):
            later = await self._claims.replaced(tenant, key, done.generation, deadline)
            if later is not None:
                what = "deleted the object" if later.record.tombstone else "replaced the object"
                text = f"Generation {later.record.generation}, of session {later.record.session_id}, {what}."
                fields = {"generation": str(later.record.generation), "session_id": later.record.session_id}
                yield Event("replaced", text, later.last_modified, fields)

    async def _object(self, tenant: Tenant, found: Snapshot, deadline: Deadline) -> AsyncIterator[Event]:
        assert found.session is not None
        record = found.session.record
        done = found.done.record if found.done else None
        try:
            head = await self._store.head(record.key, deadline)
        except NoSuchKey:
            missing = isinstance(done, DoneRecord) and not done.tombstone and found.deleted is None
            text = "There is no object at the session's key" + (
                ", and there should be: run an audit." if missing else "."
            )
            yield Event("object", text, None, {"key": record.key, "present": "false"})
            return
        ours = head.metadata.get(keys.TOKEN_METADATA) == record.token and not record.tombstone
        whose = "this session's own" if ours else "another's"
        fields = {
            "key": record.key,
            "present": "true",
            "ours": str(ours).lower(),
            "size": str(head.size),
            "etag": head.etag,
            "content_type": head.content_type,
        }
        yield Event("object", f"The object at the key is {whose}, with {head.size} bytes.", head.last_modified, fields)

    def _next(self, found: Snapshot, text: str, due: datetime | None) -> Event:
        """What comes, and from when on; by the store's clock, which is also told."""
        state = found.records.state or SessionState.OPEN
        fields = {"state": state.value, "store_time": self._store.now().replace(microsecond=0).isoformat()}
        return Event("next", text, due, fields)

    def _coming(self, record: SessionRecord, found: Snapshot, *, has_receipts: bool) -> tuple[str, datetime | None]:
        assert found.session is not None
        patience = timedelta(seconds=record.ttl) + self._retention.grace
        since = (found.done or found.decision or found.session).last_modified
        match found.records.state:
            case SessionState.OPEN:
                return "The sweeper expires the session, unless it is committed before.", since + patience
            case SessionState.COMMITTING:
                text = "Any commit call, or a sweeper, finishes it; if a chunk must be mended and is not, it is LOST."
                return text, since + patience
            case SessionState.COMMITTED if record.tombstone:
                return "The key may be used again an hour after the deletion; this record stays.", None
            case SessionState.COMMITTED if has_receipts:
                return "The object stays; the sweeper removes the receipts.", since + self._retention.receipts
            case SessionState.COMMITTED:
                return "The object stays until it is deleted or replaced.", None
            case SessionState.DELETED:
                return "A sweeper removes what is left, now.", None
            case _:
                text = "Parts and receipts go at once; then nobody can ask for the outcome any more."
                return text, since + self._retention.outcome


def _created(session: Stored[SessionRecord]) -> Event:
    record = session.record
    fields = {
        "key": record.key,
        "filename": record.filename,
        "chunk_size": str(record.chunk_size),
        "size": "unknown" if record.size is None else str(record.size),
        "ttl": str(record.ttl),
        "content_type": record.content_type,
        "owner": record.owner,
    }
    if record.chosen_key and record.precondition is not None:
        wanted = record.precondition.if_generation_match
        fields |= {"object_key": record.chosen_key, "if_generation_match": "any" if wanted is None else str(wanted)}
    if record.tombstone:
        text = f"A tombstone was made, to delete generation {record.tombstone} of {record.chosen_key!r}."
        return Event("created", text, session.last_modified, fields | {"tombstone": str(record.tombstone)})
    size = "an object of unknown size" if record.size is None else f"{record.size} bytes"
    at = f", to be at {record.chosen_key!r}" if record.chosen_key else ""
    text = f"Created for {record.filename!r}{at}: {size} in chunks of {record.chunk_size}, ttl {record.ttl} s."
    return Event("created", text, session.last_modified, fields)


def _outcome(found: Snapshot) -> Iterator[Event]:
    if found.decision is not None:
        yield _decided(found.decision)
    if found.done is not None:
        done = found.done.record
        if isinstance(done, LostRecord):
            yield Event("lost", f"The commit was lost: {done.why}.", found.done.last_modified, {"why": done.why})
        else:
            fields = {"etag": done.etag, "size": str(done.size), "blake3": done.blake3.hex()}
            if done.generation:
                fields["generation"] = str(done.generation)
            text = "The deletion was done." if done.tombstone else f"Committed: {done.size} bytes, durable."
            yield Event("committed", text, found.done.last_modified, fields)
    if found.deleted is not None:
        text = "Deleted: by request, or because a later generation replaced it."
        yield Event("deleted", text, found.deleted.last_modified)


def _held_by(decision: Decision) -> str:
    answer = decision.answer
    return "" if answer is None else f", as generation {answer.generation}, of session {answer.session_id}"


def _decided(stored: Stored[Decision]) -> Event:
    decision = stored.record
    fields = {"outcome": decision.outcome.value}
    if decision.parameters is not None:
        parameters = decision.parameters
        fields |= {
            "chunk_count": str(parameters.chunk_count),
            "size": str(parameters.size),
            "blake3": parameters.blake3.hex(),
        }
    if decision.generation:
        fields["generation"] = str(decision.generation)
    if decision.answer is not None:
        fields |= {
            "duplicate_of": decision.answer.session_id,
            "duplicate_generation": str(decision.answer.generation),
        }
    text = {
        Outcome.COMMIT: "Decided: COMMIT. From here on nothing can stop it.",
        Outcome.ABORT: "Decided: ABORT, by a caller.",
        Outcome.EXPIRE: "Decided: EXPIRE, by the sweeper: older than ttl and grace.",
        Outcome.DUPLICATE: f"Decided: DUPLICATE. The key held the same bytes already{_held_by(decision)}.",
    }[decision.outcome]
    return Event("decided", text, stored.last_modified, fields)
