"""Objects at keys that callers choose, through both services: preconditions, holders, duplicates, resumes (I16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3
from client_world import KIB, World, content, options

from sealane.client import BackoffPolicy, Client, Progress, SessionState, errors

KEY = "films/2030/a.mov"
PATH = f"default/{KEY}"


@pytest.fixture
async def client(here: World) -> AsyncIterator[Client]:
    async with here.client() as made:
        yield made


async def test_generations_go_up_one_by_one_and_each_is_replaced_only_by_who_names_it(
    here: World, client: Client
) -> None:
    """I16: the first upload creates, the next must name what it replaces; overwrite takes whatever is there."""
    first, second, third = (content((3 + seed) * KIB, seed) for seed in range(3))
    one = await client.upload(first, filename="a", object_key=KEY)
    assert (one.key, one.generation, one.duplicate) == (PATH, 1, False)
    assert here.object(PATH) == first
    two = await client.upload(second, filename="a", object_key=KEY, if_generation_match=1)
    assert (two.generation, here.object(PATH)) == (2, second)
    with pytest.raises(errors.GenerationMismatch):
        await client.upload(third, filename="a", object_key=KEY, if_generation_match=1)
    assert here.object(PATH) == second
    three = await client.upload(third, filename="a", object_key=KEY, overwrite=True)
    assert (three.generation, here.object(PATH)) == (3, third)


async def test_a_conflict_names_the_holder(client: Client) -> None:
    """Generation, session, size, digest and time (protocol.md section 8, step 4)."""
    data = content(2 * KIB + 3)
    result = await client.upload(data, filename="a", object_key=KEY)
    with pytest.raises(errors.GenerationMismatch) as refused:
        await client.upload(content(2 * KIB + 3, 2), filename="a", object_key=KEY)
    holder = refused.value.holder
    assert holder is not None
    assert (holder.object_key, holder.generation, holder.session_id) == (KEY, 1, result.session_id)
    assert (holder.size, holder.blake3, holder.state) == (len(data), blake3(data).digest(), SessionState.COMMITTED)
    assert holder.commit_time == result.committed_object.commit_time
    assert (await client.get_key(KEY)).holder == holder


async def test_identical_bytes_are_a_success_that_is_marked(here: World, client: Client) -> None:
    data = content(4 * KIB + 1)
    first = await client.upload(data, filename="a", object_key=KEY)
    again = await client.upload(data, filename="b", object_key=KEY)
    assert again.session_id != first.session_id
    assert (again.duplicate, again.generation, again.digest) == (True, 1, first.digest)
    assert again.committed_object.commit_time == first.committed_object.commit_time
    assert (await client.get_session(again.session_id)).state is SessionState.DUPLICATE
    assert here.object(PATH) == data


async def test_a_journal_whose_session_ended_as_a_duplicate_leads_to_its_answer_and_sends_nothing(
    here: World, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content(4 * KIB + 1))
    first = await client.upload(path, object_key=KEY)
    here.assembly.trouble.lose_answers["CommitSession"] = 1_000
    async with here.client(backoff=BackoffPolicy(0.01, 0.1, patience_seconds=0.5)) as dying:
        with pytest.raises(errors.GaveUp):
            await dying.upload(path, object_key=KEY)
    here.assembly.trouble.lose_answers.clear()
    created = here.ingest.trouble.calls["CreateSession"]
    again = await client.upload(path, object_key=KEY)
    assert (again.duplicate, again.generation, again.digest) == (True, 1, first.digest)
    assert (again.bytes_sent, again.bytes_resumed) == (0, again.size)
    assert here.ingest.trouble.calls["CreateSession"] == created


async def test_a_conflict_that_is_certain_is_found_before_any_byte_is_sent(here: World, client: Client) -> None:
    """Another size is other bytes; equal sizes are for the commit to judge, and so is what any generation may do."""
    await client.upload(content(3 * KIB), filename="a", object_key=KEY)
    made, frames = here.ingest.trouble.calls["CreateSession"], here.ingest.trouble.frames
    with pytest.raises(errors.GenerationMismatch):
        await client.upload(content(5 * KIB), filename="a", object_key=KEY)
    with pytest.raises(errors.GenerationMismatch) as vacant:
        await client.upload(content(5 * KIB), filename="a", object_key="nothing/here", if_generation_match=4)
    assert vacant.value.holder is None
    assert (here.ingest.trouble.calls["CreateSession"], here.ingest.trouble.frames) == (made, frames)
    with pytest.raises(errors.GenerationMismatch):
        await client.upload(content(3 * KIB, 2), filename="a", object_key=KEY)
    assert here.ingest.trouble.frames > frames


async def test_without_assembly_the_early_look_is_skipped(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes can go to ingest meanwhile; the commit is what says it."""
    monkeypatch.setattr("sealane.client.key_check.EARLY_SECONDS", 0.2)
    await here.assembly.stop()
    seen: list[int] = []
    async with here.client() as client:
        with pytest.raises(errors.DeadlineExceeded):
            await client.upload(
                content(3 * KIB),
                filename="a",
                object_key=KEY,
                progress=lambda p: seen.append(p.chunks_stored),
                timeout=3,
            )
    assert max(seen) == 3
    await here.assembly.start()


