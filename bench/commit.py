"""How long a commit takes, and that it moves no data: read from the commits of the large uploads."""

from __future__ import annotations

from bench.rounds import Rounds
from bench.table import Report, Row, at_most
from sealane.domain.limits import KiB, MiB

LATENCY = at_most(150)
WIRE = at_most(1.0)


def report(rounds: Rounds) -> Report:
    chunks = -(-rounds.size // (8 * MiB))
    commits = rounds.commits
    return Report(
        "commit",
        f"CommitSession of {chunks} chunks, as the client waits for it",
        [
            Row.of("latency", [c.commit_seconds * 1000 for c in commits], "ms", LATENCY),
            Row.worst("assembly ↔ store", [c.commit_wire_bytes / MiB for c in commits], "MiB", WIRE),
            Row.of("the same, for each chunk", [c.commit_wire_bytes / KiB / chunks for c in commits], "KiB"),
            Row.of("the store's own reads and writes", [c.commit_store_io / MiB for c in commits], "MiB"),
        ],
        (
            "Assembly's bytes are counted by a relay, both ways, while the commit ran; one chunk would be 8 MiB.",
            "The store's are what it passed through read(2) and write(2), its connections with all clients included:",
            "had it copied the object, they would be twice the object's size.",
        ),
    )
