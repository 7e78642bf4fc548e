"""Every rule that the model can express, removed in turn: some invariant must break, or the rule is not needed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.checker import Verdict
from tests.model.instance import Instance
from tests.model.key_instances import KEY
from tests.model.own_instances import OWN

INSTANCES: dict[str, Instance] = {instance.name: instance for instance in (*OWN, *KEY)}


@dataclass(frozen=True)
class Mutation:
    """``rule`` (of section ``where``) is removed from ``instance``; ``breaks`` names the invariant that must fail."""

    where: str
    rule: str
    instance: str
    breaks: str
    losses: int = 0
    also: str = ""
    """A second rule that backs this one, and goes with it."""

    def run(self) -> Verdict:
        without = frozenset({self.rule, self.also} - {""})
        return INSTANCES[self.instance].run(losses=self.losses, without=without)


_BACKED = "C1: session.json again behind done.json"
_LOG = "LIST the claims again before an answer"

RULES: tuple[Mutation, ...] = (
    Mutation("3", "session.json is written first", "create ‖ sweep", "I5"),
    Mutation("3", "a decision counts only before session.json", "commit ‖ late chunk", "I2"),
    Mutation("3", "a decision counts only before session.json", "open ‖ sweep", "I2"),
    Mutation("3", "abort: session.json again", "delete ‖ commit ‖ abort", "I8"),
    Mutation("3", "roll-forward: session.json after the decision", "commit ‖ late chunk ‖ expire", "I2"),
    Mutation("3", "before a negative answer: decision.json, session.json", "commit ‖ abort", "I5"),
    Mutation("3", "before a negative answer: decision.json, session.json", "delete ‖ delete ‖ sweep", "I16", also=_LOG),
    Mutation("4", "create: a fresh id after an unknown outcome", "create ‖ sweep", "I9", losses=1),
    Mutation("4", "no decision is never believed at the start of a stream", "overwritten part, mended", "I3"),
    Mutation("4", "a decision's own chunks are accepted", "overwritten part, mended", "I3"),
    Mutation(
        "4",
        "multipart.json: abort your own only when it was read",
        "multipart.json race ‖ commit",
        "I5",
        losses=1,
    ),
    Mutation("4", "step 7: decision.json, then session.json, before OK", "create ‖ sweep", "I5"),
    Mutation("4", "step 7: in this order", "create ‖ sweep", "I5"),
    Mutation("5", "C1: session, deleted, done, decision", "delete ‖ commit retry", "I9", also=_BACKED),
    Mutation("5", _BACKED, "delete ‖ commit retry", "I9"),
    Mutation("5", "C8: no tags, no copies", "commit ‖ commit ‖ replace", "I16"),
    Mutation("6", "LOST: ListParts must agree", "NoSuchUpload of a living upload", "I3"),
    Mutation("6", "LOST: gone, then HEAD", "NoSuchUpload of a living upload", "I8"),
    Mutation("6", "LOST: done.json first", "delete ‖ commit", "I8"),
    Mutation("6", "LOST: then session.json", "delete ‖ commit", "I8"),
    Mutation("6", "InvalidPart: the same bytes under another ETag", "part with another ETag", "I3"),
    Mutation("6", "give up: abort until gone", "overwritten part, mended", "I8"),
    Mutation("6", "give up: then HEAD", "overwritten part, mended", "I8"),
    Mutation("6", "give up: the clock is read before CMU", "overwritten part, mended", "I3"),
    Mutation("6", "give up: only if a part differs", "NoSuchUpload of a living upload", "I3"),
    Mutation("7", "each step is confirmed before the next", "commit ‖ abort", "I11", losses=1),
    Mutation("7", "I11: the decision is deleted last", "create ‖ sweep", "I11"),
    Mutation("7", "W2: session.json before done.json", "overwritten part, mended", "I10"),
    Mutation("7", "W4: never abort a COMMIT", "commit ‖ abort", "I10"),
    Mutation("7", "W5: this order", "delete ‖ commit", "I10"),
    Mutation("7", "W5: session.json before done.json", "delete ‖ commit", "I7"),
    Mutation("7", "W6: any record without a session.json is deleted", "create ‖ sweep", "I9"),
    Mutation("7", "W6: an absent multipart.json proves nothing", "create ‖ sweep", "I5"),
    Mutation("7", "W6: an absent multipart.json proves nothing", "open ‖ sweep", "I5"),
    Mutation("7", "W6: list the uploads first, then the sessions", "open ‖ sweep", "I5"),
    Mutation("7", "W7: a later generation is done", "replace ‖ replace", "I8"),
    Mutation("7", "W7: and not LOST", "generations ‖ sweep", "I16"),
    Mutation("7", "delete: roll a COMMIT forward first", "delete ‖ commit", "I9"),
    Mutation("7", "delete: the object goes before the answer", "delete ‖ commit", "I9"),
    Mutation("7", "a deletion at a chosen key is a tombstone", "delete ‖ delete ‖ replace", "I16"),
    Mutation("7", "sign the DELETE before HEAD", "delete ‖ create ‖ delete", "I16"),
    Mutation("7", "a foreign token is not deleted", "delete ‖ create ‖ delete", "I16"),
    Mutation("7", "HEAD 404 before done.json of a tombstone", "delete ‖ delete ‖ replace", "I9", losses=1),
    Mutation("7", "wait until a tombstone has cooled", "delete ‖ create ‖ delete", "I16"),
    Mutation("8", "a session never claims twice", "commit ‖ commit ‖ replace", "I16"),
    Mutation("8", "void: the decision is not COMMIT", "commit ‖ expire ‖ create", "I16"),
    Mutation("8", "void: session.json is gone", "commit ‖ expire ‖ create", "I16"),
    Mutation("8", "void: done.json says LOST", "the store loses uploads", "I16"),
    Mutation("8", "help the undecided", "delete ‖ commit ‖ create", "I16"),
    Mutation("8", "roll the holder forward first", "delete ‖ commit ‖ create", "I16"),
    Mutation("8", "identical bytes are decided DUPLICATE", "identical bytes", "I6"),
    Mutation("8", _LOG, "replace ‖ replace, if generation 1", "I16"),
    Mutation("8", "claim the highest number + 1", "commit ‖ expire ‖ create", "I16"),
)

STORE: tuple[Mutation, ...] = (
    Mutation("2", "R2", "commit ‖ abort", "I1"),
    Mutation("2", "R3", "overwritten part, mended", "I4"),
    Mutation("2", "R5", "delete ‖ commit", "I9"),
    Mutation("2", "R6", "delete ‖ create ‖ delete", "I16"),
)
"""What the store must give, taken away. R1 and R4 are how the model reads at all: it has no store without them."""

NOT_EXPRESSED: tuple[tuple[str, str], ...] = (
    ("3: chosen keys are never under by-session/", "names of keys; tests/unit/test_ids.py, test_keys.py"),
    ("3: callers' metadata may not begin with sealane-", "forged tokens: input, checked where it comes in"),
    (
        "8: names (number 0 of a log): a key or a folder, for ever",
        "names of keys; tests/service/assembly/test_assembly_key_names.py",
    ),
    ("8: a record has a generation exactly where its key was chosen", "forged records; tests/unit, tests/hostile"),
    ("4: only the frame that carries the digest ends a chunk", "gRPC streams; tests/service/ingest"),
    ("5, C2: lengths of all chunks but the last", "merging of chaining values; tests/unit/test_verify.py"),
)
"""⚠ rules that are not about the order of calls to the store, and where they are tested instead."""
