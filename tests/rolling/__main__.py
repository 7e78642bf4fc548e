"""``make rolling``: ROUNDS=, JSON=. Ends with 1 if an upload failed, or anything else was seen that must not be."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from sealane.dev.cluster import Cluster
from sealane.dev.signals import Stopped, stop_on_signal
from tests.rolling.namespace import enter_namespace
from tests.rolling.roll import roll


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rolling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that every replica is restarted")
    parser.add_argument("--lanes", type=int, default=3, help="clients at once")
    parser.add_argument("--streams", type=int, default=2, help="streams of each")
    parser.add_argument("--mebibytes", type=int, default=96, help="of one upload")
    parser.add_argument("--json", type=Path, default=None, help="write the report here, too")
    arguments = parser.parse_args()
    where = "a network namespace of its own" if enter_namespace() else "this machine's loopback"
    print(f"two replicas of each service behind Envoy, in {where}", file=sys.stderr, flush=True)
    directory = Path(tempfile.mkdtemp(prefix="sealane-rolling-"))
    with Cluster(directory / "cluster", ingest=2, assembly=2) as cluster:
        report = asyncio.run(
            roll(
                cluster,
                directory / "envoy",
                rounds=arguments.rounds,
                lanes=arguments.lanes,
                streams=arguments.streams,
                size=arguments.mebibytes << 20,
            )
        )
    document = report.document()
    width = max(len(name) for name in document)
    for name, value in document.items():
        print(f"{name:<{width}}  {value}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if report.violations:
        print(f"kept for looking: {directory}")
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    try:
        with stop_on_signal():
            sys.exit(main())
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
