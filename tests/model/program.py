"""How a program is written: a method ``at_<place>`` for each call, giving every way that the call may go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from tests.model.checker import Actor, Local, Step

S = TypeVar("S", bound=tuple[Any, ...])

END: Local = ("end",)
"""No step leads on from here."""


class Program(Generic[S]):
    """``name`` is the actor's. A local state is (place, …): what follows the place is the method's arguments."""

    start: Local = END

    def __init__(self, name: str) -> None:
        self.name = name
        self._places: dict[str, Callable[..., Iterator[Step[S]]]] = {
            place.removeprefix("at_"): getattr(self, place) for place in dir(self) if place.startswith("at_")
        }

    def actor(self) -> Actor[S]:
        return Actor(self.name, self.start, self.steps)

    def steps(self, store: S, me: Local) -> list[Step[S]]:
        """Every step that may come next."""
        place = self._places.get(str(me[0]))
        return [] if place is None else list(place(store, *me[1:]))


def there(found: object) -> str:
    """How a trace tells what a read found."""
    if isinstance(found, bool):
        return "there" if found else "absent"
    return str(found) if found else "absent"
