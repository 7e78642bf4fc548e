"""An event loop in virtual time; its callbacks belong to processes that may crash, stand still, tell the time wrong.

One seed gives one run: time moves only when nothing is left to do, timers of one moment fire in the order in which they
were set, and sets of tasks are walked in the order in which the tasks were made. There are no threads.

A *process* is a context variable, which tasks and timers inherit. Of a process that has crashed nothing is ever run
again, not even a ``finally``: that is a crash at the very await that it was in. A process that stands still runs on
later, from where it was, either with its clock stopped meanwhile (a paused virtual machine) or not (SIGSTOP).
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import contextlib
import contextvars
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
_process = PROCESS.get
_copy_context = contextvars.copy_context
_push, _pop = heapq.heappush, heapq.heappop


class Stuck(Exception):
    """Nothing is left to wait for, or there is no end of it: a deadlock, or a livelock."""


class Halted(Exception):
    """The run was ended from within."""


class Process:
    """What crashes, stands still and has a wrong clock, as one. Made by :meth:`Loop.process`."""

    def __init__(self, loop: Loop, name: str, life: int) -> None:
        self.loop = loop
        self.name = name
        self.life = life
        """0 at first; one more after each crash."""
        self.dead = False
        self.stalled = False
        self.lag = 0.0
        """Seconds for which its clock stood."""
        self._clock_stands_at: float | None = None
        self.skew = 0.0
        """Seconds by which its wall clock is wrong."""
        self.steps = 0
        self.fates: dict[int, Callable[[], None]] = {}
        """What happens to it before its nth step."""
        self.held: list[Handle] = []
        self.ends: list[Callable[[], None]] = []
        """Called, by the world, when it crashes."""
        self.stood = 0.0
        """Seconds for which it stood still while its clock went on."""
        self.after_wake: list[Callable[[], object]] = []
        self.context = contextvars.Context()
        self.context.run(PROCESS.set, self)

    @property
    def clock(self) -> float:
        """Its monotonic clock, which may stand just now."""
        return self.loop.now - self.lag if self._clock_stands_at is None else self._clock_stands_at

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as this process."""
        return self.loop.create_task(work, context=self.context.copy())

    def crash(self) -> None:
        """Nothing of it runs again; whoever was connected hears of it."""
        if not self.dead:
            self.dead = True
            self.held.clear()
            for end in self.ends:
                end()

    def stall(self, seconds: float, *, clock_stops: bool) -> None:
        """Stand still for ``seconds``."""
        if self.dead or self.stalled:
            return
        self.stalled = True
        loop = self.loop
        if clock_stops:
            loop.shift(self, seconds)
            self._clock_stands_at = self.clock

        def wake() -> None:
            self.stalled = False
            if clock_stops:
                self.lag += seconds
                self._clock_stands_at = None
            else:
                self.stood += seconds
            held, self.held = self.held, []
            for handle in held:
                loop.ready(handle)
            waiting, self.after_wake = self.after_wake, []
            for act in waiting:
                act()

        loop.world_at(loop.now + seconds, wake)


