"""The end of a run: recovery by fresh replicas with all faults off, and the last look at what is left."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from assembly_service.audit import Auditor
from assembly_service.audit_findings import AuditKind, Summary
from sealane.domain.decision import Outcome
from sealane.domain.ids import Tenant
from sealane.domain.records import DoneRecord
from sealane.store import keys
from sealane.store.deadline import Deadline
from tests.simulation.answers import comparable

if TYPE_CHECKING:
    from tests.simulation.model import Model
    from tests.simulation.world import World

SETTLING = 1000.0
"""Seconds until the last late write has landed, and the last process that stood still has woken."""
TOMBSTONE_SECONDS = 3600.0 + 20.0
"""Seconds until a tombstone session that came to nothing has expired."""


async def recover(world: World) -> None:
    """Faults off, everything late lands, whoever stands still wakes; then fresh replicas tidy up."""
    world.tell("WORLD", "faults off", "")
    world.faults.off = True
    world.network.cuts.clear()
    for process in world.loop.processes:
        if not process.stalled:
            process.crash()
    await asyncio.sleep(SETTLING)
    models = world.models.values()
    if any(facts.record.tombstone for model in models for facts in model.sessions.values()):
        await asyncio.sleep(TOMBSTONE_SECONDS)
    for process in world.loop.processes:
        process.crash()
    world.tell("WORLD", "fresh replicas", "")
    world.boot("ingest-9", 0)
    world.boot("assembly-9", 0)
    process, assembly = world.assemblies["assembly-9"]
    await process.spawn(assembly.patrol.sweep(full=True))
    await asyncio.sleep(world.model.kept + world.model.grace + 5.0)
    await process.spawn(assembly.patrol.sweep(full=True))
    await asyncio.sleep(1.0)
    for model in models:
        for facts in list(model.sessions.values()):
            decided = facts.decision.parameters if facts.decision is not None else None
            if facts.alive and facts.committed and decided is not None:
                again = assembly.committer.commit(model.tenant, facts.id, decided, Deadline.after(60.0))
                model.committed(facts.id, comparable(await process.spawn(again)))
        if not model.sessions and model is not world.model:
            continue  # nobody was there
        summary = await process.spawn(_audited(model.tenant, assembly.auditor))
        found = {kind: tally.count for kind, tally in summary.by_kind.items()}
        strange = sum(model.owns(key) for key in world.bucket.strangers)
        if found != ({AuditKind.OBJECT_WITHOUT_RECORDS: strange} if strange else {}):
            world.violate("I9", f"sealane's own audit finds, in the end: {summary.by_kind}")


async def _audited(tenant: Tenant, auditor: Auditor) -> Summary:
    """The end of an audit of everything, of any age."""
    messages = auditor.audit(tenant, Deadline.after(600.0), min_age=timedelta(0))
    [summary] = [message async for message in messages if isinstance(message, Summary)]
    return summary


def last_look(world: World) -> None:
    """I3, I4, I9: what is left is what was committed, whole, and nothing else."""
    bucket = world.bucket
    for upload_id, key in bucket.uploads().items():
        world.violate("I9", f"an upload is left open: {key} {upload_id}")
    for key, written in bucket.strangers.items():
        if bucket.object(key) is not written:
            world.violate("I16", f"somebody else's object at {key} is not what it was")
    for model in world.models.values():
        _look_at(world, model)
    for session in world.successes:
        facts, model = next((m.sessions[session], m) for m in world.models.values() if session in m.sessions)
        replaced = facts.outcome is Outcome.DUPLICATE or (facts.generation and model.keys.replaced(facts))
        if not facts.alive and not facts.delete_asked and not replaced:
            world.violate("I8", f"{session} was answered as committed, and is gone")


def _look_at(world: World, model: Model) -> None:
    bucket = world.bucket
    for facts in model.sessions.values():
        objects = bucket.keys(keys.own_object_prefix(model.tenant, facts.id))
        left = bucket.keys(keys.session_prefix(model.tenant, facts.id)) + objects
        if not facts.alive:
            if left:
                world.violate("I9", f"{facts.id} ({facts.outcome}) is gone, and this is left: {left}")
        elif not isinstance(facts.done, DoneRecord) or facts.deleted:
            world.violate("I3", f"{facts.id} is neither done nor gone: {facts.outcome}: {left}")
        elif facts.record.chosen_key:
            if model.keys.finished[facts.record.chosen_key][-1] is not facts:
                world.violate("I9", f"{facts.id} is replaced, and still there: generation {facts.generation}")
        else:
            stored = bucket.object(facts.record.key)
            if stored is None or b"".join(stored.read()) != model.contents.get(facts.done.blake3):
                world.violate("I4", f"{facts.id} is committed, and its object is not what was committed")
            if any("/receipts/" in key for key in left):
                world.violate("I9", f"{facts.id} is committed, and its receipts are left")
    for chosen in model.keys.finished:
        holder, stored = model.keys.holder(chosen), bucket.object(f"{model.tenant}/{chosen}")
        if (holder is None) is not (stored is None):
            world.violate("I16", f"{chosen} is held by {holder and holder.id}, and its object is {stored}")
        elif holder is not None and stored is not None and isinstance(holder.done, DoneRecord):
            wanted = model.contents.get(holder.done.blake3)
            if b"".join(stored.read()) != wanted:
                world.violate("I16", f"{chosen} has other bytes than its holder, generation {holder.generation}")
