"""Writes deploy/kubernetes/base/sealane.env: every setting, defaults as comments. Part of `make docs`.

A line without "#" is the deployment's own and stays as it is; a setting that is new appears, one that is gone leaves.
What a Deployment sets by itself (addresses, Secrets, mounted files) has no line.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from assembly_service.settings import AssemblySettings  # noqa: E402 - the project may not be installed
from ingest_service.settings import IngestSettings  # noqa: E402
from sealane.config import CommonSettings  # noqa: E402

BASE = ROOT / "deploy" / "kubernetes" / "base"
FILE = BASE / "sealane.env"
HEAD = """\
# Both services' settings, as the ConfigMap `sealane`. docs/operations.md has the same list as a table.
# A line that begins with # is a default. To set one, copy it into your overlay's own file (overlays/prod/sealane.env).
# `make docs` writes this file anew: it keeps the lines that are set here.
"""


def names_set_by(folder: Path) -> set[str]:
    """Variables that the manifests of ``folder`` set in a container's own `env`."""
    return {
        name
        for manifest in folder.glob("*.yaml")
        for name in re.findall(r"- name: (SEALANE_[A-Z0-9_]+)$", manifest.read_text(encoding="utf-8"), re.MULTILINE)
    }


def values_of(text: str) -> dict[str, str]:
    """The lines of an env file that are no comments."""
    pairs = (line.split("=", 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return dict(pairs)


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value is None or isinstance(value, SecretStr):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _entry(name: str, field: FieldInfo, kept: dict[str, str]) -> str:
    words = " ".join((field.description or "").split("\n\n")[0].split())
    line = f"{name}={kept[name]}" if name in kept else f"#{name}={_default(field)}"
    return f"\n# {words}\n{line}\n"


def page(text: str) -> str:
    """``text`` (the file as it is) made anew."""
    kept, elsewhere = values_of(text), names_set_by(BASE)
    common = CommonSettings.model_fields
    out = [HEAD, "\n# --- both services ---\n"]
    shared = {f"SEALANE_{name.upper()}": field for name, field in common.items()}
    out += [_entry(name, field, kept) for name, field in shared.items() if name not in elsewhere]
    for cls in (IngestSettings, AssemblySettings):
        out.append(f"\n# --- {cls.service.lower()} alone ---\n")
        for name, field in cls.model_fields.items():
            differs = name in common and _default(field) != _default(common[name])
            if f"SEALANE_{name.upper()}" not in elsewhere and (name not in common or differs):
                out.append(_entry(f"SEALANE_{cls.service}_{name.upper()}", field, kept))
    return "".join(out)


def write() -> None:
    FILE.write_text(page(FILE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
