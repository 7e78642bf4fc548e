"""One run: replicas, clients, a network and a bucket, what goes wrong among them, the recovery, and the last look."""

from __future__ import annotations

import asyncio
import random
import traceback
from dataclasses import dataclass, replace
from typing import Any

import grpc

import sealane.client.connections
import sealane.client.upload
from ingest_service.admission import MemoryBudget
from sealane.client.errors import SealaneError
from sealane.domain.ids import Tenant
from sealane.domain.views import CommittedObject
from sealane.identity.caller import TENANT_KEY
from sealane.store.simulated_traits import AWS, SEAWEEDFS, Dialect
from tests.simulation import answers, ending, services
from tests.simulation.actor import Actor
from tests.simulation.bucket import WatchedBucket
from tests.simulation.calls import Call
from tests.simulation.deeds import DEEDS
from tests.simulation.faults import FaultBook
from tests.simulation.handling import Context
from tests.simulation.model import Model
from tests.simulation.plans import CHUNK, REPLICAS, Deed, Fate, NetFault, Plan
from tests.simulation.trace import Trace
from tests.simulation.virtual_loop import Halted, Loop, Process, Stuck
from tests.simulation.wire import Network

DIALECTS: dict[str, Dialect] = {
    "seaweedfs": SEAWEEDFS,
    "seaweedfs-kms": replace(SEAWEEDFS, opaque_part_etags=True),
    "aws": AWS,
    "aws-kms": replace(AWS, opaque_part_etags=True),
}
LONGEST = 9000.0
"""Seconds until every deed must have ended, whatever goes wrong (I14)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not be, and was."""

    invariant: str
    text: str
    at: float


