"""What an upload costs: CPU of ingest for each GiB, its memory, and for information the client's and the store's."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench import hashing
from bench.rounds import Rounds, Upload
from bench.table import Report, Row, at_most
from sealane.domain.limits import GiB, MiB

INGEST_CPU = at_most(3.0)
INGEST_RSS = at_most(400)


def report(rounds: Rounds) -> Report:
    size = rounds.size / GiB
    rows: list[Row] = []
    for streams, uploads in rounds.sealane.items():
        plural = f"{streams} stream{'s' * (streams > 1)}"
        rows.append(Row.of(f"ingest, {plural}", [u.ingest_cpu / size for u in uploads], "CPU s/GiB", INGEST_CPU))
        rows.append(Row.of(f"client, {plural}", [u.client_cpu / size for u in uploads], "CPU s/GiB"))
        rows.append(Row.of(f"store, {plural}", [u.store_cpu / size for u in uploads], "CPU s/GiB"))
        rows.append(Row.of(f"all three, {plural}", _all(uploads, size), "CPU s/GiB"))
    rows.append(Row.of("minio's client", [u.client_cpu / size for u in rounds.plain], "CPU s/GiB"))
    rows.append(Row.of("store, under minio", [u.store_cpu / size for u in rounds.plain], "CPU s/GiB"))
    rows.append(Row.of("minio's client and the store", _all(rounds.plain, size), "CPU s/GiB"))
    rows.append(Row.of("store, under part checksums", [u.store_cpu / size for u in rounds.checked], "CPU s/GiB"))
    plain = median(_all(rounds.plain, size))
    rows += [
        Row.of(f"minio's : ours, {streams} stream{'s' * (streams > 1)}", plain / median(_all(uploads, size)), "×")
        for streams, uploads in rounds.sealane.items()
    ]
    rows.append(Row.of("SHA-256 alone, on all cores at once", hashing.sha256_seconds(), "CPU s/GiB"))
    rows.append(Row.of("BLAKE3 alone, on all cores at once", hashing.blake3_seconds(), "CPU s/GiB"))
    rows.append(Row.of("RSS of ingest, at most since its start", rounds.ingest_peak_rss / MiB, "MiB", INGEST_RSS))
    return Report(
        "cpu",
        "CPU (user + system) of each process for each GiB uploaded, and ingest's memory",
        rows,
        (
            "Ingest hashes every byte once with SHA-256 and twice with BLAKE3 (digest, chaining value); minio's client",
            "once with SHA-256; the store, under part checksums, once more. `minio's : ours` is what the throughput's",
            "ratio can be at best while all processors are full. The peak of RSS (VmHWM) includes the start.",
        ),
    )


def _all(uploads: Sequence[Upload], size: float) -> list[float]:
    """CPU s/GiB of client, ingest and store together, of each upload of ``size`` GiB. Assembly's are not a percent."""
    return [(upload.ingest_cpu + upload.client_cpu + upload.store_cpu) / size for upload in uploads]
