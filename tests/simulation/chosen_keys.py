"""I16: generations of a chosen key appear in order, each at most once; nothing is lost, and nothing applied twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.domain.claims import ClaimRecord
from sealane.store import keys

if TYPE_CHECKING:
    from tests.simulation.facts import SessionFacts
    from tests.simulation.steps import StoreSteps


class ChosenKeys:
    """What the model knows of keys that callers chose."""

    def __init__(self, model: StoreSteps) -> None:
        self._model = model
        self.claims: dict[str, dict[int, str]] = {}
        """Log -> number -> session."""
        self.finished: dict[str, list[SessionFacts]] = {}
        """Chosen key -> who has been its generation, in the order in which they were done; tombstones, too."""

    def claimed(self, key: str, body: bytes, *, new: bool) -> None:
        """A claim was written."""
        found = keys.parse_claim_key(key)
        assert found is not None
        if not new or found.number == 0:
            return
        log = self.claims.setdefault(found.log, {})
        session = ClaimRecord.parse(body).session_id
        if found.number != max(log, default=0) + 1:
            self._model.violate("I16", f"claim {found.number} was written after claim {max(log, default=0)}")
        if session in log.values():
            self._model.violate("I16", f"{session} has claimed twice")
        log[found.number] = session

    def decided(self, facts: SessionFacts) -> None:
        """COMMIT at a chosen key: of the generation that the session has claimed."""
        log = self.claims.get(_log(self._model, facts), {})
        if log.get(facts.generation) != facts.id:
            self._model.violate(
                "I16", f"{facts.id} is decided as generation {facts.generation}, and has not claimed it"
            )

    def appears(self, facts: SessionFacts) -> None:
        """Its object is visible now."""
        for other in self.finished.get(facts.record.chosen_key, []):
            if other.generation >= facts.generation:
                self._model.violate("I16", f"generation {facts.generation} appears after {other.generation} was done")

    def done(self, facts: SessionFacts) -> None:
        """It has a done.json: everything before it is finished, and what it replaced is what it asked for."""
        before = self.finished.setdefault(facts.record.chosen_key, [])
        for other in self._model.sessions.values():
            undone = other.alive and other.decision is not None and other.done is None and not other.undone
            if other.record.key == facts.record.key and undone and 0 < other.generation < facts.generation:
                self._model.violate("I16", f"generation {facts.generation} is done before {other.generation}")
        if before and before[-1].generation >= facts.generation:
            self._model.violate("I16", f"generation {facts.generation} is done after {before[-1].generation}")
        holder = 0 if not before or before[-1].record.tombstone else before[-1].generation
        wanted = facts.record.precondition.if_generation_match if facts.record.precondition else None
        if wanted is not None and wanted != holder:
            self._model.violate(
                "I16", f"generation {facts.generation} replaced {holder}, and was to replace {wanted} only"
            )
        if facts.record.tombstone and self._owner(facts) is not None:
            self._model.violate("I16", f"tombstone {facts.generation} is done, and an object is there")
        before.append(facts)

    def will_delete(self, owner: SessionFacts) -> None:
        """The object of ``owner`` goes: only a tombstone for it may do that."""
        for facts in self._model.sessions.values():
            meant = facts.record.tombstone and facts.record.chosen_key == owner.record.chosen_key
            if meant and facts.alive and facts.generation and facts.record.tombstone == owner.generation:
                return
        self._model.violate("I16", f"the object of generation {owner.generation} is deleted by no tombstone of its own")

    def replaced(self, facts: SessionFacts) -> bool:
        """Whether a later generation is done."""
        return any(o.generation > facts.generation for o in self.finished.get(facts.record.chosen_key, []))

    def holder(self, chosen_key: str) -> SessionFacts | None:
        """Whose object lies there in the end; None if the key is vacant."""
        done = self.finished.get(chosen_key, [])
        return None if not done or done[-1].record.tombstone else done[-1]

    def _owner(self, facts: SessionFacts) -> SessionFacts | None:
        return self._model.owner_of(facts.record.key)


def _log(model: StoreSteps, facts: SessionFacts) -> str:
    found = keys.parse_claim_key(keys.claim(model.tenant, facts.record.chosen_key, 1))
    assert found is not None
    return found.log
