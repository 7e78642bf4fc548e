"""The probe accepts honest stores, and refuses each that breaks a guarantee, by that guarantee's name."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import socket
from collections.abc import Callable
from typing import TypeVar

import pytest
from suite_calls import s3_store

from sealane.dev.seaweed import SeaweedFS
from sealane.store import keys
from sealane.store.port import AccessDenied, NoListener, NoSuchBucket, ObjectStore, OutcomeUnknown, Rejected
from sealane.store.probe import GUARANTEES, ProbeReport, Verdict, probe
from sealane.store.s3 import S3Settings, S3Store
from sealane.store.simulated import SimulatedStore
from sealane.store.simulated_bucket import SimulatedBucket
from sealane.store.simulated_traits import AWS, Flaws

T = TypeVar("T")
FLAWS = {
    "list_hides_newest": "R1",
    "get_hides_newest": "R1",
    "list_loses_page_edge": "R1",
    "list_wants_whole_segments": "R1",
    "ignores_if_absent": "R2",
    "races_if_absent": "R2",
    "ignores_part_checksum": "R3",
    "ignores_etag_at_complete": "R3",
    "ignores_sha256_at_complete": "R3",
    "loses_metadata": "R4",
    "lacks_composite": "R4",
    "complete_resurrects": "R5",
    "accepts_old_signatures": "R6",
}
SEEN_BY_OTHERS = {"get_hides_newest"}
"""Flaws that show in more than one guarantee, as HEAD and GET are how the others are looked at."""


async def run(store: ObjectStore, **options: object) -> ProbeReport:
    return await probe(store, entropy=random.Random(1).randbytes, **options)  # type: ignore[arg-type]


# --- honest stores ---


async def test_an_honest_store_gives_every_guarantee_and_nothing_is_left(store: ObjectStore) -> None:
    """R1-R6 of SeaweedFS and of the simulated store in both dialects."""
    told: list[Verdict] = []
    begun: list[str] = []
    report = await run(store, on_begin=begun.append, on_verdict=told.append)
    assert begun == list(GUARANTEES)
    assert {verdict.guarantee: verdict.detail for verdict in report.verdicts if not verdict.ok} == {}
    assert [verdict.guarantee for verdict in report.verdicts] == list(GUARANTEES)
    assert (report.ok, report.missing, report.untried, report.cleaned) == (True, (), (), True)
    assert sorted(told, key=lambda verdict: verdict.guarantee) == list(report.verdicts)
    assert all(verdict.detail and verdict.duration >= 0 for verdict in report.verdicts)
    assert (await store.list_objects("", timeout=10)).objects == []
    assert (await store.list_uploads("", timeout=10)).uploads == []


async def test_the_probe_touches_only_its_own_corner() -> None:
    """I12's neighbour: nothing of a tenant is read or written."""
    store = SimulatedStore()
    await run(store)
    outside = {call for call in store.calls if not call.key.startswith(keys.PROBE) and call.key}
    assert outside == set()


async def test_probes_at_once_do_not_meet() -> None:
    """Every replica probes at start-up."""
    state = SimulatedBucket()
    rng = random.Random(7)
    probes = [probe(SimulatedStore(state), entropy=rng.randbytes) for _ in range(4)]
    reports = await asyncio.gather(*probes)
    assert all(report.ok for report in reports)
    assert len({report.prefix for report in reports}) == 4
    assert state.keys() == []


# --- stores that break one guarantee ---


def test_every_flaw_that_can_be_simulated_is_tried() -> None:
    assert set(FLAWS) == {flaw.name for flaw in dataclasses.fields(Flaws)}
    assert set(FLAWS.values()) == set(GUARANTEES)


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_store_with_one_flaw_is_refused_by_that_guarantees_name(flaw: str) -> None:
    store = SimulatedStore(SimulatedBucket(dialect=AWS, flaws=Flaws(**{flaw: True})))
    report = await run(store)
    assert not report.ok
    assert FLAWS[flaw] in report.missing
    if flaw not in SEEN_BY_OTHERS:
        assert report.missing == (FLAWS[flaw],)
    assert store.state.keys() == []
    assert store.state.open_uploads() == []


@pytest.mark.parametrize("flaw", ["list_loses_page_edge", "list_wants_whole_segments", "list_hides_newest"])
@pytest.mark.parametrize("page_keys", [10, 20, 1000])
async def test_a_cheaper_look_at_lists_pages_still_finds_a_lost_edge_and_says_how_far_it_looked(
    flaw: str, page_keys: int
) -> None:
    """R1 with SEALANE_PROBE_PAGE_KEYS: nothing is skipped, and nobody is told that more was tried than was."""
    honest = await run(SimulatedStore(), page_keys=page_keys)
    assert f"in pages of {page_keys}" in honest.verdicts[0].detail
    store = SimulatedStore(SimulatedBucket(dialect=AWS, flaws=Flaws(**{flaw: True})))
    assert (await run(store, page_keys=page_keys)).missing == ("R1",)
    assert store.state.keys() == []


@pytest.mark.parametrize("flaw", ["ignores_if_absent", "races_if_absent"])
async def test_the_race_alone_finds_a_store_without_conditional_puts(flaw: str) -> None:
    """R2: a store that is right as long as nobody races must not pass."""
    rng = random.Random(3)
    store = SimulatedStore(
        SimulatedBucket(flaws=Flaws(**{flaw: True})), latency=lambda op, key: rng.uniform(0.0, 0.001)
    )
    verdict = next(row for row in (await run(store)).verdicts if row.guarantee == "R2")
    assert not verdict.ok
    assert ("winners" in verdict.detail) == (flaw == "races_if_absent")


