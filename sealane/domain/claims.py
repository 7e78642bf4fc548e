"""A key that callers choose is a log of claims: the rules that say who holds it (protocol.md section 8). Pure.

Claim *n* of a key says which session wants to be its generation *n*, and what that session's decision would be. It is
created once (``If-None-Match``), never changed and never deleted; so numbers are taken in order, each by one session,
and a claimant who stalls for a year finds its number taken. What became of a claim is what became of its session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from sealane.domain.decision import Decision, Outcome, Records
from sealane.domain.precondition import ANY as ANY
from sealane.domain.precondition import VACANT as VACANT
from sealane.domain.precondition import Precondition as Precondition
from sealane.domain.record_fields import Fields, encode, versioned
from sealane.domain.states import SessionState

COOLING = timedelta(hours=1)
"""After a delete at a chosen key: a stalled DELETE, signed before, is refused by every store once it is older (R6)."""
OWN_CLAIM_MARGIN = timedelta(hours=1)
"""Claims this much older than a session are not its own; clocks of the store's servers may differ by less."""


class Nature(StrEnum):
    """What a name is, for ever: no store is asked to keep ``p`` and ``p/q`` apart (docs/adr/0007)."""

    OBJECT = "OBJECT"
    FOLDER = "FOLDER"


@dataclass(frozen=True, slots=True)
class NameRecord:
    """Number 0 of a log: whether the name is a key, or a folder of keys. Written before the first claim."""

    name: str
    nature: Nature

    def encode(self) -> bytes:
        return encode("name", {"name": self.name, "nature": self.nature.value})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("name", body)
        try:
            nature = Nature(f.text("nature"))
        except ValueError as error:
            raise f.bad("nature") from error
        return cls(f.text("name"), nature)


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """claims/…/{generation}.json: ``decision`` is what the session proposes, and what a helper writes for it."""

    object_key: str
    decision: Decision

    @property
    def generation(self) -> int:
        return self.decision.generation

    @property
    def session_id(self) -> str:
        return self.decision.session_id

    def encode(self) -> bytes:
        decision = versioned("decision", self.decision.values())
        return encode("claim", {"object_key": self.object_key, "decision": decision})

    @classmethod
    def parse(cls, body: bytes) -> Self:
        f = Fields("claim", body)
        decision = Decision.parse(f.record("decision"))
        if decision.outcome is not Outcome.COMMIT or not decision.generation:
            raise f.bad("decision")
        return cls(f.text("object_key"), decision)


class Standing(StrEnum):
    """What a claim has come to."""

    VOID = "VOID"
    """It will never be a generation: aborted, expired, a duplicate, lost, or its session is gone."""
    UNDECIDED = "UNDECIDED"
    """Its session is OPEN: whoever wants to know writes the decision that it proposes, and obeys what is there."""
    UNDONE = "UNDONE"
    """Decided, not finished: whoever wants the key finishes it first, for generations reach the key in order."""
    DONE = "DONE"


def standing_of(records: Records) -> Standing:
    """What a claim is worth, by its session's records, session.json read last ⚠.

    A session whose object was deleted (or replaced, and purged) holds nothing; a later claim does.
    """
    match records.state:
        case SessionState.OPEN:
            return Standing.UNDECIDED
        case SessionState.COMMITTING:
            return Standing.UNDONE
        case SessionState.COMMITTED:
            return Standing.DONE
        case _:
            return Standing.VOID


def next_number(numbers: Iterable[int]) -> int:
    """Highest existing + 1, void or not ⚠: a number that was taken once is nobody else's, ever."""
    return max(numbers, default=0) + 1


def may_be_own(claim_written: datetime, session_created: datetime) -> bool:
    """False for claims that can't be this session's: their bodies need not be read to find its own."""
    return claim_written > session_created - OWN_CLAIM_MARGIN


def cooling_until(tombstone_done: datetime) -> datetime:
    """The store's time from which a key whose object was deleted may be claimed again. ``tombstone_done``:
    Last-Modified of the tombstone's done.json."""
    return tombstone_done + COOLING


class Verdict(StrEnum):
    """What a claimant does, given the holder."""

    CLAIM = "CLAIM"
    DUPLICATE = "DUPLICATE"
    MISMATCH = "MISMATCH"


def verdict(precondition: Precondition, generation: int, *, same_bytes: bool, same_description: bool) -> Verdict:
    """Section 8, step 4. ``generation``: the holder's, 0 if the key is vacant.

    The same bytes are a success whatever the precondition says; but a caller who may replace the holder, and describes
    the bytes in another way (content type, metadata), replaces it.
    """
    holds = precondition.holds(generation)
    if generation and same_bytes and (same_description or not holds):
        return Verdict.DUPLICATE
    return Verdict.CLAIM if holds else Verdict.MISMATCH
