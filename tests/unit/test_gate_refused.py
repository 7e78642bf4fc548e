"""A refused connection: nobody listened, so the store was away, and the gate proves it again. In virtual time."""

from __future__ import annotations

import asyncio

import pytest
import virtual_time
from gated_store import GIVEN, LACKING, Store, now, running, serving
from structlog.testing import capture_logs

from sealane.store.gate import SETTLE_SECONDS
from sealane.store.port import NoListener, NoSuchKey, OutcomeUnknown, StoreError
from sealane.store.refusals import DEAF_SECONDS, SPOILT_PROOFS


def test_a_restart_that_no_look_could_see_is_seen_by_one_refused_connection() -> None:
    """⚠ Down for half a second, long before the next look: closed at once, R2 proven two seconds after it is back."""

    async def main() -> None:
        async with serving() as store:
            store.error = NoListener("refused")
            await store.call()
            assert not store.gate.accepted
            assert not store.readiness.ready
            assert store.looks == []
            await asyncio.sleep(0.6)
            store.error, back = None, now()
            await store.until(True)
            assert store.gate.accepted
            [proof] = store.proofs
            assert proof >= back + SETTLE_SECONDS
            assert now() < back + 5, "looks come soon after a refused connection"

    virtual_time.run(main())


@pytest.mark.parametrize("error", [OutcomeUnknown("reset"), NoSuchKey()])
def test_whatever_else_befalls_one_call_closes_nothing(error: StoreError) -> None:
    """An old connection that is reset, say: stores close theirs after a while."""

    async def main() -> None:
        async with serving() as store:
            store.error = error
            await store.call()
            store.error = None
            await asyncio.sleep(60)
            assert store.readiness.ready
            assert store.proofs == []

    virtual_time.run(main())


def test_a_store_that_stays_away_is_looked_for_less_and_less_and_not_proven() -> None:
    async def main() -> None:
        async with serving() as store:
            store.error = NoListener("refused")
            begun = now()
            for _ in range(100):
                await store.call()
                await asyncio.sleep(6)
            pauses = [b - a for a, b in zip([begun, *store.looks], store.looks, strict=False)]
            assert pauses[0] <= 0.5
            assert min(pauses[8:]) >= 5, "as often as ever"
            assert store.proofs == []
            store.error = None
            await store.until(True)
            assert len(store.proofs) == 1

    virtual_time.run(main())


def test_a_crash_loop_is_proven_each_time() -> None:
    """Each outage was confirmed by a look: no refusal is taken for that of one backend of several."""

    async def main() -> None:
        async with serving() as store:
            for _ in range(5):
                store.error = NoListener("refused")
                await store.call()
                await asyncio.sleep(3)
                store.error = None
                await store.until(True)
            assert len(store.proofs) == 5

    virtual_time.run(main())


@pytest.mark.parametrize(("whose", "every"), [("k", 0.5), ("reach", 25.0)], ids=["calls", "looks"])
def test_one_backend_of_several_that_is_away_costs_seconds_each_ten_minutes_and_no_more(
    whose: str, every: float
) -> None:
    """Behind a balancer that lets its dead backend refuse: the others answer, so nothing confirms an outage."""

    async def main() -> None:
        async with serving() as store:
            end, closed = now() + 3600, 0.0
            while now() < end:
                store.refuse_next = whose
                begun = now()
                await store.call()  # refused, or answered
                await store.until(True)
                closed += now() - begun
                await asyncio.sleep(every)
            assert 6 <= len(store.proofs) <= 3600 / DEAF_SECONDS
            assert closed < len(store.proofs) * 4

    with capture_logs() as lines:
        virtual_time.run(main())
    assert "store_refuses_some" in {line["event"] for line in lines}


def test_two_looks_without_an_answer_count_while_refused_connections_do_not() -> None:
    async def main() -> None:
        async with serving() as store:
            store.error = NoListener("refused")
            await store.call()
            store.error = None
            await store.until(True)
            store.error = NoListener("refused")
            await store.call()
            assert store.gate.accepted
            await store.until(False)
            store.error = None
            await store.until(True)
            assert len(store.proofs) == 2

    virtual_time.run(main())


def test_a_store_that_refuses_while_it_is_looked_for_is_looked_for_again() -> None:
    """⚠ The look's answer may be from before: the two seconds run from an answer that came after."""

    async def main() -> None:
        async with serving() as store:
            under_way, go_on = asyncio.Event(), asyncio.Event()
            at_once = store.observed.head

            async def slow_head(key: str, *, timeout: float) -> object:
                try:
                    return await at_once(key, timeout=timeout)
                finally:
                    under_way.set()
                    await go_on.wait()

            store.observed.head = slow_head  # type: ignore[method-assign, assignment]
            await under_way.wait()
            store.error = NoListener("refused")
            await store.call()
            store.error = None
            looks = len(store.looks)
            go_on.set()
            await store.until(True)
            assert len(store.looks) > looks
            assert store.proofs[0] >= store.looks[-1] + SETTLE_SECONDS

    virtual_time.run(main())


