"""Guards that show only at one moment: each test here fails if its guard is taken away (tests/mutants)."""

from __future__ import annotations

from typing import Any

import pytest
from assembly_faults import Fault, first, loses_answer, refuses
from assembly_time import run, wait
from assembly_world import EXPIRED_AFTER, IMPATIENT, OUTCOME_AFTER, TENANT, Replica, Session, World, content_of
from audited import audit, kinds

from assembly_service.audit_findings import AuditKind
from assembly_service.servicer import _in_time
from sealane.domain.claims import ANY
from sealane.domain.decision import Decision
from sealane.domain.errors import ChunkNeeded, InternalError, ObjectCorrupt, OutcomeUnknown, SessionNotFound
from sealane.domain.records import DeletedRecord, DoneRecord, LostRecord, MultipartRecord
from sealane.domain.states import SessionState
from sealane.rpc.call import Call, enter_call, this_call
from sealane.store import keys, port
from sealane.store.deadline import Deadline
from sealane.store.simulated_traits import AWS

KEY = "reports/november.bin"
ONE, TWO = content_of(2500, 1), content_of(2500, 2)


async def delete(replica: Replica, session: Session) -> None:
    await replica.assembly.deleter.delete(TENANT, session.id, Deadline.after(300))


# --- If-None-Match ---


def test_every_record_and_every_claim_is_written_with_if_none_match() -> None:
    """Section 3: created once, never changed. (A receipt is no record: its key says all.)"""

    async def main() -> None:
        world = World()
        written: dict[str, set[bool]] = {}

        def replica() -> Replica:
            made = world.replica(retention=IMPATIENT)
            real = made.store.put

            async def put(key: str, body: bytes, *, if_absent: bool = False, **given: Any) -> str:
                name = "claim" if "/claims/" in key else key.rsplit("/", 1)[-1]
                written.setdefault(name, set()).add(if_absent)
                return await real(key, body, if_absent=if_absent, **given)

            made.store.put = put  # type: ignore[method-assign]
            return made

        for content, chosen in ((ONE, ""), (b"", ""), (TWO, KEY)):
            session = await world.session(content, object_key=chosen)
            await replica().commit(session)
            await delete(replica(), session)
        await replica().abort(await world.session())
        await world.session()
        await wait(EXPIRED_AFTER)
        await replica().sweep_all()
        names = {keys.SESSION, keys.MULTIPART, keys.DECISION, keys.DONE, keys.DELETED, "claim"}
        assert written == {name: {True} for name in names}

    run(main())


# --- session.json is read again ---


async def purge(world: World, session: Session) -> None:
    for key in world.bucket.keys(keys.session_prefix(TENANT, session.id)):
        await world.plain.delete(key, timeout=30)


@pytest.mark.parametrize("method", ["commit", "verify", "outcome"])
def test_a_decision_that_lands_behind_a_purge_means_nothing_to_whoever_read_the_session_before(method: str) -> None:
    """⚠ Section 3: a decision counts only if session.json is read after it and is there."""

    async def main() -> None:
        world = World()
        session = await world.session()
        decision = Decision.commit(session.id, session.parameters, session.upload_id, session.receipts)

        async def purged_and_landed() -> None:
            await purge(world, session)
            await world.put_record(session, keys.DECISION, decision.encode())

        replica = world.replica(faults=Fault("get", keys.DECISION, first(purged_and_landed)))
        with pytest.raises(SessionNotFound):
            await getattr(replica, method)(session)
        assert "complete_multipart" not in {call.op for call in replica.store.calls}

    run(main())


@pytest.mark.parametrize("method", ["commit", "verify", "outcome"])
def test_done_json_of_a_session_that_is_deleted_between_two_reads_is_no_success(method: str) -> None:
    """⚠ I8, I9: deleted.json came behind its read, and the object has gone; session.json goes before done.json."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)

        async def deleted_as_far_as_session_json() -> None:
            await world.put_record(session, keys.DELETED, DeletedRecord(session.id).encode())
            for key in (session.record.key, keys.record(TENANT, session.id, keys.SESSION)):
                await world.plain.delete(key, timeout=30)

        replica = world.replica(faults=Fault("get", keys.DONE, first(deleted_as_far_as_session_json)))
        with pytest.raises(SessionNotFound):
            await getattr(replica, method)(session)

    run(main())


@pytest.mark.parametrize("name", [keys.SESSION, keys.DECISION, keys.DONE, keys.DELETED, keys.MULTIPART])
def test_another_sessions_record_is_believed_of_nobody(name: str) -> None:
    """Section 11: a record names its session, and a copy of it under another's key decides nothing."""

    async def main() -> None:
        world = World()
        other, session = await world.session(), await world.session()
        await world.replica().commit(other)
        await world.put_record(other, keys.DELETED, DeletedRecord(other.id).encode())
        copied = world.read(other, name)
        assert copied is not None
        await world.plain.put(keys.record(TENANT, session.id, name), copied, timeout=30)
        with pytest.raises(InternalError):
            await world.replica().commit(session)
        assert world.object(session) is None

    run(main())


