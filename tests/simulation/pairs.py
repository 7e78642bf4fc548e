"""The pairs of actors whose store calls are interleaved, each ready at the moment at which both begin."""

from __future__ import annotations

import asyncio
from typing import Any

from sealane.client.errors import SealaneError
from tests.simulation.actor import Actor
from tests.simulation.by_hand import store_chunks
from tests.simulation.interleavings import Duel, Pair, Work
from tests.simulation.plans import CHUNK
from tests.simulation.scenes import EXPIRED, FORGOTTEN, PATIENT, commit_of, ready, session_of, sweep


def _of(duel: Duel, who: str, session: int = 0) -> Actor:
    return duel.client(session, name=f"client-{who}")


def _fine(answer: Any) -> bool:
    return not isinstance(answer, BaseException)


def _refused_or_fine(answer: Any) -> bool:
    return _fine(answer) or isinstance(answer, SealaneError)


async def _commit_commit(duel: Duel) -> tuple[Work, Work]:
    _, session = await ready(duel)
    return commit_of(_of(duel, "a"), session), commit_of(_of(duel, "b"), session)


async def _commit_abort(duel: Duel) -> tuple[Work, Work]:
    _, session = await ready(duel)
    return commit_of(_of(duel, "a"), session), _of(duel, "b").client.abort_session(session, timeout=PATIENT)


async def _commit_expire(duel: Duel) -> tuple[Work, Work]:
    """Expired, purged, and forgotten, in whatever the committer's calls leave between."""
    _, session = await ready(duel)
    await asyncio.sleep(EXPIRED)

    async def expire() -> None:
        await sweep(duel, "assembly-b")
        await asyncio.sleep(FORGOTTEN)
        await sweep(duel, "assembly-b")

    return commit_of(_of(duel, "a"), session), expire()


async def _commit_late_chunk(duel: Duel) -> tuple[Work, Work]:
    """The last chunk by two replicas: one goes on to commit."""
    _, session = await ready(duel, chunks=[0])
    a, b = _of(duel, "a"), _of(duel, "b")

    async def store_and_commit() -> Any:
        await store_chunks(a, session, [1])
        return await a.send(session)

    return store_and_commit(), store_chunks(b, session, [1])


async def _commit_other_chunk(duel: Duel) -> tuple[Work, Work]:
    """The last chunk by two replicas, with other bytes."""
    _, session = await ready(duel, chunks=[0])
    a, b = _of(duel, "a"), _of(duel, "b")
    facts = duel.model.sessions[session]
    facts.may_be_lost = facts.sent_other_bytes = True
    return a.send(session), store_chunks(b, session, [1], other=True)


async def _multipart_race(duel: Duel) -> tuple[Work, Work]:
    """The first chunk by two replicas: one goes on to commit."""
    _, session = await ready(duel, chunks=[])
    a, b = _of(duel, "a"), _of(duel, "b")
    return a.send(session), store_chunks(b, session, [0])


async def _replace_replace(duel: Duel) -> tuple[Work, Work]:
    _, one = await ready(duel, 0)
    _, two = await ready(duel, 1)
    return commit_of(_of(duel, "a", 0), one), commit_of(_of(duel, "b", 1), two)


async def _delete_retry(duel: Duel) -> tuple[Work, Work]:
    first, session = await ready(duel)
    await first.process.spawn(commit_of(first, session))
    duel.model.sessions[session].delete_asked = True
    deleting = _of(duel, "a").client.delete_session(session, timeout=PATIENT)
    return deleting, commit_of(_of(duel, "b"), session)


async def _delete_replace(duel: Duel) -> tuple[Work, Work]:
    first, one = await ready(duel, 0)
    await first.process.spawn(commit_of(first, one))
    _, two = await ready(duel, 1)
    duel.model.sessions[one].delete_asked = True
    deleting = _of(duel, "a").client.delete_session(one, timeout=PATIENT)
    b = _of(duel, "b", 1)
    parameters = b.parameters
    committing = b.client.commit_session(  # a key that cools is UNAVAILABLE for an hour: asked for a while only
        two, chunk_count=parameters.chunk_count, size=parameters.size, blake3=parameters.blake3, timeout=20.0
    )
    return deleting, committing


