"""`sealane explain`: which lines of the services' logs belong to a session, and how they come between its events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealane.cli import service_logs
from sealane.cli.explain import merged, told, told_apart
from sealane.cli.service_logs import LogLine, search
from sealane.client import SessionEvent

ID, OTHER = "0123456789abcdef" * 2, "f" * 32


def line(second: int, event: str = "rpc", **fields: Any) -> str:
    return json.dumps({"ts": f"2030-01-01T00:00:{second:02d}.5Z", "event": event, "service": "ingest", **fields})


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{each}\n" for each in lines))
    return path


def test_lines_of_the_session_are_found_by_its_name_and_by_the_requests_that_named_it(tmp_path: Path) -> None:
    log = write(
        tmp_path / "a.log",
        line(1, "first", request_id="r1", code="OK"),
        line(2, "named", request_id="r1", session_id=ID),
        line(3, "another's", request_id="r2", session_id=OTHER),
        line(4, "another's too", request_id="r2"),
        line(5, "the same request of another", request_id="r1", session_id=OTHER),
        line(6, "listed", listed_session=ID),
        line(7, "nobody's"),
    )
    found = search([log], ID)
    assert [each.event for each in found.lines] == ["first", "named", "listed"]
    assert (found.others, found.unknown) == (4, 0)
    assert found.lines[0].fields["code"] == "OK"


def test_lines_of_several_files_come_in_order_of_time(tmp_path: Path) -> None:
    one = write(tmp_path / "1", line(3, "c", session_id=ID), line(1, "a", session_id=ID))
    two = write(tmp_path / "2", line(2, "b", session_id=ID))
    assert [each.event for each in search([one, two], ID).lines] == ["a", "b", "c"]


def test_what_is_no_line_of_a_service_is_skipped_and_counted(tmp_path: Path) -> None:
    """Other programs' output, torn lines, arrays, times that are none, deep nesting, bytes that are no text."""
    log = tmp_path / "log"
    log.write_bytes(
        b"Starting up\n{torn\n[1]\n{}\n"
        + json.dumps({"ts": "yesterday", "event": "x", "session_id": ID}).encode()
        + b"\n"
        + json.dumps({"ts": 1, "event": "x", "session_id": ID}).encode()
        + b"\n\xff\xfe{\n"
        + b'{"a":' * 100_000
        + b"\n\n"
        + line(1, "kept", session_id=ID).encode()
    )
    found = search([log], ID)
    assert [each.event for each in found.lines] == ["kept"]
    assert found.unknown == 8


def test_a_collectors_prefix_does_not_hide_a_line(tmp_path: Path) -> None:
    log = write(tmp_path / "log", "ingest-0 | " + line(1, session_id=ID))
    assert len(search([log], ID).lines) == 1


def test_a_line_without_end_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * (2 * service_logs.MAX_LINE_BYTES + 5) + b"\n" + line(1, session_id=ID).encode())
    found = search([log], ID)
    assert (len(found.lines), found.unknown) == (1, 3)


def test_the_stores_own_request_ids_are_named(tmp_path: Path) -> None:
    """They are how the store's logs know the same request."""
    private = "PUT x: 503 SlowDown [request 17A4B] then PUT x: 500 [request 99]"
    (found,) = search([write(tmp_path / "log", line(1, session_id=ID, private=private))], ID).lines
    assert found.store_request_ids == ("17A4B", "99")
    call = line(1, "store", session_id=ID, call="PUT x", status=500, store_request_id="ABC")
    (found,) = search([write(tmp_path / "log", call)], ID).lines
    assert found.store_request_ids == ("ABC",)
    assert found.text() == 'store call="PUT x" status=500'


def test_a_line_for_people_names_what_matters_once_and_stays_one_line(tmp_path: Path) -> None:
    log = write(tmp_path / "log", line(1, session_id=ID, code="OK", tenant="t", message="two\nlines", more="x" * 999))
    (found,) = search([log], ID).lines
    shown = found.text()
    assert shown.startswith('rpc code=OK message="two\\nlines"')
    assert ID not in shown
    assert len(shown) < 400
    assert "\n" not in shown


def _event(second: int | None, name: str) -> SessionEvent:
    time = None if second is None else datetime(2030, 1, 1, 0, 0, second, tzinfo=UTC)
    return SessionEvent(time, name, "", {}, ())


def test_lines_come_between_events_and_the_stores_order_is_kept() -> None:
    """An event without a time stays behind its predecessor; the store's seconds come before a line's fractions."""
    events = [_event(1, "created"), _event(None, "untimed"), _event(3, "decided"), _event(2, "late"), _event(9, "done")]
    lines = [
        LogLine(datetime(2030, 1, 1, 0, 0, second, 500_000, tzinfo=UTC), "ingest", "info", f"line {second}", {}, ())
        for second in (0, 1, 3)
    ]
    assert [each.event for each in merged(events, lines)] == [
        "line 0",
        "created",
        "untimed",
        "line 1",
        "decided",
        "late",
        "line 3",
        "done",
    ]
    assert merged([], []) == []


def test_a_line_that_a_collector_has_wrapped_is_read(tmp_path: Path) -> None:
    """As Docker's json-file driver keeps them; however deep the wrapping, it ends."""
    wrapped = json.dumps(
        {"log": line(1, "a", session_id=ID) + "\n", "stream": "stderr", "time": "2030-01-01T00:00:01Z"}
    )
    twice = json.dumps({"message": "app " + json.dumps({"log": line(2, "b", session_id=ID)})})
    other = json.dumps({"log": "Starting {up}\n", "stream": "stdout"})
    found = search([write(tmp_path / "log", wrapped, twice, other)], ID)
    assert [each.event for each in found.lines] == ["a", "b"]
    assert found.unknown == 1


def test_logs_that_know_a_session_from_questions_alone_tell_nothing_of_it(tmp_path: Path) -> None:
    """A wrong id stays "no such session", though the services log who asked for it."""
    asked = [line(1, code="NOT_FOUND", session_id=ID), line(2, "store", status=404, session_id=ID)]
    assert not told(search([write(tmp_path / "1", *asked)], ID).lines)
    for more in (line(3, code="OK", session_id=ID), line(3, "records purged", session_id=ID)):
        assert told(search([write(tmp_path / "2", *asked, more)], ID).lines)


def test_the_session_may_come_behind_the_logs() -> None:
    """`--logs *.log SESSION`: the shell has made many words of one."""
    assert told_apart(ID, ["b.log", "c.log"]) == (ID, ["b.log", "c.log"])
    assert told_apart("b.log", ["c.log", ID]) == (ID, ["b.log", "c.log"])
    assert told_apart("nope", ["b.log"]) == ("nope", ["b.log"])
    assert told_apart(ID, [OTHER]) == (ID, [OTHER])