def test_a_decision_that_can_not_be_read_back_is_an_unknown_outcome() -> None:
    """Section 6: "never failed", for it may have landed."""

    async def main() -> None:
        world = World()
        session = await world.session()
        fault = Fault("get", keys.DECISION, refuses(port.OutcomeUnknown("503")), nth=2, times=10**6)
        with pytest.raises(OutcomeUnknown):
            await world.replica(faults=fault).commit(session, seconds=20)
        assert world.decision(session) is not None

    run(main())


# --- CMU and what follows ---


def test_an_empty_object_is_made_in_the_upload_that_multipart_json_names() -> None:
    """⚠ Section 4, step 5: whoever lost the race uses what the record names, though its writer has crashed."""

    async def main() -> None:
        world = World()
        session = await world.session(b"")

        async def another_was_faster() -> None:
            upload_id = await world.start_upload(session)
            await world.put_record(session, keys.MULTIPART, MultipartRecord(session.id, upload_id).encode())

        await world.replica(faults=Fault("put", keys.MULTIPART, first(another_was_faster))).commit(session)
        assert world.object(session) == b""
        assert world.bucket.open_uploads() == []

    run(main())


def test_a_cmu_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() -> None:
    """Section 6: HEAD; ours → success; else again."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica(faults=Fault("complete_multipart", session.record.key, loses_answer))
        await replica.commit(session)
        assert sum(call.op == "complete_multipart" for call in replica.store.calls) == 1

    run(main())


def test_before_lost_is_written_done_json_is_read() -> None:
    """⚠ Sections 3 and 6: LOST is not even proposed where done.json has the answer."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session()
        answer = await world.replica().commit(session)
        body = world.read(session, keys.DONE) or b""
        await world.plain.delete(session.record.key, timeout=30)  # as if HEAD could not see it
        await world.plain.delete(keys.record(TENANT, session.id, keys.DONE), timeout=30)
        put_back = Fault("list_parts", session.record.key, first(lambda: world.put_record(session, keys.DONE, body)))
        replica = world.replica(faults=put_back)
        assert await replica.commit(session) == answer
        assert not [call for call in replica.store.calls if call.op == "put" and call.key.endswith(keys.DONE)]

    run(main())


def test_of_an_object_that_is_longer_than_committed_no_more_is_read_than_that_takes() -> None:
    """I14: the proof at rest ends, whatever somebody put there."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        await world.plain.put(session.record.key, bytes(8 << 20), timeout=30)
        with pytest.raises(ObjectCorrupt) as caught:
            async for _ in replica.assembly.object_verifier.verify(TENANT, session.id, Deadline.after(300)):
                pass
        assert caught.value.actual_size is not None
        assert caught.value.actual_size <= 1 << 20  # one block

    run(main())


def test_i14_an_unknown_outcome_is_said_before_the_callers_time_is_up() -> None:
    """Section 6, "at the deadline: outcome unknown, repeat"; behind the deadline nobody hears it."""

    async def main() -> None:
        enter_call(Call("/m", TENANT, "somebody", "r", Deadline.after(10)))
        assert this_call().deadline.at - _in_time().at == pytest.approx(0.25)
        enter_call(Call("/m", TENANT, "somebody", "r", Deadline.after(1)))
        assert this_call().deadline.at - _in_time().at == pytest.approx(0.1)

    run(main())


# --- what goes, and when ---


def test_receipts_whose_delete_did_nothing_are_deleted_again() -> None:
    """⚠ Section 6, "confirm before the next step": gone is what LIST does not show any more."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().abort(session)
        await wait(OUTCOME_AFTER)
        receipt = keys.receipt(TENANT, session.id, session.receipts[1])
        deaf = Fault("delete", receipt, lambda effect: None, times=5)
        await world.replica(faults=deaf).sweep(session)
        assert deaf.fired == 5
        assert world.leftovers(session) == []

    run(main())


