"""The dashboard and the alert rules, read through a real Prometheus that has scraped the walk."""

from __future__ import annotations

import json
import math

from tests.walk.desk import Desk
from tests.walk.site import ROOT, Site, get

RANGE = "10m"
"""In the place of Grafana's $__rate_interval: the whole walk."""
QUIET = frozenset(
    {
        *("Calls without a good end", "Draining", "Not ready for", "Orphans", "Bytes of orphans", "What it did"),
        *("Calls that failed, by code", "Streams that wait for memory", "Watchers", "In progress"),
    }
)
"""Panels that show nothing, or zeros, where nothing goes on or is wrong. All others must have moved."""


def read_board(desk: Desk, site: Site) -> None:
    """Says what each panel shows. Stumbled if one that must move shows nothing."""
    board = json.loads((ROOT / "deploy" / "grafana" / "sealane.json").read_text(encoding="utf-8"))
    empty: list[str] = []
    for panel in board["panels"]:
        moved = not panel.get("targets") or panel["title"] in QUIET
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", RANGE).replace("$job", ".*").replace("$instance", ".*")
            shown = []
            for series in site.query(query):
                labels = "/".join(value for name, value in series["metric"].items() if name != "__name__")
                value = float(series["value"][1])
                if value and not math.isnan(value):
                    shown.append(f"{labels or target.get('legendFormat', '')} {value:.4g}")
            moved = moved or bool(shown)
            more = f" … {len(shown)} in all" if len(shown) > 4 else ""
            desk.say(f"  {panel['title']:<42} {' · '.join(shown[:4]) or '–'}{more}")
        if not moved:
            empty.append(panel["title"])
    desk.check(not empty, "every panel shows what happened", empty)


def read_alerts(desk: Desk, site: Site) -> None:
    """All rules are evaluated without a fault; what the broken key raised is among those that are up."""
    groups = json.loads(get(f"http://{site.prometheus_address}/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    unwell = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    desk.check(not unwell and len(rules) > 10, f"{len(rules)} rules are evaluated", unwell)
    up = {rule["name"]: rule["state"] for rule in rules if rule["state"] != "inactive"}
    for name, state in sorted(up.items()):
        desk.say(f"  {name}  {state}")
    desk.check(up.get("SealaneAlarm") == "firing", "SealaneAlarm fires for the key that did not fit", up)
