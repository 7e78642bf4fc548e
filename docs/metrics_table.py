"""Writes the metrics table of docs/observability.md from the metrics themselves: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from assembly_service.metrics import ASSEMBLY  # noqa: E402 - the project may not be installed
from ingest_service.metrics import INGEST  # noqa: E402
from sealane.metrics.families import Family  # noqa: E402
from sealane.metrics.shared import SHARED  # noqa: E402

PAGE = ROOT / "docs" / "observability.md"
BEGIN, END = "<!-- metrics: made by `make docs` -->\n", "<!-- end of metrics -->\n"
FAMILIES: dict[str, tuple[Family, ...]] = {"Both services": SHARED, "Ingest": INGEST, "Assembly": ASSEMBLY}


def table() -> str:
    """Markdown: what both services tell, then each one's own."""
    lines = []
    for title, families in FAMILIES.items():
        lines += [f"\n**{title}**\n\n", "| metric | kind | labels | meaning |\n|---|---|---|---|\n"]
        for family in families:
            labels = ", ".join(f"`{label}`" for label in family.labels)
            lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |\n")
    return "".join(lines) + "\n"


def page(text: str) -> str:
    """``text`` with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
