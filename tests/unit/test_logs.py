"""Logs: one JSON object a line, with the call's ids, and never a secret."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from sealane import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's; leave it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_a_json_object_with_time_level_service_and_the_bound_ids(capsys: pytest.CaptureFixture[str]) -> None:
    """What is bound for the call stands in each of its lines."""
    logs.configure("INFO", "json", "ingest")
    structlog.contextvars.bind_contextvars(request_id="r1", session_id="s1")
    logs.get_logger("x").info("rpc", code="OK", text="two\nlines")
    (line,) = lines(capsys)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "event": "rpc",
        "level": "info",
        "logger": "x",
        "service": "ingest",
        "request_id": "r1",
        "session_id": "s1",
        "code": "OK",
        "text": "two\nlines",
    }


def test_libraries_log_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """The standard library's loggers end in the same stream, tracebacks in the same object."""
    logs.configure("INFO", "json", "ingest")
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("some.library").exception("failed %s", "badly")
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["service"]) == ("failed badly", "error", "ingest")
    assert "ValueError: inner" in line["exception"]


def test_a_secret_renders_as_stars_even_if_somebody_logs_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A SecretStr stays one, as a value and within one."""
    logs.configure("INFO", "json", "ingest")
    secret = SecretStr("hunter2")
    logs.get_logger("x").info("oops", key=secret, settings={"s3_secret_key": secret}, text=f"{secret}")
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "****" in out


def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """Locals would hold what SecretStr hides."""
    logs.configure("INFO", "json", "ingest")
    local = "hunter" + "2"
    try:
        raise ValueError(str(len(local)))
    except ValueError:
        logs.get_logger("x").exception("failed")
    assert "hunter2" not in capsys.readouterr().out.replace('"hunter" + "2"', "")


def test_below_the_level_nothing_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """SEALANE_LOG_LEVEL=WARNING hides the outcomes of good calls."""
    logs.configure("WARNING", "json", "ingest")
    logs.get_logger("x").info("rpc", code="OK")
    logs.get_logger("x").warning("rpc", code="UNAVAILABLE")
    assert [line["code"] for line in lines(capsys)] == ["UNAVAILABLE"]


def test_the_console_format_is_for_people() -> None:
    """In a process of its own, as loggers are cached: readable, no JSON."""
    program = (
        "from sealane import logs; logs.configure('INFO', 'console', 'x'); logs.get_logger('x').info('hello', a=1)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "hello" in out
    assert "a=1" in out
    assert not out.startswith("{")