async def test_a_patience_that_is_shorter_than_the_early_look_does_not_end_the_upload(here: World) -> None:
    """What assembly does not say early is the commit's to say: the bytes go to ingest meanwhile."""
    await here.assembly.stop()
    seen: list[int] = []
    async with here.client(backoff=BackoffPolicy(0.01, 0.02, patience_seconds=0.5)) as client:
        with pytest.raises(errors.GaveUp):
            await client.upload(
                content(3 * KIB), filename="a", object_key=KEY, progress=lambda p: seen.append(p.chunks_stored)
            )
    assert max(seen, default=0) == 3
    await here.assembly.start()


async def test_an_interrupted_upload_is_resumed_for_the_same_key_and_precondition_alone(
    here: World, tmp_path: Path
) -> None:
    path = tmp_path / "film.mov"
    path.write_bytes(content(20 * KIB))

    class Enough(Exception):
        pass

    def interrupt(progress: Progress) -> None:
        if progress.chunks_stored >= 4:
            raise Enough

    one_by_one = options(parallel=1, chunks_per_stream=2)
    async with here.client() as client:
        with pytest.raises(Enough):
            await client.upload(path, object_key=KEY, progress=interrupt, stream_options=one_by_one)
        (journal,) = here.journals()
        elsewhere = await client.upload(path, object_key="other/key")
        assert elsewhere.bytes_resumed == 0
        plain = await client.upload(path)
        assert plain.bytes_resumed == 0
        assert here.journals() == [journal], "each key has a journal of its own"
        resumed = await client.upload(path, object_key=KEY)
        assert resumed.bytes_resumed >= 4 * KIB
        assert here.journals() == []
        path.write_bytes(content(20 * KIB, 2))
        with pytest.raises(Enough):
            await client.upload(path, object_key=KEY, overwrite=True, progress=interrupt, stream_options=one_by_one)
        other = await client.upload(path, object_key=KEY, if_generation_match=1)
        assert other.bytes_resumed == 0, "another precondition is another session"
        assert other.generation == 2


async def test_a_lost_answer_of_the_commit_is_no_conflict_with_oneself(here: World, client: Client) -> None:
    here.assembly.trouble.lose_answers["CommitSession"] = 2
    result = await client.upload(content(3 * KIB), filename="a", object_key=KEY)
    assert (result.generation, result.duplicate) == (1, False)


async def test_a_named_session_is_only_for_the_key_and_the_precondition_that_it_was_made_for(client: Client) -> None:
    session = await client.create_session(size=KIB, object_key=KEY, if_generation_match=7)
    assert (session.chosen_key, session.if_generation_match, session.overwrite) == (KEY, 7, False)
    data = content(KIB)
    for wrong in ({"object_key": "b"}, {"object_key": KEY}, {"object_key": KEY, "overwrite": True}):
        with pytest.raises(errors.SessionMismatch):
            await client.upload(data, session_id=session.session_id, **wrong)
    with pytest.raises(errors.GenerationMismatch):
        await client.upload(data, session_id=session.session_id, object_key=KEY, if_generation_match=7)
    with pytest.raises(errors.GenerationMismatch):
        await client.upload(data, session_id=session.session_id)
    assert (await client.get_session(session.session_id)).state is SessionState.OPEN


async def test_a_key_that_may_not_be_is_refused_before_anything_is_sent(client: Client) -> None:
    for key in ("/a", "a//b", "../a", "by-session/x", ".sealane/x", "a\\b", "x" * 256, "a\ud800"):
        with pytest.raises(errors.InvalidObjectKey):
            await client.upload(b"x", filename="a", object_key=key)
        with pytest.raises(errors.InvalidObjectKey):
            await client.get_key(key)
    with pytest.raises(errors.InvalidRequest):
        await client.upload(b"x", overwrite=True)
    with pytest.raises(errors.InvalidRequest):
        await client.upload(b"x", object_key=KEY, overwrite=True, if_generation_match=1)
    with pytest.raises(errors.InvalidRequest):
        await client.create_session(if_generation_match=1)


async def test_a_vacant_key_says_so(client: Client) -> None:
    state = await client.get_key("nobody/home")
    assert (state.object_key, state.generation, state.holder, state.cooling_until) == ("nobody/home", 0, None, None)


async def test_delete_takes_the_object_and_says_what_went(here: World, client: Client) -> None:
    """At a key of its own; a second delete finds nothing."""
    result = await client.upload(content(3 * KIB + 1), filename="a")
    deleted = await client.delete_session(result.session_id)
    assert (deleted.session_id, deleted.state) == (result.session_id, SessionState.DELETED)
    removed = {each.kind: each for each in deleted.removed}
    assert (removed["object"].count, removed["object"].bytes) == (1, 3 * KIB + 1)
    assert removed["receipt"].count == 4
    assert removed["record"].count >= 3
    assert here.objects() == []
    with pytest.raises(errors.SessionNotFound):
        await client.delete_session(result.session_id)
