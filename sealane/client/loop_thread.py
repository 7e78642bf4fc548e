"""An event loop in a thread of its own, and calls into it from other threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from sealane.client.thread_call import CANCEL_SECONDS, ThreadCall

T = TypeVar("T")
Event = TypeVar("Event")

_END = object()


class LoopThread:
    """Runs coroutines for other threads, which wait for them. One that is interrupted cancels its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sealane-client", daemon=True)
        self._thread.start()
        self._closed = False
        self._lock = threading.Lock()
        self._live: set[ThreadCall[Any]] = set()

    def _close(self, close_client: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End all calls, close the client, end the thread. Harmless twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            live = [*self._live]
        for call in live:
            call.close()
        concurrent.futures.wait([call.outcome for call in live], timeout=CANCEL_SECONDS)
        try:
            for last in (close_client, self._loop.shutdown_asyncgens, self._loop.shutdown_default_executor):
                ThreadCall(self._loop, last()).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _start(self, work: Coroutine[Any, Any, T]) -> ThreadCall[T]:
        with self._lock:
            if not self._closed:
                call = ThreadCall(self._loop, work)
                self._live.add(call)
                call.outcome.add_done_callback(lambda _: self._live.discard(call))
                return call
        work.close()
        raise RuntimeError("the client is closed")

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._start(work).result()

    def _with_events(
        self,
        start: Callable[[Callable[[Event], None] | None], Coroutine[Any, Any, T]],
        handle: Callable[[Event], None] | None,
    ) -> T:
        """Run a call whose events are handled here, in the caller's thread: of those that wait, the latest."""
        if handle is None:
            return self._run(start(None))
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        call = self._start(start(events.put))
        call.outcome.add_done_callback(lambda _: events.put(None))
        try:
            ended = False
            while not ended:
                lot = [events.get()]
                while not events.empty():
                    lot.append(events.get())
                ended = lot[-1] is None
                news = [event for event in lot if event is not None]
                if news:
                    handle(news[-1])
        except BaseException:
            call.cancel()
            raise
        return call.result()

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while (item := self._run(_next(items))) is not _END:
                yield item  # type: ignore[misc]  # not _END, so a T
        finally:
            if not self._closed:
                self._run(items.aclose())


async def _next(items: AsyncGenerator[T, None]) -> T | object:
    return await anext(items, _END)
