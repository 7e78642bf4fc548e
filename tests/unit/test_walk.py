"""The walk's own files are what the services take: as much of `make walk` as needs no process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assembly_service.settings import AssemblySettings
from ingest_service.settings import IngestSettings
from sealane.config import load
from sealane.dev.seaweed import SeaweedPorts
from tests.walk.desk import Desk, Stumbled
from tests.walk.site import Site


def test_what_the_walkthrough_lays_out_are_good_settings_of_both_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SEALANE_")]:
        monkeypatch.delenv(name)
    site = Site(Desk(tmp_path), ports=SeaweedPorts.allocate())
    site.lay_out()
    for name, value in site.settings().items():
        monkeypatch.setenv(name, value)
    for settings in (IngestSettings, AssemblySettings):
        assert load(settings).calls_with_tls
    assert capsys.readouterr().err == ""


def test_a_step_that_is_not_as_the_docs_say_ends_the_walk(tmp_path: Path) -> None:
    """Whatever it is: another exit code, or another fact."""
    desk = Desk(tmp_path)
    desk.run("false", code=1)
    with pytest.raises(Stumbled, match="exit code 1, not 0"):
        desk.run("false")
    with pytest.raises(Stumbled, match="the sky is green"):
        desk.check(False, "the sky is green")
    with pytest.raises(Stumbled, match="within 0 s"):
        desk.until("never", lambda: False, seconds=0)


def test_a_token_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Desk(tmp_path, secret="a-token-0123456789").run("true", "Bearer a-token-0123456789")
    shown = capsys.readouterr().out
    assert "$(cat token)" in shown
    assert "0123456789" not in shown
