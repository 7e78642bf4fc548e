"""What clients do, with the real SDK. Each function is one client process, and is run anew after a crash of it.

They go on as long as the SDK does and take whatever it raises; whether an answer may be given is the model's to judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from sealane.client.errors import SealaneError
from tests.simulation.actor import CALL_SECONDS, Actor
from tests.simulation.by_hand import store_chunks
from tests.simulation.plans import CHUNK


async def upload(actor: Actor) -> None:
    """All in one, repeatable by its request id."""
    actor.model.sending[actor.name] = actor.content
    result = await actor.client.upload(
        actor.content,
        filename=actor.world.filename(actor.deed.session),
        chunk_size=CHUNK,
        ttl=float(actor.session.ttl),
        request_id=actor.world.request_id(actor.deed.session),
        stream_options=actor.options,
        journal=False,
        **actor.chosen,
    )
    actor.world.succeeded(actor, result.session_id, result.committed_object)


async def create_and_upload(actor: Actor) -> None:
    await actor.send(await actor.create())


async def stream(actor: Actor) -> None:
    """From a source that gives every byte once."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(actor.content), 600):
            await asyncio.sleep(0.01 * actor.rng.random())
            yield actor.content[start : start + 600]

    await actor.send(await actor.create(), pieces())


async def leave(actor: Actor) -> None:
    """Some chunks, and never a commit: the session expires."""
    session_id = await actor.create()
    async with asyncio.timeout(0.02 + 0.3 * actor.rng.random()):
        await actor.send(session_id)


async def resume_later(actor: Actor) -> None:
    """Some chunks, a break, the rest."""
    session_id = await actor.create()
    try:
        async with asyncio.timeout(0.02 + 0.2 * actor.rng.random()):
            await actor.send(session_id)
            return
    except TimeoutError:
        pass
    await asyncio.sleep(actor.rng.choice((0.1, 5.0, 50.0, 70.0)))
    await actor.send(session_id)


async def twin(actor: Actor) -> None:
    """The same bytes into the same session, at the same time."""
    session_id = await actor.find()
    if session_id is not None:
        await actor.send(session_id)


async def rogue(actor: Actor) -> None:
    """Other bytes into the same session, under the same indexes."""
    session_id = await actor.find()
    if session_id is None or not actor.content:
        return
    other = bytearray(actor.content)
    for start in range(0, len(other), CHUNK):
        if actor.rng.random() < 0.6:
            other[start] ^= 0xFF
    actor.model.declare(bytes(other))
    facts = actor.model.sessions[session_id]
    facts.may_be_lost = facts.sent_other_bytes = True
    await actor.send(session_id, bytes(other))


