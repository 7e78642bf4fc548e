"""What an audit and W6 make of chosen keys that are deleted, replaced and held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from assembly_faults import Crash, Fault
from assembly_time import run, wait
from assembly_world import DIALECTS, TENANT, World
from chosen_deletes import KEY, ONE, TWO, at_key, held, sessions_left
from deletes import delete

from assembly_service import chosen_uploads
from assembly_service.audit_findings import AuditKind, Finding
from sealane.domain.claims import ANY
from sealane.domain.ids import SessionId
from sealane.domain.records import MultipartRecord
from sealane.store import keys, port
from sealane.store.deadline import Deadline


async def findings(world: World, *, repair: bool = False) -> list[Finding]:
    walk = world.replica().assembly.auditor.audit(TENANT, Deadline.after(600), min_age=timedelta(0), repair=repair)
    return [message async for message in walk if isinstance(message, Finding)]


@DIALECTS
def test_a_bucket_of_chosen_keys_deleted_replaced_and_held_is_clean(dialect) -> None:
    async def main() -> None:
        world = World(dialect)
        first_one = await held(world)
        await held(world, TWO, ANY)
        assert await findings(world) == []  # replaced, and not swept yet
        await delete(world.replica(), first_one)
        other = await world.session(ONE, object_key="other/key")
        await world.replica().commit(other)
        await delete(world.replica(), other)
        await world.session(ONE, object_key="third")
        assert await findings(world) == []

    run(main())


def test_an_audit_misses_the_object_of_the_newest_generation() -> None:
    """Only a **later** one accounts for its not being there."""

    async def main() -> None:
        world = World()
        await held(world)
        newest = await held(world, TWO, ANY)
        await world.plain.delete(newest.record.key, timeout=30)
        await wait(2)
        assert [(each.kind, each.session) for each in await findings(world)] == [(AuditKind.OBJECT_MISSING, newest.id)]

    run(main())


def test_an_audit_of_whatever_age_tells_of_an_upload_that_was_begun_just_now() -> None:
    """At a chosen key, too: the grace is only what is left out where nobody says how much."""

    async def main() -> None:
        world = World()
        session = await world.open_session(ONE, object_key=KEY)
        await world.start_upload(session)
        await world.plain.delete(keys.record(TENANT, session.id, keys.SESSION), timeout=30)
        await wait(2)
        assert [each.kind for each in await findings(world)] == [AuditKind.UPLOAD_WITHOUT_SESSION]

    run(main())


@pytest.mark.parametrize("stopped", ["complete_multipart", "delete"])
def test_an_audit_between_a_later_generations_object_and_its_done_json_finds_nothing(stopped) -> None:
    """The object comes, or goes, before done.json says so."""

    async def main() -> None:
        world = World()
        old = await held(world)
        await wait(7200)
        crash = Fault(stopped, KEY, dies_behind)
        new = await world.session(TWO, object_key=KEY, precondition=ANY)
        dying = world.replica(faults=crash)
        with pytest.raises(Crash):
            await (delete(dying, old) if stopped == "delete" else dying.commit(new))
        assert at_key(world) != ONE
        walk = world.replica().assembly.auditor.audit(TENANT, Deadline.after(600))
        assert [message async for message in walk if isinstance(message, Finding)] == []

    run(main())


def dies_behind(effect: Callable[[], Any]) -> None:
    effect()
    raise Crash


def test_an_object_of_a_generation_that_was_deleted_is_a_ghost_if_it_is_back() -> None:
    """Somebody restored a backup into the bucket, say."""

    async def main() -> None:
        world = World()
        session = await held(world)
        upload = await world.start_upload(session)
        etag = await world.plain.upload_part(
            session.record.key, upload, 1, b"x", sha256=hashlib.sha256(b"x").digest(), timeout=30
        )
        await delete(world.replica(), session)
        await world.plain.complete_multipart(
            session.record.key, upload, [port.Part(1, etag, hashlib.sha256(b"x").digest())], timeout=30
        )
        (ghost,) = await findings(world, repair=True)
        assert (ghost.kind, ghost.key, ghost.repaired) == ("OBJECT_WITHOUT_RECORDS", session.record.key, False)
        assert at_key(world) == b"x"

    run(main())


@pytest.mark.parametrize("by", ["sweeper", "audit"])
def test_w6_at_a_chosen_key_an_upload_goes_only_if_no_session_of_the_key_can_finish_it(by) -> None:
    """⚠ W6: each session that names the key has a multipart.json naming another, or a decision other than COMMIT."""

    async def clean(world: World) -> None:
        await wait(3600 * 2)
        if by == "sweeper":
            await world.replica().sweep_all()
        else:
            await findings(world, repair=True)

    async def main() -> None:
        world = World()
        long = 30 * 24 * 3600
        holder = await held(world)
        named = await world.session(TWO, object_key=KEY, precondition=ANY, ttl=long)
        silent = await world.open_session(TWO, object_key=KEY, precondition=ANY, ttl=long)
        lone = await world.start_upload(silent)
        await clean(world)
        assert len(world.bucket.open_uploads()) == 2  # absent proves nothing
        mine = await world.start_upload(silent)
        await world.put_record(silent, keys.MULTIPART, MultipartRecord(silent.id, mine).encode())
        await clean(world)
        assert {upload.upload_id for upload in (await world.plain.list_uploads("", timeout=9)).uploads} == {
            named.upload_id,
            mine,
        }
        assert lone
        assert at_key(world) == holder.content

    run(main())


def test_w6_living_uploads_at_chosen_keys_however_many_hide_no_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass judges so many, and the next one those behind them; at the end it begins anew."""
    monkeypatch.setattr(chosen_uploads, "MAX_UPLOADS", 2)

    async def main() -> None:
        world = World()
        living = [await world.session(ONE, object_key=f"a{n}", ttl=30 * 24 * 3600) for n in range(3)]
        replica = world.replica()
        at_once = replica.store.list_uploads

        async def one_by_one(prefix: str, *, timeout: float, cursor: str | None = None, limit: int = 1000) -> Any:
            return await at_once(prefix, timeout=timeout, cursor=cursor, limit=1)

        monkeypatch.setattr(replica.store, "list_uploads", one_by_one)
        for _ in range(2):
            gone = await world.session(ONE, object_key="z", ttl=30 * 24 * 3600)
            await world.plain.delete(keys.record(TENANT, gone.id, keys.SESSION), timeout=30)
            await world.plain.delete(keys.record(TENANT, gone.id, keys.MULTIPART), timeout=30)
            await wait(3600)
            for _ in range(4):
                await replica.sweep_all()
            assert {upload.upload_id for upload in (await world.plain.list_uploads("", timeout=9)).uploads} == {
                session.upload_id for session in living
            }

    run(main())


