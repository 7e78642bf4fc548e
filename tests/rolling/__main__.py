"""``make rolling``: ROUNDS=, JSON=. Ends with 1 if an upload failed, or anything else was seen that must not be."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from sealane.dev.cluster import Cluster
from sealane.dev.signals import Stopped, stop_on_signal
from tests.rolling.hosts import Hosts, NoHosts
from tests.rolling.namespace import enter_namespace
from tests.rolling.roll import roll


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rolling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that every replica is restarted")
    parser.add_argument("--lanes", type=int, default=3, help="clients at once")
    parser.add_argument("--streams", type=int, default=2, help="streams of each")
    parser.add_argument("--mebibytes", type=int, default=160, help="of one upload")
    parser.add_argument("--json", type=Path, default=None, help="write the report here, too")
    arguments = parser.parse_args()
    hosts, where = _hosts()
    print(f"two replicas of each service behind Envoy, {where}", file=sys.stderr, flush=True)
    directory = Path(tempfile.mkdtemp(prefix="sealane-rolling-"))
    try:
        with Cluster(directory / "cluster", ingest=2, assembly=2, **_placed(hosts)) as cluster:
            report = asyncio.run(
                roll(
                    cluster,
                    directory / "envoy",
                    rounds=arguments.rounds,
                    lanes=arguments.lanes,
                    streams=arguments.streams,
                    size=arguments.mebibytes << 20,
                    hosts=hosts,
                )
            )
    except Stopped:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    document = {"network": where, **report.document()}
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


def _hosts() -> tuple[Hosts | None, str]:
    """As many network namespaces as this machine permits, and what that came to. Before there is a second thread."""
    if not enter_namespace():
        return None, "all on this machine's loopback, for it allows no network namespace"
    try:
        return Hosts(), "the store, Envoy and every replica on a host of its own (network namespaces on a bridge)"
    except NoHosts as error:
        return None, f"all in one network namespace, for hosts of their own can't be had: {error}"


def _placed(hosts: Hosts | None) -> dict[str, Any]:
    # Replicas start many times, and beside uploads: the whole probe's two thousand requests would be most of the run.
    settings = {"SEALANE_PROBE_PAGE_KEYS": "20"}
    if hosts is None:
        return {"settings": settings}
    # The replicas are reached over the bridge, which nobody else is on.
    return {"settings": {**settings, "SEALANE_PLAINTEXT": "true"}, "host_of": hosts.of}


if __name__ == "__main__":
    try:
        with stop_on_signal():
            sys.exit(main())
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
