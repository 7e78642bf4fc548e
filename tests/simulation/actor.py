"""One client process: the real SDK, and what is needed around it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
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
        self.model = world.model_of(deed.session)
        self.parameters = self.model.declare(self.content)
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

    async def run(self, do: Callable[[Actor], Coroutine[Any, Any, None]]) -> None:
        """Its deed, to the end, which must come in time (I14)."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = "ok"
        try:
            async with asyncio.timeout(self.deed.seconds):
                await do(self)
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
            request_id=self.world.request_id(self.deed.session),
            **self.chosen,
        )
        return session.session_id

    async def audit(self, *, min_age: float | None = 0.0, repair: bool = True) -> None:
        """The store walked both ways, of things that are so many seconds old, and mended as far as an audit may."""
        async for _ in self.client.audit(min_age=min_age, repair=repair):
            pass

    async def find(self) -> str | None:
        """The session, once somebody has made it."""
        for _ in range(20):
            found = self.world.find(self.deed.session)
            if found is not None:
                return found
            await asyncio.sleep(0.2)
        return None

    async def send(self, session_id: str, content: Any = None) -> None:
        self.model.sending[self.name] = content if isinstance(content, bytes) else self.content
        result = await self.client.upload(
            self.content if content is None else content,
            session_id=session_id,
            stream_options=self.options,
            journal=False,
        )
        self.world.succeeded(self, session_id, result.committed_object)
