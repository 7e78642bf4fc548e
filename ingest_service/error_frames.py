"""What an exception keeps alive: through its traceback, every local variable of every frame that it went through.

A failed chunk's error outlives its chunk - the task holds it, the stream holds the task, and the frames hold both, a
cycle that only the garbage collector ends - so a chunk's bytes must not be among those variables (I13).
"""

from __future__ import annotations

import traceback


def clear_locals(error: BaseException) -> None:
    """Drop the local variables of the frames that have ended with ``error``, and with what caused it.

    Files and lines stay, for the log. Frames that are still running keep their variables.
    """
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        cause = pending.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        traceback.clear_frames(cause.__traceback__)
        pending += (cause.__cause__, cause.__context__)
        if isinstance(cause, BaseExceptionGroup):
            pending += cause.exceptions
