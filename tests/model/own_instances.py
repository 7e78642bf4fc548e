"""Two to four actors at a session's own key. The sweeper beside them does all of W1 to W7, and rolls forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.model.checker import Model, shown
from tests.model.instance import Instance
from tests.model.own_commit import AbortCall, Commit
from tests.model.own_finish import OwnProgram
from tests.model.own_ingest import Chunk
from tests.model.own_properties import unsettled, violated
from tests.model.own_store import Own, World, see
from tests.model.own_sweep import DeleteCall, Sweeper, clock

Make = Callable[[World], OwnProgram]
WRITES = frozenset({"decision", "done", "deleted", "cmu", "abort", "delete", "part", "receipt", "multipart"})
PROPERTIES = "I1 I2 I3 I4 I5 I6 I7 I8 I9 I10 I11"

EMPTY = see(Own())
"""session.json, and nothing else."""
READY = see(Own(multipart="u", uploads=frozenset({("u", "a1")}), receipts=frozenset({"a1"}), acked=frozenset({"a1"})))
"""Its one chunk is stored and acknowledged."""
OVERWRITTEN = see(READY._replace(uploads=frozenset({("u", "b1")}), acked=frozenset()))
"""A stream with other bytes wrote the part again and ended before its receipt."""
RETAGGED = see(READY._replace(uploads=frozenset({("u", "a2")})))
"""The part was written again with the same bytes; its ETag is another."""

COMMIT_A: Make = partial(Commit, name="commit A")
COMMIT_B: Make = partial(Commit, name="commit B")
COMMIT_OTHER: Make = partial(Commit, name="commit other", parameters="q")
INGEST_1: Make = partial(Chunk, name="ingest 1", version="a1")
INGEST_2: Make = partial(Chunk, name="ingest 2", version="a2")
INGEST_OTHER: Make = partial(Chunk, name="other bytes", version="b1")
MEND: Make = partial(Chunk, name="mend", version="a3", mends=True)
CREATE: Make = partial(Chunk, name="create", version="a1", creates=True)
CREATES = frozenset({"create", "decision", "multipart", "receipt", "delete"})


def _model(
    initial: Own,
    actors: Sequence[Make],
    losable: frozenset[str],
    spurious: bool,
    lossy: bool,
    without: frozenset[str],
    losses: int,
) -> Model[Own]:
    world = World(without, losses, losable, spurious, lossy)
    fresh = World(without)
    return Model(
        initial=initial,
        actors=[*(make(world).actor() for make in actors), clock(world)],
        violated=violated,
        recovery=[Sweeper(fresh, "fresh sweep").actor(), clock(fresh)],
        settled=unsettled,
        show=shown,
    )


def _instance(
    name: str,
    says: str,
    initial: Own,
    *actors: Make,
    losses: int = 1,
    losable: frozenset[str] = WRITES,
    spurious: bool = False,
    lossy: bool = False,
) -> Instance:
    build = partial(_model, initial, actors, losable, spurious, lossy)
    return Instance(name, says, PROPERTIES, build, losses)


OWN: tuple[Instance, ...] = (
    _instance("commit ‖ commit", "two replicas, one sweeper", READY, COMMIT_A, COMMIT_B, Sweeper, losses=2),
    _instance("commit ‖ commit, other parameters", "one may win", READY, COMMIT_A, COMMIT_OTHER, Sweeper, losses=2),
    _instance(
        "commit ‖ commit ‖ commit", "three replicas, a sweeper", READY, COMMIT_A, COMMIT_B, COMMIT_OTHER, Sweeper
    ),
    _instance("commit ‖ abort", "and a sweeper", READY, COMMIT_A, AbortCall, Sweeper, losses=2),
    _instance("commit ‖ commit ‖ abort", "and a sweeper", READY, COMMIT_A, COMMIT_B, AbortCall, Sweeper),
    _instance("commit ‖ expire", "two sweepers expire, purge, finish", READY, COMMIT_A, Sweeper, Sweeper, losses=2),
    _instance("commit ‖ late chunk", "the chunk is on its way", EMPTY, COMMIT_A, INGEST_1, Sweeper, losses=2),
    _instance("commit ‖ late chunk ‖ expire", "two sweepers", EMPTY, COMMIT_A, INGEST_1, Sweeper, Sweeper),
    _instance("commit ‖ duplicate chunk", "the same bytes again", READY, COMMIT_A, INGEST_2, Sweeper),
    _instance("commit ‖ other bytes", "two streams differ", EMPTY, COMMIT_A, INGEST_1, INGEST_OTHER, Sweeper, losses=0),
    _instance("multipart.json race ‖ commit", "two replicas of ingest", EMPTY, COMMIT_A, INGEST_1, INGEST_2),
    _instance("multipart.json race ‖ sweep", "W6 comes between", EMPTY, INGEST_1, INGEST_2, Sweeper),
    _instance("create ‖ sweep", "and a chunk", Own(session=False), CREATE, Sweeper, losses=2, losable=CREATES),
    _instance("overwritten part, mended", "the client comes back", OVERWRITTEN, COMMIT_A, COMMIT_B, MEND, Sweeper),
    _instance("part with another ETag", "the same bytes", RETAGGED, COMMIT_A, COMMIT_B, Sweeper, losses=2),
    _instance("delete ‖ commit", "and a sweeper", READY, COMMIT_A, DeleteCall, Sweeper, losses=2),
    _instance("delete ‖ commit retry", "two replicas and a sweeper", READY, COMMIT_A, COMMIT_B, DeleteCall, Sweeper),
    _instance("delete ‖ commit ‖ abort", "and a sweeper", READY, COMMIT_A, DeleteCall, AbortCall, Sweeper),
    _instance("delete ‖ delete ‖ commit", "and a sweeper", READY, COMMIT_A, DeleteCall, DeleteCall, Sweeper),
    _instance("NoSuchUpload of a living upload", "any time", READY, COMMIT_A, COMMIT_B, Sweeper, spurious=True),
    _instance("the store loses the upload", "at any moment", READY, COMMIT_A, COMMIT_B, Sweeper, lossy=True, losses=2),
)