async def _sweep_sweep(duel: Duel) -> tuple[Work, Work]:
    actor, session = await ready(duel)
    await actor.process.spawn(actor.client.abort_session(session, timeout=PATIENT))
    await asyncio.sleep(FORGOTTEN)

    async def by(name: str) -> None:
        await sweep(duel, name)

    return by("assembly-a"), by("assembly-b")


async def _audit_commit(duel: Duel) -> tuple[Work, Work]:
    _, session = await ready(duel)
    return _of(duel, "a").audit(), commit_of(_of(duel, "b"), session)


async def _audit_upload(duel: Duel) -> tuple[Work, Work]:
    """Of a session that has nothing yet: its upload, multipart.json, chunk and commit come while the audit looks."""
    _, session = await ready(duel, chunks=[])
    return _of(duel, "a").audit(), _of(duel, "b").send(session)


async def _audit_delete(duel: Duel) -> tuple[Work, Work]:
    first, session = await ready(duel)
    await first.process.spawn(commit_of(first, session))
    duel.model.sessions[session].delete_asked = True
    return _of(duel, "a").audit(), _of(duel, "b").client.delete_session(session, timeout=PATIENT)


_BOTH = (session_of(CHUNK, key="k"), session_of(CHUNK, stock=1, key="k"))
_FIRST = (session_of(CHUNK, key="k", match=0), session_of(CHUNK, stock=1, key="k", match=0))

PAIRS = (
    Pair("commit ‖ commit", _commit_commit, lambda a, b: _fine(a) and _fine(b)),
    Pair("commit ‖ abort", _commit_abort, lambda a, b: _fine(a) is not _fine(b)),
    Pair("commit ‖ expire and purge", _commit_expire, lambda a, b: _refused_or_fine(a) and _fine(b)),
    Pair(
        "commit of an empty object ‖ purge",
        _commit_expire,
        lambda a, b: _refused_or_fine(a) and _fine(b),
        (session_of(0),),
    ),
    Pair("commit ‖ late chunk", _commit_late_chunk, lambda a, b: _fine(a), dialect="seaweedfs-kms"),
    Pair("commit ‖ late chunk, AWS", _commit_late_chunk, lambda a, b: _fine(a), dialect="aws-kms"),
    Pair("commit ‖ other bytes", _commit_other_chunk, lambda a, b: _refused_or_fine(a)),
    Pair("multipart.json race ‖ commit", _multipart_race, lambda a, b: _fine(a), (session_of(CHUNK),)),
    Pair("replace ‖ replace", _replace_replace, lambda a, b: _fine(a) and _fine(b), _BOTH),
    Pair("create ‖ create of a key", _replace_replace, lambda a, b: _fine(a) is not _fine(b), _FIRST),
    Pair("delete ‖ commit retry", _delete_retry, lambda a, b: _fine(a) and _refused_or_fine(b)),
    Pair("delete ‖ replace", _delete_replace, lambda a, b: _fine(a) and _refused_or_fine(b), _BOTH),
    Pair("purge ‖ purge", _sweep_sweep, lambda a, b: _fine(a) and _fine(b)),
    Pair("audit that repairs ‖ commit", _audit_commit, lambda a, b: _fine(a) and _fine(b)),
    Pair("audit that repairs ‖ upload at a key", _audit_upload, lambda a, b: _fine(a) and _fine(b), _BOTH[:1]),
    Pair("audit that repairs ‖ delete", _audit_delete, lambda a, b: _fine(a) and _fine(b)),
    Pair("audit that repairs ‖ delete at a key", _audit_delete, lambda a, b: _fine(a) and _fine(b), _BOTH[:1]),
)
