"""What clients do, with the real SDK. Each function is one client process, and is run anew after a crash of it.

They go on as long as the SDK does and take whatever it raises; whether an answer may be given is the model's to judge.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sealane.client import BackoffPolicy, Client, StreamOptions
from sealane.client.errors import SealaneError
from tests.simulation.plans import CHUNK, Deed
from tests.simulation.virtual_loop import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE = BackoffPolicy(base_seconds=0.1, cap_seconds=10.0, patience_seconds=200.0)
CALL_SECONDS = 60.0


class Actor:
    """One client process at work on one session."""

    def __init__(self, world: World, process: Process, deed: Deed, name: str, life: int) -> None:
        self.world = world
        self.process = process
        self.deed = deed
        self.name = name
        self.life = life
        self.rng = random.Random(f"{world.plan.seed} {name} {life}")
        self.session = world.plan.sessions[deed.session]
        self.content = world.contents[deed.session]
        self.parameters = world.model.declare(self.content)
        self.client = Client(
            world.peer("ingest", name),
            world.peer("assembly", name),
            timeout=CALL_SECONDS,
            backoff=PATIENCE,
            rng=self.rng,
            entropy=self.rng.randbytes,
            environment={},
        )
        self.options = StreamOptions(
            parallel=deed.parallel, chunks_per_stream=deed.chunks_per_stream, frame_bytes=700, stall_seconds=30.0
        )

    async def run(self) -> None:
        """To its end, which must come in time (I14)."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = "ok"
        try:
            async with asyncio.timeout(self.deed.seconds):
                await DEEDS[self.deed.kind](self)
        except SealaneError as error:
            outcome = f"{type(error).__name__}: {error.message} {error.private}"
            self.world.failed(self, error)
        except TimeoutError:
            outcome = "out of time"
        elapsed = loop.time() - began
        if elapsed > self.deed.seconds + 5.0 + self.process.stood:
            self.world.violate("I14", f"{self.name} took {elapsed:.0f} s, and had {self.deed.seconds:g} s")
        self.world.tell(self.name, self.deed.kind, outcome)

    @property
    def chosen(self) -> dict[str, Any]:
        """How the session's key is asked for."""
        if not self.session.key:
            return {}
        if self.session.match is None:
            return {"object_key": self.session.key, "overwrite": True}
        return {"object_key": self.session.key, "if_generation_match": self.session.match}

    async def create(self) -> str:
        session = await self.client.create_session(
            filename=self.world.filename(self.deed.session),
            size=len(self.content) if self.session.told else None,
            chunk_size=CHUNK,
            ttl=float(self.session.ttl),
            request_id=f"request {self.deed.session}",
            **self.chosen,
        )
        return session.session_id

    async def find(self) -> str | None:
        """The session, once somebody has made it."""
        for _ in range(20):
            found = self.world.find(self.deed.session)
            if found is not None:
                return found
            await asyncio.sleep(0.2)
        return None

    async def send(self, session_id: str, content: Any = None) -> None:
        self.world.model.sending[self.name] = content if isinstance(content, bytes) else self.content
        result = await self.client.upload(
            self.content if content is None else content,
            session_id=session_id,
            stream_options=self.options,
            journal=False,
        )
        self.world.succeeded(self, session_id, result.committed_object)


async def upload(actor: Actor) -> None:
    """All in one, repeatable by its request id."""
    actor.world.model.sending[actor.name] = actor.content
    result = await actor.client.upload(
        actor.content,
        filename=actor.world.filename(actor.deed.session),
        chunk_size=CHUNK,
        ttl=float(actor.session.ttl),
        request_id=f"request {actor.deed.session}",
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
    actor.world.model.declare(bytes(other))
    actor.world.model.sessions[session_id].may_be_lost = True
    await actor.send(session_id, bytes(other))


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
    actor.world.model.sessions[session_id].delete_asked = True
    await actor.client.delete_session(session_id, timeout=CALL_SECONDS)
    actor.world.removed(session_id)


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
            actor.world.model.proved(session_id, proved.blake3, proved.size)
        await asyncio.sleep(actor.rng.choice((0.2, 1.0, 60.0)) * actor.rng.random())


DEEDS: dict[str, Callable[[Actor], Coroutine[Any, Any, None]]] = {
    "upload": upload,
    "create_and_upload": create_and_upload,
    "stream": stream,
    "leave": leave,
    "resume_later": resume_later,
    "twin": twin,
    "rogue": rogue,
    "commit": commit,
    "wrong": wrong,
    "abort": abort,
    "remove": remove,
    "poll": poll,
    "watch": watch,
    "prove": prove,
}
