"""The documentation says what the code does, where that can be checked."""

from __future__ import annotations

import json
import re
import runpy
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import json_format

from sealane.domain.views import CommittedObject
from sealane.rpc import convert
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_settings_table_is_what_the_settings_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "settings_table.py"))
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert made["page"](text) == text, "make docs"


def test_the_clusters_settings_file_lists_every_setting() -> None:
    """Every setting has a line in deploy/kubernetes/base/sealane.env, unless a Deployment sets it itself."""
    made = runpy.run_path(str(ROOT / "docs" / "settings_env.py"))
    text = (ROOT / "deploy" / "kubernetes" / "base" / "sealane.env").read_text(encoding="utf-8")
    assert made["page"](text) == text, "make docs"


def test_the_metrics_table_is_what_the_metrics_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "metrics_table.py"))
    text = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    assert made["page"](text) == text, "make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text(encoding="utf-8")))
    assert {t for t in named if not re.search(rf"^{t}:", makefile, re.MULTILINE)} == set()


ANSWERS = {
    "session": ingest_service_pb2.CreateSessionResponse,
    "chunks": ingest_service_pb2.UploadChunksResponse,
    "committed_object": assembly_service_pb2.CommitSessionResponse,
}


@pytest.mark.parametrize("page", ["README.md", "docs/clients.md"])
def test_an_answer_that_a_page_shows_has_the_fields_of_the_protos(page: str) -> None:
    """And a committed object all of those that a server sends, whatever their values."""
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = [json.loads(block) for block in re.findall(r"^\{$.*?^\}$", text, re.MULTILINE | re.DOTALL)]
    assert [next(iter(answer)) for answer in shown] == list(ANSWERS)
    for answer in shown:
        json_format.ParseDict(answer, ANSWERS[next(iter(answer))]())
    sent = convert.committed_to_proto(CommittedObject("b", "k", "e", 5, bytes(32), datetime(2026, 1, 1, tzinfo=UTC)))
    fields = json_format.MessageToDict(sent, preserving_proto_field_name=True)
    assert list(shown[-1]["committed_object"]) == list(fields)
