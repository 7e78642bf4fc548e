"""Writes the settings table of docs/operations.md from the settings, and the cluster's file of them: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from assembly_service.settings import AssemblySettings  # noqa: E402 - the project may not be installed
from ingest_service.settings import IngestSettings  # noqa: E402
from sealane.config import CommonSettings  # noqa: E402

PAGE = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- settings: made by `make docs` -->\n", "<!-- end of settings -->\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default is None or field.default == "" or isinstance(field.default, SecretStr):
        return ""
    value = field.default
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _row(name: str, field: FieldInfo, default: str) -> str:
    words = " ".join((field.description or "").split("\n\n")[0].split())
    return f"| `SEALANE_{name.upper()}` | {default} | {words} |\n"


def table() -> str:
    """Markdown: what both services share (ingest's default, then assembly's where they differ), then each one's own."""
    ingest, assembly, common = IngestSettings.model_fields, AssemblySettings.model_fields, CommonSettings.model_fields
    head = "| variable | default | meaning |\n|---|---|---|\n"
    lines = ["\n**Both services**\n\n", head]
    for name in common:
        own, other = _default(ingest[name]), _default(assembly[name])
        lines.append(_row(name, common[name], own if own == other else f"{own} ingest, {other} assembly"))
    for title, fields in (("Ingest", ingest), ("Assembly", assembly)):
        lines += [f"\n**{title}**\n\n", head]
        lines += [_row(name, field, _default(field)) for name, field in fields.items() if name not in common]
    return "".join(lines) + "\n"


def page(text: str) -> str:
    """``text`` with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    import settings_env  # beside this file

    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    settings_env.write()
