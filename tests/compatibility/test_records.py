"""Records of version 1: golden files, read and written to the byte, and a frozen schema of what their reader asks."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sealane.domain.claims import ClaimRecord, NameRecord
from sealane.domain.decision import Decision
from sealane.domain.errors import BadRecord
from sealane.domain.record_fields import VERSION
from sealane.domain.records import DeletedRecord, MultipartRecord, RequestRecord, SessionRecord, parse_done
from sealane.store.simulated import SimulatedStore
from tests.compatibility.frozen import HERE, records
from tests.compatibility.scenes import Scenes
from tests.hostile.world import world

PARSERS: dict[str, Callable[[bytes], Any]] = {
    "session": SessionRecord.parse,
    "tombstone": SessionRecord.parse,
    "multipart": MultipartRecord.parse,
    "request": RequestRecord.parse,
    "decision": Decision.parse,
    "done": parse_done,
    "deleted": DeletedRecord.parse,
    "name": NameRecord.parse,
    "claim": ClaimRecord.parse,
}
SCHEMA = Draft202012Validator(json.loads((HERE / "v1" / "schema.json").read_text(encoding="utf-8")))
FROZEN = {"bucket.json": "22367967aeaa509f", "schema.json": "9d195f6aa13027a9"}
"""The first digits of the SHA-256 of each file of v1."""
Path_ = tuple[str, ...]


def told(body: bytes) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(body)
    return values


def golden() -> dict[str, bytes]:
    """One record of each kind and shape that the frozen bucket holds, by a name for people."""
    shapes: dict[str, bytes] = {}
    for body in records(1).values():
        values = told(body)
        shape = [values["kind"], values.get("outcome") or values.get("nature") or ""]
        shape += [name for name in ("generation", "chosen_key", "key", "tombstone") if name in values]
        shape += ["tombstone" for _ in "x" if values.get("decision", {}).get("tombstone")]
        shape += ["any" for _ in "x" if values.get("if_generation_match") == "any"]
        shape += ["size" for _ in "x" if values.get("size") and values["kind"] == "session"]
        shapes.setdefault(" ".join(word for word in shape if word), body)
    return shapes


GOLDEN = golden()


def reads(body: bytes) -> bool:
    """Whether this version's reader takes a record of its kind."""
    try:
        PARSERS[told(body)["kind"]](body)
    except BadRecord:
        return False
    return True


def test_the_golden_files_have_every_kind_of_record_in_every_shape() -> None:
    """What is not frozen is not kept: a new kind of record must get here."""
    assert {told(body)["kind"] for body in GOLDEN.values()} == set(PARSERS)
    outcomes = {told(body).get("outcome") for body in GOLDEN.values()} - {None}
    assert outcomes == {"COMMIT", "ABORT", "EXPIRE", "DUPLICATE", "COMMITTED", "LOST"}
    assert sum("tombstone" in name for name in GOLDEN) >= 4  # session, decision, done, claim
    assert len(GOLDEN) >= 20


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_record_is_read_and_would_be_written_to_the_byte(name: str) -> None:
    """Read by this version; and as long as VERSION is 1, what it writes of the same facts is what version 1 wrote."""
    body = GOLDEN[name]
    record = PARSERS[told(body)["kind"]](body)
    assert SCHEMA.is_valid(told(body))
    if VERSION == 1:
        assert record.encode() == body


@pytest.mark.parametrize("name", GOLDEN)
def test_a_field_that_a_reader_does_not_know_is_ignored(name: str) -> None:
    """So a later release of version 1 may add what an older one may overlook."""
    values = told(GOLDEN[name])
    plain = PARSERS[values["kind"]](GOLDEN[name])
    values |= {"a_later_field": {"deep": [1]}}
    if "decision" in values:
        values["decision"] |= {"a_later_field": 1}
    assert PARSERS[values["kind"]](json.dumps(values).encode()) == plain
    assert SCHEMA.is_valid(values)


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, True, 1.0])
@pytest.mark.parametrize("name", GOLDEN)
def test_a_record_of_another_version_is_not_read(name: str, version: object) -> None:
    """Whatever else it says: nothing but its version is wrong with it."""
    values = told(GOLDEN[name])
    values["version"] = version
    assert not reads(json.dumps(values).encode())


def spots(values: dict[str, Any], at: Path_ = ()) -> Iterator[Path_]:
    """Every field of a record, those of records within it too."""
    for name, value in values.items():
        yield (*at, name)
        if isinstance(value, dict) and name != "metadata":
            yield from spots(value, (*at, name))


def changed(values: dict[str, Any], at: Path_, change: Callable[[dict[str, Any], str], None]) -> dict[str, Any]:
    made = copy.deepcopy(values)
    place = made
    for name in at[:-1]:
        place = place[name]
    change(place, at[-1])
    return made


def put(value: object) -> Callable[[dict[str, Any], str], None]:
    return lambda place, name: place.update({name: value})


CHANGES: dict[str, Callable[[dict[str, Any], str], None]] = {
    "gone": lambda place, name: place.pop(name),
    "null": put(None),
    "true": put(True),
    "a list": put(["x"]),
    "an object": put({"x": "y"}),
    "minus one": put(-1),
    "too large": put(10**18),
    "another text": put("x!"),
    "a long text": put("x" * 5000),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_frozen_schema_asks_what_the_reader_asks(name: str) -> None:
    """Each field taken away, or made something else: both take the record, or neither does."""
    values = told(GOLDEN[name])
    kind = values["kind"]
    differ = []
    for at in spots(values):
        for what, change in CHANGES.items():
            made = changed(values, at, change)
            if made.get("kind") != kind:
                continue  # what kind it is decides who reads it: the place that it is found in
            if SCHEMA.is_valid(made) != reads(json.dumps(made).encode()):
                differ.append((".".join(at), what))
    assert differ == []


async def test_what_is_written_today_is_what_the_frozen_reader_takes() -> None:
    """Every record of a bucket in which everything happened: readable by the last version, as long as it is that."""
    assert VERSION == 1, "a new version: freeze it (tests/compatibility/freeze.py), and say here who reads what"
    store = SimulatedStore()
    async with world(store) as running:
        await Scenes(running, store).all()
    written = [key for key in store.state.keys(".sealane/") if key.endswith(".json")]
    faults = {}
    for key in written:
        stored = store.state.object(key)
        assert stored is not None
        faults[key] = [error.message for error in SCHEMA.iter_errors(told(b"".join(stored.read())))]
    assert {key: fault for key, fault in faults.items() if fault} == {}
    assert len(written) == len(records(1))


def test_what_is_frozen_stays_frozen() -> None:
    """The files of a version that was written once are never touched again."""
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in sorted(Path(HERE / "v1").iterdir())}
    assert digests == FROZEN
