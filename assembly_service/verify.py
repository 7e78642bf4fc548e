"""C1–C4: may this session be committed with these parameters? From receipts alone, no byte of data read.

The checks are pure functions of session.json, parameters and receipts; :class:`Verifier` reads those for them, and is
the one place that a negative answer passes before it is given (protocol.md sections 3 and 5). Nothing here writes.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from assembly_service.standing import Standing, read_session_last, stand
from sealane.domain.blake3_tree import ChunkHash, object_digest
from sealane.domain.chunks import Receipt
from sealane.domain.coverage import by_index, conflicting_indexes, missing_ranges
from sealane.domain.decision import CommitParameters
from sealane.domain.errors import (
    ChunkConflict,
    ChunkOutOfRange,
    CoverageIncomplete,
    DeadlineExceeded,
    DigestMismatch,
    InvalidSize,
    PeerUnavailable,
    RetryLater,
    SealaneError,
    SessionNotFound,
)
from sealane.domain.ids import SessionId, Tenant
from sealane.domain.limits import ChunkPlan, Limits
from sealane.domain.records import SessionRecord
from sealane.domain.states import SessionState
from sealane.store.deadline import Deadline
from sealane.store.session_records import SessionRecords, Stored


class ReceiptsClient(Protocol):
    """The status call to ingest: assembly lists no receipt on the request path (protocol.md section 3)."""

    async def receipts(self, tenant: Tenant, session: SessionId, deadline: Deadline) -> list[Receipt]:
        """All receipts of a session. Raises PeerUnavailable if ingest is away, SessionNotFound if it knows none."""
        ...


class Rehearsal(Protocol):
    """What a claim of a chosen key would be answered, writing nothing (section 8)."""

    async def rehearse(
        self, tenant: Tenant, session: Stored[SessionRecord], parameters: CommitParameters, deadline: Deadline
    ) -> None:
        """Raises GenerationMismatch, InvalidObjectKey, KeyCooling."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """What VerifySession answers: a commit with these parameters would succeed, or has."""

    state: SessionState
    parameters: CommitParameters


def check_parameters(record: SessionRecord, parameters: CommitParameters, limits: Limits) -> ChunkPlan:
    """How an object of these parameters is cut. InvalidSize if it can't be; DigestMismatch if create said otherwise."""
    count, size = parameters.chunk_count, parameters.size
    if not 0 <= size <= record.chunk_size * limits.max_chunks:
        raise InvalidSize(
            f"size is {size}; with chunks of {record.chunk_size} it must be from 0 to "
            f"{record.chunk_size * limits.max_chunks}.",
            field="size",
        )
    plan = ChunkPlan(chunk_size=record.chunk_size, size=size, max_chunks=limits.max_chunks)
    if count != plan.count:
        raise InvalidSize(
            f"{size} bytes in chunks of {record.chunk_size} are {plan.count} chunks, not {count}.", field="chunk_count"
        )
    if record.size is not None and record.size != size:
        raise DigestMismatch(
            f"This session was created for an object of {record.size} bytes; {size} were declared now.",
            expected=parameters.blake3,
            expected_size=size,
            actual_size=record.size,
        )
    return plan


def check_receipts(
    receipts: Sequence[Receipt], plan: ChunkPlan, parameters: CommitParameters, limits: Limits
) -> list[list[Receipt]]:
    """C2–C4. Answers the receipts of each chunk in order: several of one chunk have the same bytes, not the same ETag.

    Raises ChunkOutOfRange, CoverageIncomplete, ChunkConflict, DigestMismatch, in this order.
    """
    count = parameters.chunk_count
    groups = by_index(receipts)
    if (highest := max(groups, default=-1)) >= count:
        if count == 0:
            raise ChunkOutOfRange(
                f"Chunk {highest} is stored, and an object without chunks was declared.",
                index=highest,
                field="chunk_index",
                value=highest,
                minimum=0,
                maximum=-1,
            )
        raise ChunkOutOfRange.of(highest, "chunk_index", highest, 0, count - 1)
    if missing := list(missing_ranges(groups, count)):
        raise CoverageIncomplete.of(missing, cap=limits.max_missing_ranges)
    for index, group in groups.items():
        for receipt in group:  # ⚠ a short chunk in the middle merges into a root that is no file's digest
            plan.check_length(index, receipt.length)
    for index in conflicting_indexes(groups):
        stored, *others = groups[index]
        sent = next(other for other in others if not stored.same_bytes(other))
        raise ChunkConflict.of(index, stored=stored.blake3, sent=sent.blake3)
    first = [group[0] for group in groups.values()]
    digest = object_digest([ChunkHash(receipt.blake3, receipt.chaining_value) for receipt in first])
    if not hmac.compare_digest(digest, parameters.blake3):
        raise DigestMismatch(
            expected=parameters.blake3, actual=digest, expected_size=parameters.size, actual_size=parameters.size
        )
    return list(groups.values())


class Verifier:
    """C1–C4 with the reads that they need."""

    def __init__(
        self,
        records: SessionRecords,
        receipts: ReceiptsClient,
        *,
        limits: Limits,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self._rehearsal = rehearsal
        self._records = records
        self._receipts = receipts
        self._limits = limits

    async def verify(
        self, tenant: Tenant, session: SessionId, parameters: CommitParameters, deadline: Deadline
    ) -> Verified:
        """What CommitSession's checks would answer, writing nothing. Raises as :meth:`CommitService.commit`."""
        found = await self._records.snapshot(tenant, session, deadline, state_only=True)
        standing = stand(found, parameters)
        if standing.state is SessionState.OPEN and found.session is not None:
            try:
                await self.check(tenant, session, standing.session, parameters, deadline)
                if self._rehearsal is not None and found.session.record.chosen_key:
                    await self._rehearsal.rehearse(tenant, found.session, parameters, deadline)
            except SealaneError as error:
                standing = await self.before_refusing(tenant, session, parameters, error, deadline)
        return Verified(standing.state, parameters)

    async def check(
        self,
        tenant: Tenant,
        session: SessionId,
        record: SessionRecord,
        parameters: CommitParameters,
        deadline: Deadline,
    ) -> list[list[Receipt]]:
        """C2–C4 of an OPEN session. An error is not an answer yet: it goes through :meth:`before_refusing`."""
        plan = check_parameters(record, parameters, self._limits)
        receipts = await self._receipts.receipts(tenant, session, deadline)
        return check_receipts(receipts, plan, parameters, self._limits)

    async def before_refusing(
        self,
        tenant: Tenant,
        session: SessionId,
        parameters: CommitParameters,
        error: SealaneError,
        deadline: Deadline,
    ) -> Standing:
        """⚠ Before any negative answer: decision.json again, present → follow it; then session.json, gone → NOT_FOUND.

        The holes may be a purge's doing, or those of a commit that was finished meanwhile. Answers what there is to
        follow; raises what the session has become; raises ``error`` only if it is still OPEN. A "not now" is no answer.
        """
        if isinstance(error, RetryLater | DeadlineExceeded):
            raise error
        standing = stand(await read_session_last(self._records, tenant, session, deadline), parameters)
        if standing.state is not SessionState.OPEN:
            return standing
        if isinstance(error, SessionNotFound):
            # session.json is there, and never comes back once it is gone: ingest looked elsewhere.
            raise PeerUnavailable.of(
                "ingest", private="it knows no such session: do both use the same bucket?"
            ) from error
        raise error
