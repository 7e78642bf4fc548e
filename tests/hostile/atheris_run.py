"""One parser under atheris (libFuzzer, guided by coverage). Arguments: target, runs, seed, and a folder for the corpus.

A process a target: libFuzzer ends its process. Exit code 0: all runs done, nothing found.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # it has no types

with atheris.instrument_imports(include=["sealane", "ingest_service"]):
    from .parsers import SEEDS, TARGETS


def main(target: str, runs: int, seed: int, corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(SEEDS[target]):
        (corpus / f"seed-{number}").write_bytes(body)
    flags = [
        f"-runs={runs}",
        f"-seed={seed}",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={corpus}/", str(corpus)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
