"""Upload of a large file through sealane, one and four streams, beside the plain S3 SDK straight to the same store."""

from __future__ import annotations

from bench.rounds import STREAMS, Rounds
from bench.table import Report, Row, at_least
from sealane.domain.limits import MiB

RATIO = at_least(0.9)


def report(rounds: Rounds) -> Report:
    size = rounds.size / MiB
    rows = [
        Row.of(f"sealane, {streams} stream{'s' * (streams > 1)}", [size / u.seconds for u in uploads], "MiB/s")
        for streams, uploads in rounds.sealane.items()
    ]
    rows.append(Row.of("minio fput_object, 4 at once", [size / u.seconds for u in rounds.plain], "MiB/s"))
    peer = rows[-1].value
    rows += [
        Row.of(f"sealane, {streams} stream{'s' * (streams > 1)} : minio", row.value / peer, "×", RATIO)
        for streams, row in zip(STREAMS, rows, strict=False)
    ]
    rows.append(Row.of("disk taken by the store, at most", rounds.disk_peak / MiB, "MiB"))
    return Report(
        "throughput",
        f"upload of {size:,.0f} MiB in chunks of 8 MiB, from the first call to the committed object",
        rows,
        (
            "One file of random bytes in the page cache, the same for all; the ways take turns, in a rotating order.",
            "Client, ingest and store share the cores. Ratios are of the medians.",
        ),
    )
