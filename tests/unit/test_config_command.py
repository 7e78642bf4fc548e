"""A service's own command line: questions are answered, and never start it."""

from __future__ import annotations

import os

import pytest

from ingest_service.settings import IngestSettings
from sealane import __version__
from sealane.config.command import settings_of


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SEALANE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEALANE_S3_ENDPOINT", "http://127.0.0.1:8333")


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        settings_of("sealane-ingest", IngestSettings, arguments)
    return int(caught.value.code or 0)


def test_questions_end_the_process_with_their_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"sealane-ingest {__version__}\n"
    assert ended("--help") == 0
    assert "docs/operations.md" in capsys.readouterr().out
    assert ended("--port", "1") == 2


def test_check_tells_the_faults_and_serves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("--check") == 0
    assert "good" in capsys.readouterr().out
    monkeypatch.setenv("SEALANE_MAX_STREAMS", "many")
    assert ended("--check") == 78
    assert "SEALANE_MAX_STREAMS" in capsys.readouterr().err


def test_without_arguments_it_serves_with_the_environments_settings() -> None:
    assert settings_of("sealane-ingest", IngestSettings, []).s3_endpoint == "http://127.0.0.1:8333"
