"""``python -m bench NAME…|all [--quick] [--rounds N] [--json FILE] [--check]``"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import commit, cpu, hashing, kill, machine, receipts, rounds, small_files, throughput
from bench.cluster import BenchCluster
from bench.table import Report
from sealane.dev.signals import Stopped, stop_on_signal
from sealane.domain.limits import GiB, MiB

EXIT_MISSED, EXIT_FAILED = 1, 2


class Session:
    """One run of the program: the cluster, and how much is measured."""

    def __init__(self, cluster: BenchCluster, *, quick: bool, rounds: int | None) -> None:
        self._cluster = cluster
        self._quick = quick
        self._rounds = rounds or (1 if quick else 5)

    @cached_property
    def large_uploads(self) -> rounds.Rounds:
        size = 24 * MiB if self._quick else 1 * GiB
        return rounds.measure(self._cluster, size=size, rounds=self._rounds, warm_up=not self._quick)

    def throughput(self) -> Report:
        return throughput.report(self.large_uploads)

    def cpu(self) -> Report:
        return cpu.report(self.large_uploads)

    def commit(self) -> Report:
        return commit.report(self.large_uploads)

    def hashing(self) -> Report:
        return hashing.report(rounds=self._rounds)

    def receipts(self) -> Report:
        return receipts.run(self._cluster, chunks=100 if self._quick else 10_000, rounds=self._rounds)

    def small_files(self) -> Report:
        return small_files.run(self._cluster, rounds=self._rounds, warm_up=not self._quick)

    def kill(self) -> Report:
        size = (64 if self._quick else 256) * MiB
        return kill.run(self._cluster, size=size, rounds=self._rounds, streams=(2,) if self._quick else rounds.STREAMS)


BENCHMARKS: dict[str, Callable[[Session], Report]] = {
    "throughput": Session.throughput,
    "cpu": Session.cpu,
    "commit": Session.commit,
    "hashing": Session.hashing,
    "receipts": Session.receipts,
    "small-files": Session.small_files,
    "kill": Session.kill,
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = list(BENCHMARKS) if "all" in options.names else list(dict.fromkeys(options.names))
    described = machine.describe()
    print(machine.line(described), flush=True)
    if options.quick:
        print("quick: little data and one round. The figures say that it works, and nothing else.", flush=True)
    begin = time.monotonic()
    reports: list[Report] = []
    failed: list[str] = []
    with BenchCluster(options.dir, quick=options.quick) as cluster:
        session = Session(cluster, quick=options.quick, rounds=options.rounds)
        for name in names:
            try:
                report = BENCHMARKS[name](session)
            except Exception:  # noqa: BLE001 - one failed measurement must not take the others' figures with it
                failed.append(name)
                print(f"\n{name}: FAILED", flush=True)
                traceback.print_exc()
                continue
            reports.append(report)
            print(f"\n{report}", flush=True)
    missed = [row for report in reports for row in report.missed]
    print(f"\n{_summary(reports, failed)}; {time.monotonic() - begin:,.0f} s", flush=True)
    if options.json:
        _write(options.json, described, options.quick, reports, failed)
    return EXIT_FAILED if failed else EXIT_MISSED if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure sealane on real processes.")
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help=" | ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="little data, one round: does it work?")
    parser.add_argument("--rounds", type=int, help="rounds of everything (default 5; quick: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    parser.add_argument("--check", action="store_true", help=f"exit with {EXIT_MISSED} if a target is missed")
    parser.add_argument("--dir", type=Path, help="where the temporary folder is made: the store's disk (8 GiB)")
    return parser


def _summary(reports: Sequence[Report], failed: Sequence[str]) -> str:
    verdicts = [row.met for report in reports for row in report.rows if row.met is not None]
    parts = [f"{sum(verdicts)} of {len(verdicts)} targets met"]
    parts += [f"missed: {row.what} ({report.name})" for report in reports for row in report.missed]
    parts += [f"failed: {name}" for name in failed]
    return "; ".join(parts)


def _write(
    path: Path, described: dict[str, Any], quick: bool, reports: Sequence[Report], failed: Sequence[str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "version": 1,
        "quick": quick,
        "machine": described,
        "benchmarks": [report.as_json() for report in reports],
        "failed": list(failed),
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        with stop_on_signal():  # so that the temporary folder goes and nothing is left running
            sys.exit(main())
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