async def intrude(actor: Actor) -> None:
    """One chunk or all of them, with other bytes or the same, whatever the session's state: no SDK would."""
    session_id = await actor.find()
    if session_id is None or not actor.content:
        return
    chunks = range(-(-len(actor.content) // CHUNK))
    other = actor.rng.random() < 0.7
    if other:
        facts = actor.model.sessions[session_id]
        facts.may_be_lost = facts.sent_other_bytes = True
    await store_chunks(actor, session_id, actor.rng.choice(([actor.rng.choice(chunks)], list(chunks))), other=other)


async def commit(actor: Actor) -> None:
    """The same commit, by somebody else, some times."""
    session_id = await actor.find()
    for _ in range(actor.rng.choice((1, 2, 3))):
        if session_id is None:
            return
        try:
            committed = await actor.client.commit_session(
                session_id,
                chunk_count=actor.parameters.chunk_count,
                size=actor.parameters.size,
                blake3=actor.parameters.blake3,
                timeout=CALL_SECONDS,
            )
        except SealaneError as error:
            actor.world.failed(actor, error)
        else:
            actor.world.succeeded(actor, session_id, committed)
        await asyncio.sleep(actor.rng.choice((0.0, 0.05, 0.3, 30.0)) * actor.rng.random())


async def wrong(actor: Actor) -> None:
    """A commit of what was never uploaded."""
    session_id = await actor.find()
    if session_id is None:
        return
    parameters = actor.parameters
    digest = actor.rng.randbytes(32) if actor.rng.random() < 0.5 else parameters.blake3
    size = parameters.size + (digest == parameters.blake3)
    committed = await actor.client.commit_session(
        session_id, chunk_count=-(-size // CHUNK), size=size, blake3=digest, timeout=CALL_SECONDS
    )
    actor.world.violate("I4", f"{session_id} is committed as what it is not: {committed}")


async def abort(actor: Actor) -> None:
    session_id = await actor.find()
    if session_id is not None:
        await actor.client.abort_session(session_id, timeout=CALL_SECONDS)


async def remove(actor: Actor) -> None:
    """Delete the session, whatever it is by now; sometimes when it has long been committed."""
    session_id = await actor.find()
    if session_id is None:
        return
    if actor.rng.random() < 0.6:
        await asyncio.sleep(actor.rng.choice((0.5, 1.0, 5.0, 130.0)))
    actor.model.sessions[session_id].delete_asked = True
    await actor.client.delete_session(session_id, timeout=CALL_SECONDS)
    actor.world.removed(actor, session_id)


async def poll(actor: Actor) -> None:
    """Questions, of every kind."""
    session_id = await actor.find()
    for _ in range(2):
        if session_id is None:
            return
        try:
            match actor.rng.randrange(6 if actor.session.key else 5):
                case 0:
                    await actor.client.get_session(session_id, timeout=20.0)
                case 1:
                    await actor.client.get_commit(session_id, timeout=20.0)
                case 2:
                    await actor.client.verify_session(
                        session_id,
                        chunk_count=actor.parameters.chunk_count,
                        size=actor.parameters.size,
                        blake3=actor.parameters.blake3,
                        timeout=20.0,
                    )
                case 3:
                    await actor.client.explain_session(session_id, timeout=20.0)
                case 5:
                    await actor.client.get_key(actor.session.key, timeout=20.0)
                case _:
                    async for _ in actor.client.list_sessions(timeout=20.0):
                        pass
        except SealaneError as error:
            actor.world.failed(actor, error)
        await asyncio.sleep(actor.rng.choice((0.05, 0.5, 60.0)) * actor.rng.random())


async def watch(actor: Actor) -> None:
    """Until its final state, or for as long as the deed has."""
    session_id = await actor.find()
    if session_id is not None:
        async for _ in actor.client.watch_session(session_id):
            pass


async def prove(actor: Actor) -> None:
    """The object read back and hashed, once it is committed; sometimes much later."""
    session_id = await actor.find()
    for _ in range(actor.rng.choice((1, 2, 3))):
        if session_id is None:
            return
        try:
            proved = await actor.client.verify_object(session_id)
        except SealaneError as error:
            actor.world.failed(actor, error)
        else:
            actor.model.proved(session_id, proved.blake3, proved.size)
        await asyncio.sleep(actor.rng.choice((0.2, 1.0, 60.0)) * actor.rng.random())


async def audit(actor: Actor) -> None:
    repair = actor.rng.random() < 0.7
    await actor.audit(min_age=actor.rng.choice((0.0, 0.0, 0.0, 30.0, None)), repair=repair)


async def patrol(actor: Actor) -> None:
    """Walk after walk, and the key's holder between them, until what is being removed meanwhile has gone."""
    for _ in range(12):
        try:
            await actor.audit(repair=actor.rng.random() < 0.2)
            if actor.session.key:
                await actor.client.get_key(actor.session.key, timeout=20.0)
        except SealaneError as error:
            actor.world.failed(actor, error)
        await asyncio.sleep(0.1 * actor.rng.random())


async def trespass(actor: Actor) -> None:
    """Another tenant's session, by its id, in whatever state it is: there is none (I12)."""
    for _ in range(3):
        client, theirs = actor.client, actor.world.find(0)
        if theirs is None:
            await asyncio.sleep(0.3)
            continue
        parameters = actor.parameters
        try:
            match actor.rng.randrange(8):
                case 0:
                    await client.get_session(theirs, timeout=20.0)
                case 1:
                    await client.get_commit(theirs, timeout=20.0)
                case 2:
                    await client.abort_session(theirs, timeout=20.0)
                case 3:
                    await client.delete_session(theirs, timeout=20.0)
                case 4:
                    await client.commit_session(
                        theirs,
                        chunk_count=parameters.chunk_count,
                        size=parameters.size,
                        blake3=parameters.blake3,
                        timeout=20.0,
                    )
                case 5:
                    await client.verify_object(theirs)
                case 6 if actor.content:
                    await store_chunks(actor, theirs, [0], other=True)
                case _:
                    async for _ in client.list_sessions(timeout=20.0):
                        pass
        except SealaneError as error:
            actor.world.failed(actor, error)
        await asyncio.sleep(actor.rng.choice((0.05, 0.5, 60.0)) * actor.rng.random())


async def look(actor: Actor) -> None:
    """Who holds the key, again and again."""
    for _ in range(actor.rng.choice((4, 10, 30))):
        try:
            await actor.client.get_key(actor.session.key, timeout=20.0)
        except SealaneError as error:
            actor.world.failed(actor, error)
        await asyncio.sleep(actor.rng.choice((0.02, 0.02, 0.1, 0.5, 100.0)) * actor.rng.random())


DEEDS: dict[str, Callable[[Actor], Coroutine[Any, Any, None]]] = {
    "upload": upload,
    "create_and_upload": create_and_upload,
    "stream": stream,
    "leave": leave,
    "resume_later": resume_later,
    "twin": twin,
    "rogue": rogue,
    "intrude": intrude,
    "commit": commit,
    "wrong": wrong,
    "abort": abort,
    "remove": remove,
    "poll": poll,
    "watch": watch,
    "prove": prove,
    "audit": audit,
    "look": look,
    "patrol": patrol,
    "trespass": trespass,
}