class World:
    """Made of a plan; :meth:`play` it once."""

    def __init__(self, plan: Plan, *, trace: bool = False) -> None:
        self.plan = plan
        self.loop = Loop()
        self.start = self.loop.now
        self.trace = Trace(self.start) if trace else None
        self.gate: Any = None
        self.tenant = services.TENANT
        self.retention = services.RETENTION
        self.chunk = CHUNK
        self.violations: list[Violation] = []
        self.memories: dict[str, MemoryBudget] = {}
        self.bucket = WatchedBucket(DIALECTS[plan.dialect])
        self.models = {str(tenant): Model(self, tenant) for tenant in (services.TENANT, services.NEIGHBOUR)}
        self.model = self.models[services.TENANT]
        self.bucket.models = self.models
        self.faults = FaultBook(list(plan.faults), list(plan.storms), self.start)
        self.network = Network(self, self.loop, random.Random(f"{plan.seed} network"))
        begin = self.start
        self.network.cuts = [(c.one, c.other, begin + c.start, begin + c.start + c.seconds) for c in plan.cuts]
        for key in plan.strangers:
            self.bucket.put_by_stranger(f"{self.tenant}/{key}")
        self.contents = [session.content for session in plan.sessions]
        self.successes: dict[str, CommittedObject] = {}
        self._net_seen = [0] * len(plan.net)
        self._skews = dict(plan.skews)
        self._open = len(plan.deeds)
        self._quiet = asyncio.Event()
        self.assemblies: dict[str, Any] = {}

    # --- what others tell ---

    def violate(self, invariant: str, text: str, cause: Any = None) -> None:
        if self.loop.over:
            return
        if isinstance(cause, BaseException):
            text += "\n" + "".join(traceback.format_exception(cause))
        self.loop.halted = True
        self.violations.append(Violation(invariant, text, self.loop.now - self.start))
        self.tell("MODEL", f"VIOLATION {invariant}", text)

    def tell(self, who: str, what: str, outcome: str) -> None:
        if self.trace is not None:
            self.trace.tell(self.loop.now, who, what, outcome)

    def faulted(self, kind: str) -> None:
        self.faults.note(kind)

    def lose_upload(self, key: str) -> None:
        for upload_id in [each for each, of in self.bucket.uploads().items() if of == key]:
            facts = self.bucket.model_of(key).by_token.get(self.bucket.token_of(upload_id))
            if facts is not None and upload_id == facts.upload_id:
                facts.may_be_lost = True
                self.bucket.lose_upload(upload_id)
                self.tell("store", f"LOSES the upload of {key}", "")

    def net_fault(self, who: str, method: str) -> NetFault | None:
        if self.faults.off:
            return None
        found = None
        for number, fault in enumerate(self.plan.net):
            if fault.method == method and who.startswith(fault.who):
                self._net_seen[number] += 1
                if self._net_seen[number] == fault.nth:
                    found = fault
        if found is not None:
            self.faulted(f"wire {found.kind}")
        return found

    def served(self, call: Call, context: Context, seconds: float) -> None:
        """A handler has ended."""
        if self.loop.over:
            return
        longest = 3600.0 if call._timeout is None else call._timeout
        assert call.end is not None
        if seconds > longest + 2.0 + call.end.process.stood:
            self.violate("I14", f"{call.method} ended after {seconds:.1f} s; its deadline was {longest:g} s")
        for name, memory in self.memories.items():
            if max(memory.peak, memory.in_use) > memory.size:
                self.violate("I13", f"{name} has held {memory.peak} bytes; its budget is {memory.size}")

    def answered(self, call: Call, code: grpc.StatusCode, trailers: Any, answer: bytes | None) -> None:
        """An answer leaves a server: here it must be true."""
        said = answers.judge(self._model_for(call), call, code, trailers, answer)
        if self.trace is not None and call.end is not None:
            self.tell(call.end.process.name, f"{call.name} of {call.client.name}", said)

    def told(self, call: Call, message: bytes) -> None:
        """A message of an answer stream leaves a server: what it says must be true already."""
        answers.judge_message(self._model_for(call), call, message)

    def succeeded(self, actor: Actor, session: str, committed: CommittedObject) -> None:
        """A client holds a success in its hands."""
        self.successes[session] = committed
        actor.model.committed(session, answers.comparable(committed))
        stored, facts = self.bucket.object(committed.key), actor.model.sessions[session]
        there = stored is not None and len(b"".join(stored.read())) == committed.size
        if not there and not facts.record.chosen_key and not facts.delete_asked:
            self.violate("I4", f"{session} is committed, and its object is not there")

    def removed(self, actor: Actor, session: str) -> None:
        """A client was told that a session and its object are gone."""
        facts = actor.model.sessions[session]
        owner = actor.model.owner_of(facts.record.key)
        if facts.alive or owner is facts:
            self.violate("I9", f"{session} is answered as removed, and is there")

    def failed(self, actor: Actor, error: SealaneError) -> None:
        """A client was refused."""
        # A generation that is not there can't be replaced, nor what is somebody else's.
        possible = not actor.session.match and not self.plan.strangers
        if self.plan.calm and possible and len(self.plan.deeds) == 1 and actor.deed.kind not in {"leave", "wrong"}:
            self.violate("I14", f"nothing went wrong, and {actor.deed.kind} failed: {type(error).__name__} {error}")

    # --- names ---

    def peer(self, service: str, who: str) -> str:
        """The target by which ``who`` reaches a service."""
        return service

    def filename(self, session: int) -> str:
        return f"file-{self._called(session)}"

    def request_id(self, session: int) -> str:
        return f"request {self._called(session)}"

    def _called(self, session: int) -> int:
        """A neighbour's session is called as the first one is."""
        return 0 if self.plan.sessions[session].neighbour else session

    def model_of(self, session: int) -> Model:
        """Of the tenant that this session of the plan is of."""
        return self.models[services.NEIGHBOUR if self.plan.sessions[session].neighbour else services.TENANT]

    def tenant_of(self, name: str) -> Tenant | None:
        """The tenant of a client, by its process's name; None: it is a service."""
        if not name.startswith(("client-", "work-")):
            return None
        number = name.removeprefix("client-")
        deed = self.plan.deeds[int(number)] if number.isdecimal() and int(number) < len(self.plan.deeds) else None
        return self.model_of(deed.session if deed is not None else 0).tenant

    def _model_for(self, call: Call) -> Model:
        """Of the tenant that a call acts for."""
        named = [value for key, value in call.metadata if key == TENANT_KEY]
        return self.models[named[0] if named else str(self.tenant_of(call.client.name))]

    def find(self, session: int) -> str | None:
        """The newest session of that plan."""
        name = self.filename(session)
        for facts in reversed(self.model_of(session).sessions.values()):
            if facts.record.filename == name and facts.alive and not facts.record.tombstone:
                return facts.id
        return None

    # --- the run ---

    def play(self) -> list[Violation]:
        """Run to the end, or to the first violation."""
        connections: Any = sealane.client.connections
        uploads: Any = sealane.client.upload
        replaced = connections.channel, uploads.DaemonThread
        connections.channel, uploads.DaemonThread = self.network.channel, Inline
        try:
            self.loop.run(self._main())
        except Halted:
            if self.loop.failure is not None:
                self.violate("BUG", f"{self.loop.failure!r}", self.loop.failure)
        except Stuck as error:
            self.violate("I14", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this seed
            self.violate("BUG", f"{type(error).__name__}: {error}", error)
        finally:
            self.loop.end()
            connections.channel, uploads.DaemonThread = replaced
        return self.violations

    async def _main(self) -> None:
        for number in range(REPLICAS):
            self.boot(f"ingest-{number}", 0)
            self.boot(f"assembly-{number}", 0)
        for number, deed in enumerate(self.plan.deeds):
            self.loop.world_later(deed.start, self._act, deed, f"client-{number}", 0)
        try:
            async with asyncio.timeout(LONGEST):
                await self._quiet.wait()
        except TimeoutError:
            self.violate("I14", f"{self._open} deeds have not ended after {LONGEST:g} s")
        await ending.recover(self)
        ending.last_look(self)

    def _process(self, name: str, life: int) -> Process:
        process = self.loop.process(name, life)
        process.skew = self._skews.get(name, 0.0)
        for fate in self.plan.fates:
            if fate.who == name and fate.life == life and not self.faults.off:
                process.fates[fate.step] = lambda fate=fate: self._befall(process, fate)  # type: ignore[misc]
        return process

    def _befall(self, process: Process, fate: Fate) -> None:
        if self.faults.off:
            return
        self.faulted(fate.kind)
        if fate.kind == "crash":
            self.crash(process, fate.seconds)
        else:
            self.tell(process.name, fate.kind.upper(), f"for {fate.seconds:g} s")
            process.stall(fate.seconds, clock_stops=fate.kind == "pause")

    def crash(self, process: Process, seconds: float) -> None:
        """The process dies, and is started anew after ``seconds``."""
        if not process.dead:
            self.tell(process.name, "CRASH", f"for {seconds:g} s")
            process.crash()
            self.loop.world_later(seconds, self._again, process.name, process.life + 1)

    def _again(self, name: str, life: int) -> None:
        if self.faults.off:
            return
        self.tell(name, "comes back", "")
        if name.startswith("client-"):
            self._act(self.plan.deeds[int(name.removeprefix("client-"))], name, life)
        else:
            self.boot(name, life)

    def boot(self, name: str, life: int) -> None:
        process = self._process(name, life)
        rng = random.Random(f"{self.plan.seed} {name} {life}")
        if name.startswith("ingest"):
            self.network.ends[name] = process.context.run(services.ingest, self, process, rng)
            return
        end, assembly = process.context.run(services.assembly, self, process, rng)
        self.network.ends[name] = end
        self.assemblies[name] = (process, assembly)
        if not self.faults.off:
            process.spawn(assembly.patrol.run())

    def _act(self, deed: Deed, name: str, life: int) -> None:
        process = self._process(name, life)
        actor = process.context.run(Actor, self, process, deed, name, life)
        task = process.spawn(actor.run(DEEDS[deed.kind]))
        task.add_done_callback(self._ended, context=self.loop._world)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if error is not None:
            self.violate("BUG", f"a client ended with {type(error).__name__}: {error}", error)
        self._open -= 1
        if self._open <= 0:
            self._quiet.set()


class Inline:
    """In place of the client's thread for calls that may block."""

    def __init__(self, name: str) -> None:
        pass

    async def run(self, call: Any) -> Any:
        return call()

    def close(self) -> None:
        pass
