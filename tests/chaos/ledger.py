"""What the clients were told, session by session: what must hold in the end is said here and nowhere else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from blake3 import blake3

from sealane.domain.views import CommittedObject


def content(seed: str, size: int) -> bytes:
    """The bytes of an object: the same for the same seed, whenever they are asked for."""
    return blake3(seed.encode()).digest(length=size) if size else b""


@dataclass(slots=True)
class Entry:
    """One session as its client knows it."""

    kind: str
    seed: str
    size: int
    session_id: str = ""
    chunk_size: int = 0
    acknowledged: set[int] = field(default_factory=set)
    """Chunks that a stream's answer said are stored. They are never sent again."""
    answers: list[CommittedObject] = field(default_factory=list)
    """Of commits; without ``replayed``, which alone may differ (I6)."""
    refusals: list[str] = field(default_factory=list)
    """Final answers that say that there is, and will be, no object."""
    object_key: str = ""
    """Chosen by the client, and perhaps by others, too."""
    deleted: bool = False
    """By request, and answered so."""

    @property
    def content(self) -> bytes:
        return content(self.seed, self.size)

    @property
    def chunk_count(self) -> int:
        return -(-self.size // self.chunk_size)

    def chunk(self, index: int, whole: bytes) -> bytes:
        return whole[index * self.chunk_size : (index + 1) * self.chunk_size]

    @property
    def generation(self) -> int:
        """That this session made of its key; 0: none, or at a key of its own."""
        return 0 if not self.answers or self.answers[0].duplicate else self.answers[0].generation

    def committed(self, answer: CommittedObject) -> None:
        self.answers.append(replace(answer, replayed=False))


@dataclass(slots=True)
class Ledger:
    """All of them, and what was seen that must not be."""

    entries: list[Entry] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    """Errors that clients met and rode out, by their reason."""
    commit_answers: int = 0

    def holders(self) -> dict[str, Entry]:
        """Whose object each chosen key must hold in the end: the highest generation's, if that was not deleted.

        I16: a generation of a key is one session's alone.
        """
        found: dict[str, dict[int, Entry]] = {}
        for entry in self.entries:
            if entry.object_key and entry.generation:
                other = found.setdefault(entry.object_key, {}).setdefault(entry.generation, entry)
                if other is not entry:
                    self.violation(f"I16: generation {entry.generation} of {entry.object_key} was answered twice")
        last = {key: generations[max(generations)] for key, generations in found.items()}
        return {key: entry for key, entry in last.items() if not entry.deleted}

    def open(self, kind: str, seed: str, size: int) -> Entry:
        entry = Entry(kind, seed, size)
        self.entries.append(entry)
        return entry

    def violation(self, text: str) -> None:
        self.violations.append(text)
