"""Upload of a large file through sealane, one and four streams, beside the plain S3 SDK straight to the same store."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.rounds import Rounds, Upload
from bench.table import Report, Row, at_least
from sealane.domain.limits import MiB

RATIO = at_least(0.9)


def report(rounds: Rounds) -> Report:
    rates = {streams: _rates(rounds, uploads) for streams, uploads in rounds.sealane.items()}
    plain, checked = _rates(rounds, rounds.plain), _rates(rounds, rounds.checked)
    rows = [Row.of(f"sealane, {_streams(streams)}", rate, "MiB/s") for streams, rate in rates.items()]
    rows.append(Row.of("minio fput_object, 4 at once", plain, "MiB/s"))
    rows.append(Row.of("straight, with part checksums", checked, "MiB/s"))
    rows += [
        Row.of(f"sealane, {_streams(streams)} : minio", median(rate) / median(plain), "×", RATIO)
        for streams, rate in rates.items()
    ]
    rows += [
        Row.of(f"sealane, {_streams(streams)} : straight, with checksums", median(rate) / median(checked), "×")
        for streams, rate in rates.items()
    ]
    rows.append(Row.of("disk taken by the store, at most", rounds.disk_peak / MiB, "MiB"))
    return Report(
        "throughput",
        f"upload of {rounds.size / MiB:,.0f} MiB in chunks of 8 MiB, from the first call to the committed object",
        rows,
        (
            "One file of random bytes in the page cache, the same for all; the ways take turns, in a rotating order.",
            "Client, ingest and store share the cores. Ratios are of the medians.",
            "minio sends no part checksums, so the store computes none. `straight` is sealane's own S3 adapter without",
            "ingest, 4 parts at once, each checked by the store: the difference is the way over ingest.",
        ),
    )


def _streams(count: int) -> str:
    return f"{count} stream{'s' * (count > 1)}"


def _rates(rounds: Rounds, uploads: Sequence[Upload]) -> list[float]:
    """MiB/s of each."""
    return [rounds.size / MiB / upload.seconds for upload in uploads]
