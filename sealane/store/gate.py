"""No promise on a store that lies: the probe's verdict at start-up, and afterwards whether the store is there.

Protocol.md section 2: a negative verdict ends the process, naming the guarantee that is missing, unless an operator
accepted that very weakness in the settings; a store out of reach is no verdict: alive, not ready, and asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from sealane.logs import get_logger
from sealane.store import keys
from sealane.store.observed import ANSWERS, NO_LISTENER
from sealane.store.port import NoListener, NoSuchKey, ObjectStore, OutcomeUnknown, StoreError
from sealane.store.probe import ProbeReport
from sealane.store.refusals import DEAF_SECONDS, Refusals

CONDITION = "store"
"""The readiness condition that the gate keeps."""

_REACH_KEY = keys.PROBE + "reach"
"""Never written: a HEAD that answers 404 has been to the store and back, for the price of one lookup."""

SETTLE_SECONDS = 2.0
"""SeaweedFS 4.48 lets two conditional PUTs win in the first second after its start (protocol.md, section 2)."""

_SPOILT = "a connection was refused while it was proven"

_log = get_logger(__name__)


Report = ProbeReport


class Conditions(Protocol):
    """Where to say whether the store is usable: :class:`sealane.rpc.health.Readiness`."""

    def set(self, ready: bool, why: str = "", *, of: str = ...) -> None: ...


class StoreRefused(Exception):
    """The store lacks a guarantee that nobody accepted to lack. ``str()`` names each, and what was seen."""

    def __init__(self, report: Report, missing: Collection[str]) -> None:
        self.report = report
        self.missing = tuple(sorted(missing))
        seen = "; ".join(f"{v.guarantee}: {v.detail} {v.private}" for v in report.verdicts if v.guarantee in missing)
        super().__init__(
            f"the object store does not give {', '.join(self.missing)} (docs/protocol.md, section 2): {seen}. "
            f"Use another store. Setting SEALANE_ACCEPT_WEAK_STORE={','.join(self.missing)} accepts the loss of data."
        )


class ProbeGate:
    """Closed until the store is proven; :meth:`run` for as long as the process serves.

    ``report`` is None until there is a verdict; ``accepted`` says whether calls may be served: no more while the store
    is away, until what it may lack at its start was tried again.
    """

    def __init__(
        self,
        store: ObjectStore,
        probe: Callable[[], Awaitable[Report]],
        readiness: Conditions,
        *,
        rng: random.Random,
        accept: Collection[str] = (),
        first_pause: float = 0.5,
        longest_pause: float = 15.0,
        watch_seconds: float = 10.0,
        reach_timeout: float = 5.0,
        prove_again: Callable[[], Awaitable[Report]] | None = None,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        """``probe()`` answers a report, or raises StoreError if the store is out of reach. Times in seconds.

        ``accept`` names guarantees that may be missing. The pauses between probes double from ``first_pause`` to
        ``longest_pause``, with full jitter; once accepted, the store is looked for every ``watch_seconds``.
        ``prove_again()`` answers a report on what a store may lack just after it came back (None: nothing); until it
        has, ``settle_seconds`` after the store's first answer, nothing is accepted. After a refused connection the
        pauses between looks grow from ``first_pause``.
        """
        self._store = store
        self._probe = probe
        self._readiness = readiness
        self._rng = rng
        self._accept = frozenset(accept)
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._watch_seconds = watch_seconds
        self._reach_timeout = reach_timeout
        self._prove_again = prove_again
        self._settle_seconds = settle_seconds
        self._heard = 0
        self._refusals = Refusals()
        self._proving = False
        self.report: Report | None = None
        self.accepted = False

    def heard(self, outcome: str) -> None:
        """Of any call to the store that has ended (:data:`sealane.store.observed.OUTCOMES`): who answers others is
        not away, however long a look takes in the crowd. A refused connection is: nobody listened, so the store's
        process is away, and may be back sooner than two looks would notice ⚠."""
        self._heard += outcome in ANSWERS
        if outcome != NO_LISTENER or self._prove_again is None:
            return
        if self._proving:  # also while others count for nothing: it costs two more proofs, no service
            self._refusals.note()
        elif self.accepted and self._refusals.count:
            self._close("NoListener", "a connection was refused")
            self._refusals.doubted()
            self._refusals.note()

    async def run(self) -> None:
        """Probe until there is a verdict, then watch, until cancelled. Raises StoreRefused."""
        self.report = await self._verdict()
        missing = frozenset(self.report.missing)
        if missing:
            _log.error("weak_store_accepted", alarm=True, missing=sorted(missing), consequence="data may be lost")
        _log.info("store_accepted", guarantees={v.guarantee: v.ok for v in self.report.verdicts})
        self.accepted = True
        self._readiness.set(True, of=CONDITION)
        await self._watch()

    async def _verdict(self) -> Report:
        """A report that lacks nothing but what is accepted. Raises StoreRefused."""
        ceiling, was_away = self._first_pause, False
        while True:
            try:
                settle = 0.0
                if was_away and self._prove_again is not None:
                    await self._answered()  # it may be starting just now, as after a power cut
                    settle = self._settle_seconds
                report = await self._proof(self._probe, settle)
                if report is None:
                    raise NoListener(_SPOILT)
                self._refuse(report)
                if report.untried:  # beside an accepted weakness: the others must still be proven
                    raise OutcomeUnknown(f"out of reach while trying {', '.join(report.untried)}")
                self._settled()
                return report
            except StoreError as error:
                was_away = True
                _log.warning("store_out_of_reach", error=type(error).__name__, detail=error.detail)
                self._readiness.set(False, f"out of reach: {type(error).__name__}", of=CONDITION)
            await asyncio.sleep(self._rng.uniform(ceiling / 2, ceiling))
            ceiling = min(2 * ceiling, self._longest_pause)

    async def _proof(self, probe: Callable[[], Awaitable[Report]], settle: float, **words: bool) -> Report | None:
        """What ``probe`` finds, ``settle`` seconds from now; None if a connection was refused meanwhile: whatever it
        found counts for nothing, as it may have begun before a restart, or in the first second after one ⚠."""
        self._refusals.forget()
        self._proving = True
        try:
            await asyncio.sleep(settle)
            _log.info("probe_began", **words)
            report = await probe()
        except StoreError:
            self._refusals.confirmed()
            raise
        finally:
            self._proving = False
        return None if self._refusals.spoil() else report

    def _settled(self) -> None:
        """The store is proven."""
        if self._refusals.settled():
            _log.warning("store_refuses_some", unheard_seconds=DEAF_SECONDS)

    def _refuse(self, report: Report) -> None:
        """StoreRefused if it lacks what nobody accepted."""
        refused = frozenset(report.missing) - self._accept
        if refused:
            self.report = report
            raise StoreRefused(report, refused)

    async def _watch(self) -> None:
        """Not ready while the store answers nobody. Two misses in a row, for one alone may be a hiccup under load; or
        one connection that was refused."""
        misses, pause = 0, self._watch_seconds
        while True:
            if await self._refusals.within(self._rng.uniform(0.5, 1.0) * pause):
                misses, pause = 2, self._first_pause
                continue
            pause = min(2 * pause, self._watch_seconds)
            heard, was_closed = self._heard, not self.accepted
            try:
                await self._answered()
                misses = 0
            except StoreError as error:
                misses = misses + 1 if heard == self._heard or not self.accepted else 0
                if was_closed or misses == 2:  # not by the very look that was refused
                    self._refusals.confirmed()
                if misses == 2:
                    self._close(type(error).__name__, error.detail)
            if self._refusals.noted:
                continue  # while it was looked for: the answer may be from before
            if misses == 0 and not self.accepted and not await self._proven_again():
                misses = 2
            if misses == 0:
                self._readiness.set(True, of=CONDITION)

    async def _answered(self) -> None:
        """One look. StoreError if the store is away."""
        with contextlib.suppress(NoSuchKey):  # or somebody wrote the key that nobody writes: an answer all the same
            await self._store.head(_REACH_KEY, timeout=self._reach_timeout)

    def _close(self, error: str, detail: str) -> None:
        _log.warning("store_away", error=error, detail=detail)
        self.accepted = self._prove_again is None
        self._readiness.set(False, f"away: {error}", of=CONDITION)

    async def _proven_again(self) -> bool:
        """Whether the store that came back still gives what it must; False if it is, or was, away again meanwhile.
        Raises StoreRefused."""
        assert self._prove_again is not None
        self._readiness.set(False, "back, and not proven again yet", of=CONDITION)
        try:
            report = await self._proof(self._prove_again, self._settle_seconds, again=True)
        except StoreError as error:
            _log.warning("store_away", error=type(error).__name__, detail=error.detail)
            return False
        if report is None:
            _log.warning("store_away", error="NoListener", detail=_SPOILT)
            return False
        self._refuse(report)
        _log.info("store_back", guarantees={v.guarantee: v.ok for v in report.verdicts})
        self._settled()
        self.accepted = True
        return True