class Handle:
    """A callback that is due, or will be: as much of asyncio.TimerHandle as is asked for. None: it was cancelled."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Any, args: tuple[Any, ...], context: contextvars.Context) -> None:
        self.callback = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        self.callback = self.args = None  # type: ignore[assignment]  # nobody asks for them any more

    def cancelled(self) -> bool:
        return self.callback is None


class SimTask(asyncio.Task[T]):
    """A task with a place of its own in sets, the same in every run; silent if it never ends."""

    serial: int

    def __hash__(self) -> int:
        return self.serial

    def __eq__(self, other: object) -> bool:
        return self is other


class Loop(asyncio.BaseEventLoop):
    """See the module's text."""

    def __init__(self, *, start: float = 1_000_000.0, max_steps: int = 400_000) -> None:
        super().__init__()
        self.now = start
        self.over = False
        self.halted = False
        """Somebody has seen enough: :meth:`run` raises Halted."""
        self.steps = 0
        self.processes: list[Process] = []
        self.tasks: list[asyncio.Task[Any]] = []
        """All of them, kept: one that is lost in a crash must not be collected, and closed, while the run goes on."""
        self.failure: BaseException | None = None
        self._max_steps = max_steps
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._set = 0
        self._world = contextvars.Context()
        # asyncio's register of all tasks is a set of weak references that nobody asks here; ours is ``tasks``.
        asyncio.tasks._all_tasks.add = _unregistered  # type: ignore[attr-defined]

    def process(self, name: str, life: int = 0) -> Process:
        process = Process(self, name, life)
        self.processes.append(process)
        return process

    # --- what asyncio asks of a loop ---

    def time(self) -> float:
        process = _process()
        return self.now if process is None else self.now - process.lag

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, _copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Handle:  # type: ignore[override]
        if context is None:
            context = _copy_context()
        process = context.get(PROCESS)
        if process is not None:
            when += process.lag
        timer = Handle(callback, args, context)
        self._set += 1
        _push(self._timers, (when, self._set, timer))
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Handle:  # type: ignore[override]
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def world_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """``callback`` at that moment, whoever crashes: what is on its way stays on its way."""
        timer = Handle(callback, args, self._world)
        self._set += 1
        _push(self._timers, (when, self._set, timer))
        return timer

    def world_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Handle:
        timer = Handle(callback, args, self._world)
        self._set += 1
        _push(self._timers, (self.now + delay, self._set, timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: Any = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        task: SimTask[Any] = SimTask(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch for just that
        self.tasks.append(task)
        task.serial = len(self.tasks)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """At once, on the loop."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the awaiting code gets whatever the job raised
            future.set_exception(error)
        return future

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Handle:  # type: ignore[override]
        raise AssertionError("a thread in the simulation")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.over and context.get("exception") is not None:
            self.failure = self.failure or context["exception"]
            self.halted = True

    get_debug = bool  # False; asked for each future, and no frame is made for it

    # --- running ---

    def ready(self, handle: Handle) -> None:
        self._ready.append(handle)

    def shift(self, process: Process, seconds: float) -> None:
        """All of its timers go off ``seconds`` later."""
        moved = []
        for when, order, timer in self._timers:
            mine = timer.context.get(PROCESS) is process
            moved.append((when + seconds if mine else when, order, timer))
        heapq.heapify(moved)
        self._timers = moved

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run ``main``, which belongs to no process, to its end."""
        events._set_running_loop(self)
        try:
            task = self.create_task(main, context=contextvars.Context())
            self._steps(task)
            result: T = task.result()
            return result
        finally:
            events._set_running_loop(None)

    def end(self) -> None:
        """Let go of everything that a crash, or the end, has left in the middle: none of it runs on."""
        self.over = True
        for task in self.tasks:
            if not task.done():
                with contextlib.suppress(BaseException):  # whatever its ``finally`` tries in vain
                    task.get_coro().close()
        self.tasks.clear()
        self._timers.clear()
        self._ready.clear()
        asyncio.tasks._all_tasks.clear()  # type: ignore[attr-defined]

    def _steps(self, task: asyncio.Task[Any]) -> None:
        """Until ``task`` has ended. One function for all steps, of which a run has some six hundred."""
        ready, done, most = self._ready, task.done, self._max_steps
        while not done():
            if not ready:
                if not self._timers:
                    raise Stuck("nothing is left to wait for")
                when, _, handle = _pop(self._timers)
                if handle.callback is None:
                    continue
                if when > self.now:
                    self.now = when
            else:
                handle = ready.popleft()
                if handle.callback is None:
                    continue
            process = handle.context.get(PROCESS)
            if process is not None:
                if process.dead:
                    continue
                if process.stalled:
                    process.held.append(handle)
                    continue
                process.steps += 1
                if process.fates and (fate := process.fates.pop(process.steps, None)) is not None:
                    ready.appendleft(handle)
                    process.steps -= 1
                    fate()
                    if self.halted:
                        raise Halted
                    continue
            self.steps += 1
            if self.steps > most:
                raise Stuck(f"no end after {self.steps} steps, at {self.now:.1f} s")
            handle.context.run(handle.callback, *handle.args)
            if self.halted:
                raise Halted


def _unregistered(task: asyncio.Task[Any]) -> None:
    """In place of the WeakSet's own."""
