"""Two and three sessions at one chosen key, with helpers, sweepers and deletions.

The last session of each instance is nobody's: from every state, it must still be able to take the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.model.checker import Model, shown
from tests.model.instance import Instance
from tests.model.key_commit import Committer
from tests.model.key_finish import KeyProgram
from tests.model.key_properties import invariants, settled
from tests.model.key_store import ANY, COMMIT, DONE, Key, Session, Spec, World, initial
from tests.model.key_sweep import DUTIES, Sweeper, clock

Make = Callable[[World], KeyProgram]
PROPERTIES = "I1 I2 I3 I6 I7 I8 I9 I10 I16"

OPEN = Session()
COMMITTED = Session(upload=False, decision=COMMIT, done=DONE)
TOMBSTONE = Session(upload=False, multipart=False)
NOT_YET = Session(session=False, upload=False, multipart=False)
FRESH = (Spec(precondition=ANY), OPEN)
CREATE, REPLACE, REPLACE_1 = Spec(0), Spec(ANY), Spec(1)


def delete(target: int) -> Spec:
    return Spec(tombstone=target)


def commit(i: int, which: str = "", *, opens: bool = False) -> Make:
    """``commit 1b``: the second replica that commits session 1."""
    return lambda world: Committer(world, f"commit {i}{which}", i, opens=opens)


def sweep(*sessions: int, duties: frozenset[str] = DUTIES, name: str = "sweep") -> Make:
    return lambda world: Sweeper(world, name, sessions, duties)


def _model(
    sessions: Sequence[tuple[Spec, Session]],
    held: Sequence[int],
    actors: Sequence[Make],
    lossy: bool,
    without: frozenset[str],
    losses: int,
) -> Model[Key]:
    specs = tuple(spec for spec, _ in (*sessions, FRESH))
    records = [session for _, session in (*sessions, FRESH)]
    store = initial(*records)
    if held:
        numbers = tuple(held.index(i) + 1 if i in held else 0 for i in range(len(records)))
        decided = tuple(COMMIT if i in held else "" for i in range(len(records)))
        store = store._replace(
            claims=tuple(held), applied=tuple(held), holds=held[-1], generations=numbers, decided=decided
        )
    world, recovering = World(specs, without, losses, held=bool(held), lossy=lossy), World(specs, without)
    fresh = len(specs) - 1
    return Model(
        initial=store,
        actors=[*(make(world).actor() for make in actors), clock(world)],
        violated=invariants(world),
        recovery=[
            Sweeper(recovering, "fresh sweep", tuple(range(len(specs))), DUTIES - {"W1"}).actor(),
            Committer(recovering, "fresh commit", fresh).actor(),
            clock(recovering, alone=True),
        ],
        settled=settled(world, fresh),
        show=shown,
    )


def _instance(
    name: str,
    says: str,
    sessions: Sequence[tuple[Spec, Session]],
    *actors: Make,
    held: Sequence[int] = (),
    losses: int = 1,
    lossy: bool = False,
) -> Instance:
    return Instance(name, says, PROPERTIES, partial(_model, sessions, held, actors, lossy), losses)


HELD = (CREATE, COMMITTED)
_W6 = frozenset({"uploads", "W6", "W2", "W1"})

KEY: tuple[Instance, ...] = (
    _instance(
        "create ‖ create",
        "and a sweeper: one may win",
        [(CREATE, OPEN), (CREATE, OPEN)],
        commit(0),
        commit(1),
        sweep(0, 1),
    ),
    _instance(
        "replace ‖ replace",
        "two replicas each help, and a sweeper",
        [HELD, (REPLACE, OPEN), (REPLACE, OPEN)],
        commit(1),
        commit(2),
        sweep(0, 1),
        held=[0],
    ),
    _instance(
        "replace ‖ replace, if generation 1",
        "one may win",
        [HELD, (REPLACE_1, OPEN), (REPLACE_1, OPEN)],
        commit(1),
        commit(2),
        sweep(0, 1),
        held=[0],
    ),
    _instance(
        "replace ‖ replace ‖ replace",
        "any, any, and if generation 1",
        [HELD, (REPLACE, OPEN), (REPLACE, OPEN), (REPLACE_1, OPEN)],
        commit(1),
        commit(2),
        commit(3),
        held=[0],
    ),
    _instance(
        "create ‖ replace ‖ replace",
        "nobody holds the key",
        [(CREATE, OPEN), (REPLACE, OPEN), (REPLACE, OPEN)],
        commit(0),
        commit(1),
        commit(2),
    ),
    _instance(
        "commit ‖ commit ‖ replace",
        "two replicas of one session, and another's",
        [(REPLACE, OPEN), (REPLACE, OPEN)],
        commit(0, "a"),
        commit(0, "b"),
        commit(1),
    ),
    _instance(
        "commit ‖ expire ‖ create",
        "a claim becomes void",
        [(CREATE, OPEN), (CREATE, OPEN)],
        commit(0),
        commit(1),
        sweep(0, duties=DUTIES, name="sweep 0"),
    ),
    _instance(
        "identical bytes",
        "DUPLICATE of an object that is then replaced",
        [(Spec(0, "x"), COMMITTED), (Spec(ANY, "x"), OPEN), (REPLACE, OPEN)],
        commit(1, "a"),
        commit(1, "b"),
        commit(2),
        held=[0],
    ),
    _instance(
        "the store loses uploads",
        "LOST claims are void",
        [(REPLACE, OPEN), (CREATE, OPEN)],
        commit(0),
        commit(1),
        sweep(0),
        lossy=True,
    ),
    _instance(
        "generations ‖ sweep",
        "W7 while the next one comes",
        [HELD, (REPLACE, OPEN), (CREATE, OPEN)],
        commit(1),
        commit(2),
        sweep(0, 1),
        held=[0],
        lossy=True,
    ),
    _instance(
        "open ‖ sweep",
        "W6 while a session is made, at a key that is held",
        [HELD, (REPLACE, NOT_YET), (REPLACE, OPEN)],
        commit(1, opens=True),
        sweep(0, 1, 2, duties=_W6),
        held=[0],
    ),
    _instance(
        "delete ‖ delete ‖ replace",
        "two replicas of one deletion",
        [HELD, (delete(0), TOMBSTONE), (REPLACE, OPEN)],
        commit(1, "a"),
        commit(1, "b"),
        commit(2),
        held=[0],
    ),
    _instance(
        "delete ‖ another delete ‖ create",
        "two deletions of one object",
        [HELD, (delete(0), TOMBSTONE), (delete(0), TOMBSTONE), (CREATE, OPEN)],
        commit(1),
        commit(2),
        commit(3),
        held=[0],
    ),
    _instance(
        "delete ‖ replace ‖ create",
        "if generation 1; if there is none",
        [HELD, (delete(0), TOMBSTONE), (REPLACE_1, OPEN), (CREATE, OPEN)],
        commit(1),
        commit(2),
        commit(3),
        held=[0],
    ),
    _instance(
        "delete ‖ commit retry at a chosen key",
        "the target is being committed",
        [(CREATE, OPEN), (delete(0), TOMBSTONE)],
        commit(1),
        commit(0, "a"),
        commit(0, "b"),
    ),
    _instance(
        "delete ‖ commit ‖ create",
        "the target is being committed",
        [(CREATE, OPEN), (delete(0), TOMBSTONE), (CREATE, OPEN)],
        commit(1),
        commit(0),
        commit(2),
    ),
    _instance(
        "delete ‖ delete ‖ sweep",
        "W1 to W7",
        [HELD, (delete(0), TOMBSTONE)],
        commit(1, "a"),
        commit(1, "b"),
        sweep(0, 1),
        held=[0],
    ),
    _instance(
        "delete ‖ replace ‖ sweep",
        "W1 to W7",
        [HELD, (delete(0), TOMBSTONE), (REPLACE, OPEN)],
        commit(1),
        commit(2),
        sweep(0, 1),
        held=[0],
    ),
    _instance(
        "delete ‖ create ‖ delete",
        "of the generation that came between",
        [HELD, (delete(0), TOMBSTONE), (CREATE, OPEN), (delete(2), TOMBSTONE)],
        commit(1),
        commit(2),
        commit(3),
        held=[0],
    ),
    _instance(
        "replace, delete ‖ create ‖ sweep",
        "two generations below the tombstone",
        [HELD, (REPLACE_1, COMMITTED), (delete(1), TOMBSTONE), (CREATE, OPEN)],
        commit(2),
        commit(3),
        sweep(0, 1, 2, duties=DUTIES - {"W1"}),
        held=[0, 1],
    ),
)
