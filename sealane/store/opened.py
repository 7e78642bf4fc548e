"""The S3 store as both services open it: every call watched, and a gate before it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from functools import partial

from sealane.domain.ids import Entropy
from sealane.store.gate import Conditions, ProbeGate
from sealane.store.observed import NO_LISTENER, Ended, ObservedStore
from sealane.store.probe import LOST_AT_START, probe
from sealane.store.s3 import S3Store
from sealane.store.s3_settings import S3Settings


def open_store(
    settings: S3Settings,
    *,
    readiness: Conditions,
    ended: Ended,
    waited: Callable[[float], None],
    rng: random.Random,
    entropy: Entropy,
    accept: Collection[str],
    page_keys: int,
    look_seconds: float,
) -> tuple[ObservedStore, ProbeGate]:
    """The store, and its gate, which hears of every call, and runs from the caller's task (:meth:`ProbeGate.run`).

    ``ended`` is told of each call, ``waited`` the seconds that one waited for a connection. The probe tries LIST at the
    edges of pages of ``page_keys``; ``accept`` names what the store may lack. It is looked for every ``look_seconds``.
    """
    s3 = S3Store(settings, waited=waited)

    def heard(operation: str, outcome: str, seconds: float) -> None:
        ended(operation, outcome, seconds)
        gate.heard(outcome)

    def refused() -> None:
        gate.heard(NO_LISTENER)

    store = ObservedStore(s3, heard)
    # Not through the watched store: R6 asks the adapter for more than the port has, and a probe is nobody's traffic.
    prove = partial(probe, s3, entropy=entropy, on_refused=refused)
    gate = ProbeGate(
        store,
        partial(prove, page_keys=page_keys),
        readiness,
        rng=rng,
        accept=accept,
        watch_seconds=look_seconds,
        prove_again=partial(prove, only=LOST_AT_START),
    )
    return store, gate
