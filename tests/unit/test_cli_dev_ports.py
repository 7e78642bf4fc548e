"""Which ports `sealane dev` takes: what was asked for, else the default, else whatever is free."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sealane.cli import dev
from sealane.dev.ports import free_ports
from sealane.dev.process import StartFailed

NOTHING_ASKED = {"s3_port": None, "ingest_port": None, "assembly_port": None}


class Starts:
    """Stands for Cluster: says what it was told, and before each start lets ``meanwhile`` happen."""

    def __init__(self, *meanwhile: Callable[[], None]) -> None:
        self.told: list[dict[str, int]] = []
        self.stopped = 0
        self._meanwhile = list(meanwhile)

    def __call__(self, **ports: int) -> Any:
        self.told.append(ports)
        return self

    def start(self) -> Any:
        if self._meanwhile:
            self._meanwhile.pop(0)()
        return self

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Default ports that are free on this machine."""
    ports = dict(zip(NOTHING_ASKED, free_ports(3), strict=True))
    monkeypatch.setattr(dev, "_DEFAULT_PORTS", ports)
    return ports


@pytest.fixture
def taken(defaults: dict[str, int]) -> Iterator[Callable[[], None]]:
    """Takes the default port of ingest, and lets the start fail for it."""
    other = socket.socket()

    def take() -> None:
        other.bind(("127.0.0.1", defaults["ingest_port"]))
        other.listen()
        raise StartFailed("ingest-1 ended with code 1 before it was ready")

    with other:
        yield take


def test_the_defaults_are_taken_while_they_are_free(defaults: dict[str, int]) -> None:
    starts = Starts()
    with dev.running(starts, NOTHING_ASKED, print) as cluster:
        assert cluster is starts
    assert (starts.told, starts.stopped) == ([defaults], 1)


def test_a_default_that_somebody_has_is_not_tried(defaults: dict[str, int]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", defaults["s3_port"]))
        other.listen()
        starts = Starts()
        with dev.running(starts, NOTHING_ASKED, print):
            pass
    assert starts.told == [defaults | {"s3_port": 0}]


def test_a_default_that_is_lost_while_the_store_starts_is_given_up(
    defaults: dict[str, int], taken: Callable[[], None]
) -> None:
    starts, said = Starts(taken), list[str]()
    with dev.running(starts, NOTHING_ASKED, said.append):
        pass
    assert starts.told == [defaults, defaults | {"ingest_port": 0}]
    assert str(defaults["ingest_port"]) in said[0]


def test_a_port_that_was_asked_for_is_never_exchanged(defaults: dict[str, int], taken: Callable[[], None]) -> None:
    starts = Starts(taken)
    asked = NOTHING_ASKED | {"ingest_port": defaults["ingest_port"]}
    with pytest.raises(StartFailed), dev.running(starts, asked, print):
        pass
    assert len(starts.told) == 1


def test_a_start_that_fails_for_another_reason_is_not_repeated(defaults: dict[str, int]) -> None:
    def broken() -> None:
        raise StartFailed("ingest-1 ended with code 78")

    starts = Starts(broken)
    with pytest.raises(StartFailed), dev.running(starts, NOTHING_ASKED, print):
        pass
    assert starts.told == [defaults]
