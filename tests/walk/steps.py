"""The walk's steps, in the order of docs/walkthrough.md. Each says what an operator types and sees, and checks it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess

from tests.authority import serial
from tests.walk.board import read_alerts, read_board
from tests.walk.desk import Desk
from tests.walk.site import NEXT_TOKEN, TOKEN, Replica, Site

MiB = 1 << 20


def install(desk: Desk, site: Site) -> None:
    desk.head("Install: ask the store, write the files, start two replicas of each service")
    keys = {"SEALANE_S3_ACCESS_KEY": site.store.access_key, "SEALANE_S3_SECRET_KEY": site.store.secret_key}
    desk.run("sealane", "doctor", "--endpoint", site.store.endpoint, env=keys, show=["ok ", "The store"])
    site.lay_out()
    for replica in site.replicas:
        replica.launch()
    desk.until("all four are ready", lambda: all(replica.ready() for replica in site.replicas))
    desk.run("sealane", "info", show=["version", "store", "R1"])


def wrong_doors(desk: Desk, site: Site) -> None:
    desk.head("Wrong doors: each says what is wrong, and its exit code what kind of thing")
    desk.run("sealane", "ls", code=10, env={"SEALANE_TOKEN_FILE": ""})
    plain = {"SEALANE_TOKEN_FILE": "", "SEALANE_CA_FILE": "", "SEALANE_SERVER_NAME": ""}
    told = desk.run("sealane", "ls", "--timeout", "1", code=6, env=plain)
    desk.check("TLS" in told, "it says that TLS may be what is missing", told)
    told = desk.run("sealane", "ls", "--timeout", "1", "--server-name", "elsewhere", code=6)
    desk.check("name" in told, "it says that the certificate has another name", told)


def upload(desk: Desk, site: Site) -> str:
    """The session that it made."""
    desk.head("Upload, and prove it: by the CLI, by grpcurl, by curl")
    (desk.directory / "film.mov").write_bytes(os.urandom(20 * MiB))
    made = json.loads(desk.run("sealane", "put", "film.mov", "--key", "films/a.mov", "--json", show=0))
    session: str = made["session_id"]
    desk.run("sealane", "verify", session, show=["verified", "blake3"])
    bearer = f"authorization: Bearer {TOKEN}"
    where = ("-cacert", "tls/ca.crt", "-authority", "sealane", "-H", bearer, site.ingest[0].address)
    listed = desk.run("grpcurl", *where, "sealane.v1.IngestService/ListSessions", show=["session_id", '"state"'])
    desk.check(session in listed, "grpcurl lists the session")
    stored = sum(replica.metric("sealane_chunks_total", result="stored") for replica in site.ingest)
    desk.check(stored == 3, 'sealane_chunks_total{result="stored"} is 3, over both replicas', stored)
    ended = sum(replica.metric("sealane_sessions_ended_total", outcome="committed") for replica in site.assembly)
    desk.check(ended == 1, 'sealane_sessions_ended_total{outcome="committed"} is 1, over both replicas', ended)
    again = json.loads(desk.run("sealane", "put", "film.mov", "--key", "films/a.mov", "--json", show=0))
    seen = sum(replica.metric("sealane_sessions_ended_total", outcome="duplicate") for replica in site.assembly)
    desk.check(seen == 1, "the same bytes under the same key are a success, and counted as a duplicate", again)
    return session


def rotate(desk: Desk, site: Site) -> None:
    desk.head("Rotate the certificate and the token, while an upload goes on")
    before, until = _served(site.ingest[0]), site.ingest[0].metric(_NOT_AFTER)
    going_on = slow_put(desk, "rotated.mov", rate="2M")
    site.certify(days=60)
    desk.until("a new connection gets the new certificate", lambda: _served(site.ingest[0]) != before)
    desk.until("the metric follows, on each replica", lambda: all(r.metric(_NOT_AFTER) > until for r in site.replicas))
    desk.head("A key that does not fit is never served, and is an alarm")
    good, now = (desk.directory / "tls/tls.key").read_bytes(), _served(site.ingest[0])
    (desk.directory / "tls/tls.key").write_text("half a file")
    desk.until(
        'sealane_alarms_total{alarm="reload_failed"} is 1 on each replica',
        lambda: {r.metric("sealane_alarms_total", alarm="reload_failed") for r in site.replicas} == {1.0},
    )
    line = site.ingest[0].lines("reload_failed")[-1]
    desk.say(f"  {json.dumps({name: line[name] for name in line if name in _FIELDS})}")
    desk.check(_served(site.ingest[0]) == now, "the certificate before it is still served")
    (desk.directory / "tls/tls.key").write_bytes(good)
    desk.head("The token: add the next one, hand it out, remove the old one")
    for name, token in (("old-token", TOKEN), ("next-token", NEXT_TOKEN)):
        (desk.directory / name).write_text(token)
    site.identify(TOKEN, NEXT_TOKEN)
    desk.until("the next token is in force, at each ingest", lambda: _known(desk, site, "next-token") == {True})
    (desk.directory / "next-token").replace(desk.directory / "token")
    site.identify(NEXT_TOKEN)
    desk.until("the old one is not, at each ingest", lambda: _known(desk, site, "old-token") == {False})
    desk.run("sealane", "ls", "--token-file", "old-token", code=10)
    desk.end(going_on, "the upload that was under way meanwhile is committed")


def roll(desk: Desk, site: Site) -> None:
    desk.head("Roll: SIGTERM, exit, start, ready, one replica after the other, under uploads")
    for replica in site.replicas:
        going_on = slow_put(desk, f"roll-{replica.name}.mov")
        _wait_for_streams(desk, site)
        code = replica.terminate()
        desk.check(code == 0, f"{replica.name} drained, and ended with 0", code)
        desk.check([*replica.lines("drained")] != [], "its log says `drained`")
        replica.launch()
        desk.end(going_on, "the upload that was under way is committed")
        desk.until(f"{replica.name} is ready again", replica.ready)


def kill(desk: Desk, site: Site) -> None:
    desk.head("Kill: SIGKILL to a replica of each, in the middle of an upload")
    going_on = slow_put(desk, "killed.mov")
    _wait_for_streams(desk, site)
    for replica in (site.ingest[0], site.assembly[0]):
        replica.kill()
    result = json.loads(desk.end(going_on, "the upload is committed through those that are left"))
    desk.run("sealane", "verify", result["session_id"], show=["verified"])
    for replica in (site.ingest[0], site.assembly[0]):
        replica.launch()
    desk.until("both are back", lambda: site.ingest[0].ready() and site.assembly[0].ready())


def overload(desk: Desk, site: Site) -> None:
    desk.head("Overload: six uploads of four streams each, where eight streams fit")
    before = sum(replica.metric("sealane_rpc_errors_total", reason="OVERLOADED") for replica in site.ingest)
    under_way = [slow_put(desk, f"crowd-{number}.mov", rate="10M") for number in range(6)]
    for begun in under_way:
        desk.end(begun, "committed")
    refused = sum(replica.metric("sealane_rpc_errors_total", reason="OVERLOADED") for replica in site.ingest)
    desk.check(refused > before, f"streams were told to come back: {refused - before:.0f} OVERLOADED", refused)
    most = max(replica.metric("sealane_upload_streams_limit") for replica in site.ingest)
    desk.check(most == 4, "sealane_upload_streams_limit is what was set", most)


def dashboards(desk: Desk, site: Site) -> None:
    desk.head("Read the dashboard: each panel's own query, asked of Prometheus")
    read_board(desk, site)
    desk.head("Alerts")
    read_alerts(desk, site)


def audit(desk: Desk, site: Site, session: str) -> None:
    desk.head("Audit, explain, remove; and the end")
    logs = [str(replica.log.relative_to(desk.directory)) for replica in site.replicas]
    told = desk.run("sealane", "explain", session, "--logs", *_each(logs), show=["store  ", "CommitSession"])
    desk.check("CommitSession" in told, "the history has the store's records and the services' lines")
    desk.run("sealane", "audit", "--min-age", "0")
    desk.run("sealane", "rm", session)
    desk.run("sealane", "status", session, code=3)
    desk.run("sealane", "audit", "--min-age", "0", show=5)
    for replica in site.replicas:
        code = replica.terminate()
        desk.check(code == 0, f"{replica.name} ended with 0", code)


def slow_put(desk: Desk, name: str, rate: str = "6M") -> subprocess.Popen[str]:
    """An upload of four chunks that takes some seconds."""
    path = desk.directory / name
    path.write_bytes(os.urandom(32 * MiB))
    return desk.begin("sealane", "put", name, "--limit-rate", rate, "--json", "-q")


_FIELDS = frozenset({"event", "alarm", "what", "error", "detail", "level"})
_NOT_AFTER = "sealane_certificate_not_after_timestamp_seconds"


def _served(replica: Replica) -> int:
    """The serial number of the certificate that a new connection gets."""
    host, _, port = replica.address.rpartition(":")
    return serial(ssl.get_server_certificate((host, int(port)), timeout=20).encode())


def _known(desk: Desk, site: Site, token: str) -> set[bool]:
    """Whether the replicas of ingest know the token in that file."""
    asked = [desk.answer("sealane", "ls", "--json", "--token-file", token, "--ingest", r.address) for r in site.ingest]
    return {'"error"' not in told for told in asked}


def _wait_for_streams(desk: Desk, site: Site) -> None:
    desk.until("its streams are open", lambda: sum(r.metric("sealane_upload_streams") for r in site.ingest) > 0)


def _each(logs: list[str]) -> list[str]:
    """``--logs`` once for each but the first."""
    return [word for number, log in enumerate(logs) for word in (("--logs", log) if number else (log,))]