def test_a_store_that_restarts_while_it_is_proven_is_proven_again() -> None:
    """⚠ Away and back within the two seconds: they run anew, or the proof would fall into the moment without R2."""

    async def main() -> None:
        async with serving() as store:
            store.error = NoListener("refused")
            await store.call()
            await asyncio.sleep(3)
            store.error = None
            await store.until_looked_for()
            await asyncio.sleep(SETTLE_SECONDS - 0.5)
            store.error = NoListener("refused")
            await store.call()
            await asyncio.sleep(0.4)
            store.error, back = None, now()
            await store.until(True)
            assert store.proofs[-1] >= back + SETTLE_SECONDS

    virtual_time.run(main())


def test_what_a_spoilt_proof_found_is_no_verdict() -> None:
    """A restart within the two seconds: the proof fell into the moment without R2, and the store has it again."""

    async def main() -> None:
        async with serving() as store:
            store.refuse_next = "k"
            await store.call()
            await store.until_looked_for()
            store.found = LACKING
            store.refuse_next = "k"
            await store.call()
            while not store.proofs:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.01)
            store.found = GIVEN
            await store.until(True)
            assert len(store.proofs) == 2

    virtual_time.run(main())


def test_one_backend_of_several_keeps_nobody_closed_by_refusing_others_while_the_store_is_proven() -> None:
    async def main() -> None:
        async with serving() as store:
            begun = now()
            while not store.proofs or not store.gate.accepted:
                store.refuse_next = "k"
                await store.call()
                await asyncio.sleep(0.3)
            assert len(store.proofs) == 1 + SPOILT_PROOFS
            assert now() < begun + 15
            await store.call()
            assert store.gate.accepted, "deaf"

    virtual_time.run(main())


def test_an_outage_that_two_looks_have_seen_makes_deaf_to_nothing() -> None:
    """⚠ Though a refused connection did so an hour ago."""

    async def main() -> None:
        async with serving() as store:
            store.refuse_next = "k"
            await store.call()
            await store.until(True)
            await asyncio.sleep(3600)
            store.error = OutcomeUnknown("nobody answers")
            await store.until(False)
            store.error = None
            await store.until(True)
            store.refuse_next = "k"
            await store.call()
            assert not store.gate.accepted

    virtual_time.run(main())


def test_a_store_that_comes_up_after_its_services_is_proven_two_seconds_later() -> None:
    """⚠ After a power cut all start together: the first proof must not fall into the store's first second."""

    async def main() -> None:
        store = Store()
        store.error = NoListener("refused")
        async with running(store):
            await asyncio.sleep(10)
            assert store.probes
            store.error, back = None, now()
            await store.until(True)
            assert store.probes[-1] >= back + SETTLE_SECONDS
            assert now() < back + 20

    virtual_time.run(main())


def test_a_restart_within_a_proof_is_heard_by_who_is_deaf_to_one_of_several_too() -> None:
    """⚠ The proof dials again, so nothing else would tell."""

    async def main() -> None:
        async with serving() as store:
            store.refuse_next = "k"
            await store.call()
            await store.until(True)
            store.error = OutcomeUnknown("nobody answers")
            await store.until(False)
            store.error = None
            proofs = len(store.proofs)
            store.refused_in_proofs = 1
            await store.until(True)
            assert len(store.proofs) == proofs + 2

    virtual_time.run(main())


@pytest.mark.parametrize("refusals", [1, SPOILT_PROOFS, 50])
def test_a_first_proof_in_which_connections_were_refused_is_made_again_two_seconds_later(refusals: int) -> None:
    """⚠ It dials again, so a restart in its middle fails nothing: what came before it says nothing of what is now.
    One server of several that refuses for ever keeps no service from its start."""

    async def main() -> None:
        store = Store()
        store.refused_in_proofs = refusals
        async with running(store):
            await store.until(True)
            made = min(refusals, SPOILT_PROOFS) + 1
            assert len(store.probes) == made
            assert all(b >= a + SETTLE_SECONDS for a, b in zip(store.probes, store.probes[1:], strict=False))
            store.refuse_next = "k"
            await store.call()
            assert store.gate.accepted is (refusals > SPOILT_PROOFS), "deaf only to one of several"

    virtual_time.run(main())


def test_a_proof_in_which_its_own_connections_were_refused_is_no_proof() -> None:
    async def main() -> None:
        async with serving() as store:
            store.error = NoListener("refused")
            await store.call()
            store.error = None
            store.refused_in_proofs = 1
            await store.until(True)
            assert len(store.proofs) == 2
            assert store.proofs[1] >= store.proofs[0] + SETTLE_SECONDS

    virtual_time.run(main())


def test_a_proof_with_the_probes_own_refusals_is_no_proof() -> None:
    """⚠ The probe dials again, and says so."""

    async def main() -> None:
        store = Store(probe_for_real=True)
        store.refuse_next = "r2/first"
        async with running(store):
            await store.until(True)
            assert len(store.probes) == 2

    virtual_time.run(main())


def test_where_a_twentieth_of_all_connections_is_refused_replicas_are_ready_nearly_always() -> None:
    """One dead server of twenty behind the store's address, for three hours; the proofs are the probe's own."""

    async def main() -> None:
        store = Store(refused=0.05, probe_for_real=True)
        async with running(store):
            await store.until(True)
            end, ready = now() + 3 * 3600, 0
            while now() < end:
                await store.call()
                ready += store.gate.accepted
                await asyncio.sleep(1)
            assert ready > 0.95 * 3 * 3600
            assert len(store.proofs) >= 3 * 3600 / DEAF_SECONDS / 2, "nobody listened"

    virtual_time.run(main())