@pytest.mark.real_store
async def test_the_juicefs_gateway_is_refused_for_r2(juicefs: S3Settings) -> None:
    """A real server that takes If-None-Match and ignores it."""
    store = S3Store(juicefs)
    try:
        report = await run(store)
    finally:
        await store.aclose()
    assert "R2" in report.missing
    assert "If-None-Match ignored" in next(row.detail for row in report.verdicts if row.guarantee == "R2")


async def test_an_adapter_that_cannot_try_r6_is_refused_not_believed() -> None:
    """What was not tried is not given."""

    class Mute(SimulatedStore):
        refuses_old_signature = None  # type: ignore[assignment]

    report = await run(Mute())
    assert report.missing == ("R6",)
    assert "not tried" in report.verdicts[-1].detail


# --- stores that can't be tried: no verdict ---


class Fault:
    """Answers ``error`` in place of the calls that ``strikes`` picks."""

    def __init__(self, error: Exception, strikes: Callable[[str, str], bool]) -> None:
        self.error = error
        self.strikes = strikes

    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        if self.strikes(op, key):
            raise self.error
        return effect()


@pytest.mark.parametrize("error", [OutcomeUnknown("cut"), AccessDenied("403"), NoSuchBucket("none")])
@pytest.mark.parametrize("op", ["head", "put", "get", "list_objects", "upload_part", "complete_multipart"])
async def test_a_store_out_of_reach_gets_no_verdict(op: str, error: Exception) -> None:
    """Protocol.md section 2: out of reach is no verdict, whichever call finds out."""
    store = SimulatedStore(faults=Fault(error, lambda called, _: called == op))
    with pytest.raises(type(error)):
        await run(store)
    assert store.state.keys() == []
    assert store.state.open_uploads() == []


@pytest.mark.parametrize("flaw", ["", "list_loses_page_edge", "races_if_absent", "ignores_part_checksum"])
async def test_one_server_of_several_that_refuses_connections_changes_no_verdict(flaw: str) -> None:
    """A twentieth of all connects is refused, as by one dead server behind a balancer: nothing was sent, so again."""
    refuses = random.Random(20)
    store = SimulatedStore(
        SimulatedBucket(flaws=Flaws(**({flaw: True} if flaw else {}))),
        faults=Fault(NoListener("refused"), lambda op, key: "never-written" not in key and refuses.random() < 0.05),
    )
    report = await run(store)
    assert report.missing == ((FLAWS[flaw],) if flaw else ())
    assert (report.untried, report.cleaned) == ((), True)
    assert store.state.keys() == []


@pytest.mark.parametrize("op", ["head", "put", "list_objects", "upload_part"])
async def test_a_store_whose_process_is_away_gets_no_verdict(op: str) -> None:
    store = SimulatedStore(faults=Fault(NoListener("refused"), lambda called, _: called == op))
    with pytest.raises(NoListener):
        await run(store)


async def test_a_definite_refusal_of_a_plain_step_counts_against_the_guarantee() -> None:
    store = SimulatedStore(faults=Fault(Rejected("501 NotImplemented"), lambda op, _: op == "create_multipart"))
    report = await run(store)
    assert report.missing == ("R3", "R4", "R5")
    assert report.verdicts[2].private == "501 NotImplemented"
    assert report.verdicts[2].detail == "refused: Rejected"  # goes into GetServerInfo: no text of the store's


async def test_a_negative_verdict_stands_although_the_store_then_went_away() -> None:
    store = SimulatedStore(
        SimulatedBucket(flaws=Flaws(ignores_if_absent=True)),
        faults=Fault(OutcomeUnknown("cut"), lambda op, _: op == "create_multipart"),
    )
    report = await run(store)
    assert (report.missing, report.untried) == (("R2",), ("R3", "R4", "R5"))


async def test_a_store_that_is_too_slow_gets_no_verdict() -> None:
    """I14: the probe ends by its own deadline, the clearing up included."""
    store = SimulatedStore(faults=Never())
    with pytest.raises(OutcomeUnknown):
        await run(store, timeout=0.05, call_timeout=0.1)


class Never:
    async def around(self, op: str, key: str, effect: Callable[[], T]) -> T:
        never: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        return await never


async def test_a_probe_that_is_cancelled_clears_up_behind_itself() -> None:
    in_full_swing = asyncio.Event()

    def strikes(op: str, key: str) -> bool:
        if len(store.state.keys()) >= 100:
            in_full_swing.set()
        return False

    store = SimulatedStore(faults=Fault(OutcomeUnknown(), strikes))
    task = asyncio.create_task(run(store))
    await in_full_swing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.state.keys() == []
    assert store.state.open_uploads() == []


async def test_a_failed_clearing_up_is_said_and_changes_no_verdict() -> None:
    store = SimulatedStore(faults=Fault(OutcomeUnknown("cut"), lambda op, _: op == "list_uploads"))
    report = await run(store)
    assert (report.ok, report.cleaned) == (True, False)


@pytest.mark.real_store
async def test_a_wrong_key_or_bucket_or_port_gets_no_verdict(seaweed: SeaweedFS, bucket: str) -> None:
    """The settings are wrong, or the store is away: neither says what it guarantees."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        settings = [
            (seaweed.endpoint, bucket, "wrong", AccessDenied),
            (seaweed.endpoint, "no-such-bucket", seaweed.secret_key, NoSuchBucket),
            (nobody, bucket, seaweed.secret_key, OutcomeUnknown),
        ]
        for endpoint, name, secret, error in settings:
            store = s3_store(endpoint, name, seaweed.access_key, secret)
            with pytest.raises(error):
                await run(store)
            await store.aclose()
