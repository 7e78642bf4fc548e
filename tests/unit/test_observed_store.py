"""Every call to the store is told: its operation, its outcome, its time. The one wrapper, held against the port."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from virtual_time import run

from sealane.store import observed, port
from sealane.store.observed import OPERATIONS, OUTCOMES, ObservedStore, outcome_of
from sealane.store.port import ObjectStore

CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "put": (("k", b""), {}),
    "get": (("k",), {}),
    "head": (("k",), {}),
    "delete": (("k",), {}),
    "list_objects": (("p",), {}),
    "create_multipart": (("k",), {"metadata": {}}),
    "upload_part": (("k", "u", 1, b""), {"sha256": bytes(32)}),
    "complete_multipart": (("k", "u", ()), {}),
    "abort_multipart": (("k", "u"), {}),
    "list_parts": (("k", "u"), {}),
    "list_uploads": (("p",), {}),
}
NOT_CALLS = {"bucket", "now", "aclose", "read"}
FAILURES = [kind for kind in vars(port).values() if isinstance(kind, type) and issubclass(kind, port.StoreError)]


class Slow:
    """A store whose every call takes two seconds, and then answers its own name or fails."""

    bucket = "b"

    def __init__(self, failure: BaseException | None = None) -> None:
        self._failure = failure
        self.timeouts: list[float] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any, timeout: float, **__: Any) -> str:
            self.timeouts.append(timeout)
            await asyncio.sleep(2.0)
            if self._failure is not None:
                raise self._failure
            return name

        return call

    async def read(self, key: str, *, timeout: float, block_bytes: int = 1) -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(1.0)
            yield b"x"
        if self._failure is not None:
            raise self._failure


def watched(failure: BaseException | None = None) -> tuple[Any, Slow, list[tuple[str, str, float]]]:
    told: list[tuple[str, str, float]] = []
    store = Slow(failure)
    return ObservedStore(store, lambda *each: told.append(each)), store, told  # type: ignore[arg-type]  # as much of a store as it needs


def test_the_wrapper_has_every_call_of_the_port() -> None:
    calls = {name for name in vars(ObjectStore) if not name.startswith("_")}
    assert calls - NOT_CALLS == set(CALLS)
    for name in calls - {"bucket"}:
        assert inspect.signature(getattr(ObservedStore, name)) == inspect.signature(getattr(ObjectStore, name)), name
    assert set(OPERATIONS) == {*CALLS, "read", "put_if_absent"}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_answered_is_told_with_its_time(name: str) -> None:
    store, inner, told = watched()
    args, kwargs = CALLS[name]
    answer = run(getattr(store, name)(*args, **kwargs, timeout=7.0))
    assert told == [(name, "ok", pytest.approx(2.0))]
    assert inner.timeouts == [7.0]
    assert answer in (name, None)


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_a_call_that_fails_is_told_by_the_kind_of_its_failure_and_fails_the_same(kind: type[port.StoreError]) -> None:
    failure = kind("why")
    store, _, told = watched(failure)
    with pytest.raises(kind) as raised:
        run(store.get("k", timeout=1.0))
    assert raised.value is failure
    [(operation, outcome, seconds)] = told
    assert (operation, seconds) == ("get", pytest.approx(2.0))
    assert outcome in OUTCOMES
    assert outcome not in ("ok", "bug")


def test_each_outcome_can_happen_and_the_nearest_kind_names_it() -> None:
    seen = {outcome_of(kind("")) for kind in FAILURES} | {
        "ok",
        outcome_of(asyncio.CancelledError()),
        outcome_of(KeyError()),
    }
    assert seen == set(OUTCOMES)
    assert outcome_of(port.Throttled("")) == "throttled"  # an OutcomeUnknown, too
    assert outcome_of(port.ClockSkewed("")) == "denied"


def test_a_conditional_put_is_an_operation_of_its_own() -> None:
    store, _, told = watched()
    run(store.put("k", b"", timeout=1.0, if_absent=True))
    assert told[0][0] == "put_if_absent"


def test_a_call_that_is_cancelled_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, told = watched()

    async def cancelled() -> None:
        task = asyncio.ensure_future(store.head("k", timeout=9.0))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancelled())
    assert told == [("head", "cancelled", pytest.approx(1.0))]


@pytest.mark.parametrize(("failure", "outcome"), [(None, "ok"), (port.OutcomeUnknown(""), "unknown")])
def test_a_read_is_one_call_to_its_last_block(failure: BaseException | None, outcome: str) -> None:
    store, _, told = watched(failure)

    async def read_all() -> None:
        try:
            async for _ in store.read("k", timeout=1.0):
                pass
        except port.OutcomeUnknown:
            pass

    run(read_all())
    assert told == [("read", outcome, pytest.approx(3.0))]


def test_a_read_that_is_left_early_is_told_and_closes_the_store_s_own() -> None:
    store, _, told = watched()

    async def read_one() -> None:
        blocks = store.read("k", timeout=1.0)
        async for _ in blocks:
            break
        await blocks.aclose()

    run(read_one())
    assert told == [("read", "cancelled", pytest.approx(1.0))]


def test_nothing_is_told_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span's attributes are the key and the outcome: never a body, an upload's id or a digest."""
    seen: dict[str, Any] = {}

    class Ear:
        def span(self, name: str, attributes: Any, kind: str) -> Any:
            seen.update(attributes)
            return observed.spans.NOTHING

    monkeypatch.setattr(observed.spans, "_tracer", Ear())
    store, _, _ = watched()
    run(store.upload_part("k", "secret-upload", 1, b"secret-bytes", sha256=bytes(32), timeout=1.0))
    assert seen == {"sealane.store.key": "k"}