def test_i11_the_decision_is_not_touched_while_anything_else_of_the_session_is_there() -> None:
    """⚠ W3, W6: it goes last of all, and not with the rest as well."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await world.plain.delete(keys.record(TENANT, session.id, keys.SESSION), timeout=30)
        replica = world.replica()
        await replica.sweep(session)
        prefix = keys.session_prefix(TENANT, session.id)
        gone = [call.key for call in replica.store.calls if call.op == "delete" and call.key.startswith(prefix)]
        assert gone.index(keys.record(TENANT, session.id, keys.DECISION)) == len(gone) - 1
        assert world.leftovers(session) == []

    run(main())


def test_w2_a_loss_can_be_asked_for_from_its_done_json_on() -> None:
    """W2: the outcome retention of LOST begins when it was lost, however old the decision is."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.decide(session)
        await wait(OUTCOME_AFTER)
        await world.put_record(session, keys.DONE, LostRecord(session.id, "x").encode())
        await world.replica().sweep(session)
        assert (await world.replica().outcome(session))[0] is SessionState.LOST
        await wait(OUTCOME_AFTER)
        await world.replica().sweep(session)
        assert world.leftovers(session) == []

    run(main())


def test_w5_deleted_json_is_there_before_the_object_goes() -> None:
    """I8: nobody answers from done.json for an object that is being removed."""

    async def main() -> None:
        world = World()
        session = await world.session()
        await world.replica().commit(session)
        seen: list[bytes | None] = []

        async def look() -> None:
            seen.append(world.read(session, keys.DELETED))

        await delete(world.replica(faults=Fault("delete", session.record.key, first(look))), session)
        assert seen == [DeletedRecord(session.id).encode()]

    run(main())


# --- chosen keys ---


@pytest.mark.parametrize("forged", ["another number", "another generation"])
def test_i16_a_claim_that_is_a_copy_of_another_is_believed_by_nobody(forged: str) -> None:
    """Section 11: claim *n* proposes generation *n*, and its session is committed as that, or nothing follows."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)
        await world.replica().commit(session)
        (claim,) = world.claims(KEY)
        if forged == "another number":
            await world.plain.put(keys.claim(TENANT, KEY, 2), claim.encode(), timeout=30)
        else:
            await world.claim(session, 2)
        with pytest.raises(InternalError):
            await world.replica().commit(await world.session(TWO, object_key=KEY, precondition=ANY))
        stored = world.bucket.object(session.record.key)
        assert stored is not None
        assert b"".join(stored.read()) == ONE

    run(main())


def test_i8_a_claimant_that_is_purged_while_it_is_judged_holds_nothing() -> None:
    """⚠ Section 8, step 2: its session.json is read last."""

    async def main() -> None:
        world = World()
        gone = await world.session(ONE, object_key=KEY)
        await world.claim(gone, 1)
        session = await world.session(TWO, object_key=KEY)
        ending = f"{gone.id}/{keys.DECISION}"
        replica = world.replica(faults=Fault("get", ending, first(lambda: purge(world, gone))))
        assert (await replica.verify(session)).state is SessionState.OPEN

    run(main())


def test_w7_a_generation_is_not_replaced_while_the_later_one_is_not_done() -> None:
    """⚠ W7: until then the object at the key is still its own, and so are its records."""

    async def main() -> None:
        world = World()
        session = await world.session(ONE, object_key=KEY)
        await world.replica().commit(session)
        later = await world.session(TWO, object_key=KEY, precondition=ANY)
        await world.put_record(later, keys.DECISION, (await world.claim(later, 2)).encode())
        await wait(OUTCOME_AFTER)
        await world.replica(retention=IMPATIENT).sweep(session)
        assert isinstance(world.done(session), DoneRecord)
        assert world.read(session, keys.DELETED) is None

    run(main())


@pytest.mark.parametrize("by", ["sweeper", "audit"])
def test_w6_i3_the_upload_of_a_commit_that_waits_for_its_client_is_not_aborted_at_a_chosen_key(by: str) -> None:
    """⚠ W6: "a decision **other than COMMIT**": this one can still be mended, and then its upload is completed."""

    async def main() -> None:
        world = World(AWS)
        session = await world.session(ONE, object_key=KEY, ttl=30 * 24 * 3600)
        await world.store_part(session, 0, b"x" * 1024)  # a late writer's
        with pytest.raises(ChunkNeeded):
            await world.replica().commit(session)
        await wait(OUTCOME_AFTER)
        if by == "sweeper":
            await world.replica().sweep_all()
        else:
            findings, _, _ = await audit(world.replica(), repair=True)
            assert AuditKind.UPLOAD_WITHOUT_SESSION not in kinds(findings)
        await world.store_part(session, 0, session.chunk(0))
        await world.replica().commit(session)
        stored = world.bucket.object(session.record.key)
        assert stored is not None
        assert b"".join(stored.read()) == ONE

    run(main())
