"""What ours uses of a Dockerfile, read: FROM, WORKDIR, COPY, RUN, ENV, USER, EXPOSE, CMD; and .dockerignore.

Reference: Dockerfile reference and ".dockerignore files", Docker documentation.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "CMD"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """``word`` in capitals, and the text behind it, in one line."""

    word: str
    text: str


@dataclass(slots=True)
class Stage:
    image: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)

    def texts(self, word: str) -> list[str]:
        return [i.text for i in self.instructions if i.word == word]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV says; the PATH of the image that it builds on is Debian's."""
        values = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for text in self.texts("ENV"):
            for word in shlex.split(text):
                name, _, value = word.partition("=")
                values[name] = value.replace("$PATH", values["PATH"])
        return values

    @property
    def command(self) -> list[str]:
        return [str(word) for word in json.loads(self.texts("CMD")[-1])]


def stages(text: str) -> list[Stage]:
    """ValueError for an instruction that this reader does not know."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    found: list[Stage] = []
    for line in joined.splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word not in KNOWN:
            raise ValueError(f"an instruction that is not understood here: {line}")
        if word == "FROM":
            image, *named = rest.split()
            found.append(Stage(image, named[1] if named else ""))
        else:
            found[-1].instructions.append(Instruction(word, rest.strip()))
    return found


def sent(files: Iterable[str], ignore: str) -> Iterator[str]:
    """Those of ``files`` (relative paths) that .dockerignore leaves in: the last line that fits decides."""
    rules = [line.strip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    for file in files:
        parts = PurePosixPath(file).parts
        candidates = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        ignored = False
        for rule in rules:
            pattern = rule.removeprefix("!")
            if any(_fits(candidate, pattern) for candidate in candidates):
                ignored = not rule.startswith("!")
        if not ignored:
            yield file


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def copied(text: str) -> tuple[str, list[str], str]:
    """(stage or "", sources, destination) of a COPY."""
    *words, destination = text.split()
    stage = ""
    if words and words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    return stage, words, destination


def read(folder: Path) -> list[Stage]:
    return stages((folder / "Dockerfile").read_text(encoding="utf-8"))