def test_w6_an_upload_named_by_a_multipart_json_without_a_session_goes_in_the_frequent_pass() -> None:
    """⚠ W6: the writer stalled behind the purge; multipart.json names the key, since nothing else does any more."""

    async def main() -> None:
        world = World()
        holder = await held(world)
        session = await world.open_session(TWO, object_key=KEY, precondition=ANY)
        await delete(world.replica(), session)
        upload = await world.start_upload(session)
        late = MultipartRecord(session.id, upload, session.record.key)
        await world.put_record(session, keys.MULTIPART, late.encode())
        foreign = MultipartRecord("b" * 32, "of another tenant", "other/key")
        forged = keys.record(TENANT, SessionId("b" * 32), keys.MULTIPART)
        await world.plain.put(forged, foreign.encode(), timeout=30)
        replica = world.replica()
        await replica.sweep_all(full=False)
        assert world.bucket.open_uploads() == []
        assert sessions_left(world) == {holder.id}
        assert not [call for call in replica.store.calls if call.key.startswith("other/")]  # I12

    run(main())


def test_w6_a_session_that_cannot_be_read_spares_the_uploads_of_its_tenant() -> None:
    """Fail closed (section 11)."""

    async def main() -> None:
        world = World()
        await world.plain.create_multipart(f"{TENANT}/{KEY}", timeout=30, metadata={})
        forged = keys.record(TENANT, SessionId("a" * 32), keys.SESSION)
        await world.plain.put(forged, b"{}", timeout=30)
        await wait(7200)
        replica = world.replica()
        await replica.sweep_all()
        assert len(world.bucket.open_uploads()) == 1
        assert replica.events.alarms
        await world.plain.delete(forged, timeout=30)
        await world.replica().sweep_all()
        assert world.bucket.open_uploads() == []

    run(main())
