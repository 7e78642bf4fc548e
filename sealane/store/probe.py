"""The probe: does this store give R1-R6 (docs/protocol.md, section 2)? Tried, not asked.

Stores that call themselves S3-compatible break these silently: one that ignores ``If-None-Match`` answers 200 and lets
two decisions of one session stand. So both services run :func:`probe` before they serve, and ``sealane doctor``
shows its rows. It costs about 1,100 small objects and 5 MiB under ``.sealane/.probe/{random}/``, and leaves nothing.

A negative verdict is given only where the store *answered*, and answered wrongly. A store out of reach raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from sealane.store import probe_checks
from sealane.store.port import AccessDenied, NoSuchBucket, ObjectStore, OutcomeUnknown, StoreError
from sealane.store.probe_scratch import PAGE_KEYS, Broken, Scratch, all_of

GUARANTEES: dict[str, str] = {
    "R1": "read-after-write for GET, HEAD and LIST",
    "R2": "PUT If-None-Match: * is atomic",
    "R3": "UploadPart and CompleteMultipartUpload refuse what differs from the SHA-256 or ETag named",
    "R4": "HEAD gives back an upload's metadata and its composite SHA-256",
    "R5": "a repeated CompleteMultipartUpload never brings old bytes back",
    "R6": "a request signed more than 15 minutes ago is refused",
}

LOST_AT_START = ("R2",)
"""What a store that keeps its promises may lack for a moment after its start: tried again whenever it was away."""

Check = Callable[[Scratch], Awaitable[str]]

_CHECKS: dict[str, Check] = {
    "R1": probe_checks.reads_see_writes,
    "R2": probe_checks.conditional_puts_have_one_winner,
    "R3": probe_checks.wrong_parts_are_refused,
    "R4": probe_checks.uploads_keep_their_labels,
    "R5": probe_checks.completions_do_not_resurrect,
    "R6": probe_checks.old_signatures_are_refused,
}

_NO_VERDICT = (OutcomeUnknown, AccessDenied, NoSuchBucket)
"""The store could not be tried: it is away, or the settings are wrong. Neither says what it guarantees."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one guarantee. ``detail`` says what was tried, or what went wrong, in our own words: it is
    public. ``private`` is what the store itself said (keys, request ids): for the operator, never for the wire."""

    guarantee: str
    ok: bool
    detail: str
    duration: float
    """Seconds of the loop's clock, with the other checks running beside it."""
    private: str = ""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """``verdicts`` in order of the guarantees. ``untried`` are those that the store was out of reach for, which only
    happens beside a negative verdict. ``cleaned`` is False if something may be left under ``prefix``."""

    verdicts: tuple[Verdict, ...]
    untried: tuple[str, ...]
    prefix: str
    cleaned: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The guarantees that the store does not give."""
        return tuple(verdict.guarantee for verdict in self.verdicts if not verdict.ok)

    @property
    def ok(self) -> bool:
        """Whether the store gives them all."""
        return not self.missing


async def probe(
    store: ObjectStore,
    *,
    entropy: Callable[[int], bytes],
    timeout: float = 120.0,
    call_timeout: float = 30.0,
    races: int = 6,
    race_seconds: float = 1.0,
    page_keys: int = PAGE_KEYS,
    only: Collection[str] = tuple(GUARANTEES),
    on_begin: Callable[[str], None] | None = None,
    on_verdict: Callable[[Verdict], None] | None = None,
    on_refused: Callable[[], None] | None = None,
) -> ProbeReport:
    """Try every guarantee (or ``only`` those named), and clean up.

    ``timeout`` and ``call_timeout`` are seconds for the whole and for each call: SeaweedFS 4.48 lets a contender of a
    race wait for ten and more. R2 has to survive ``races`` 16-way races, two at a time; after ``race_seconds`` no more
    are begun, as a store that makes contenders wait is one that has them take turns. LIST is tried at the edges of
    pages of ``page_keys`` (at least 10), which costs two calls a key; R1's verdict names the number. ``entropy(n)``
    gives n random bytes; ``on_begin`` is told each guarantee that is now tried (the store has answered by then), and
    ``on_verdict`` each row as it is found, in no fixed order. ``on_refused`` is told of each refused connection after
    the first answer: it is dialled again, so one dead server of several spoils nothing, but a restart looks alike.

    Raises OutcomeUnknown if the store is out of reach or too slow, AccessDenied or NoSuchBucket if the settings don't
    open it: no verdict, ask again. A negative verdict on another guarantee stands all the same.
    """
    scratch = Scratch(
        store,
        entropy=entropy,
        timeout=call_timeout,
        races=races,
        race_seconds=race_seconds,
        page_keys=page_keys,
        on_refused=on_refused,
    )
    checks = {guarantee: check for guarantee, check in _CHECKS.items() if guarantee in only}
    verdicts: dict[str, Verdict] = {}
    out_of_reach: list[StoreError] = []

    async def attempt(guarantee: str, check: Check) -> None:
        if on_begin is not None:
            on_begin(guarantee)
        try:
            verdict = verdicts[guarantee] = await _judge(guarantee, check, scratch)
        except _NO_VERDICT as error:
            out_of_reach.append(error)
        else:
            if on_verdict is not None:
                on_verdict(verdict)

    try:
        async with asyncio.timeout(timeout):
            await scratch.reach()
            # Side by side: start-up waits for the slowest alone, which is R1's thousand keys or R2's races.
            await all_of(*(attempt(guarantee, check) for guarantee, check in checks.items()))
    except TimeoutError:
        out_of_reach.append(OutcomeUnknown(f"the probe did not end within {timeout} s"))
    finally:
        cleaned = await scratch.clean()
    if out_of_reach and all(verdict.ok for verdict in verdicts.values()):
        raise out_of_reach[0]
    found = tuple(verdicts[guarantee] for guarantee in checks if guarantee in verdicts)
    untried = tuple(guarantee for guarantee in checks if guarantee not in verdicts)
    return ProbeReport(found, untried, scratch.prefix, cleaned)


async def _judge(guarantee: str, check: Check, scratch: Scratch) -> Verdict:
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        detail, ok = await check(scratch), True
    except Broken as error:
        detail, ok = str(error), False
    except _NO_VERDICT:
        raise
    except StoreError as error:
        # The check's own steps are what any store with this guarantee does: a definite refusal of one is an answer.
        return Verdict(guarantee, False, f"refused: {type(error).__name__}", loop.time() - start, private=error.detail)
    return Verdict(guarantee, ok, detail, loop.time() - start)
