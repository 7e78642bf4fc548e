"""`sealane audit` on a real store: what does not belong is found, told, and removed only on request."""

from __future__ import annotations

import secrets

import pytest
from cli_process import Commands

from sealane.dev.cluster import Cluster
from sealane.dev.signed_http import signed_request

pytestmark = pytest.mark.e2e


def ask(cluster: Cluster, method: str, key: str, body: bytes = b"") -> int:
    """The status of one plain S3 request."""
    store = cluster.store
    status, _ = signed_request(
        store.endpoint,
        method,
        f"{store.bucket}/{key}",
        access_key=store.access_key,
        secret_key=store.secret_key,
        body=body,
    )
    return status


def test_receipts_of_no_session_are_found_and_removed_only_on_request(cluster: Cluster, sealane: Commands) -> None:
    """Exit code 8 while they are there. Other tests' sessions share the bucket; none of theirs is touched."""
    session = secrets.token_hex(16)
    name = "00000000.5." + ".".join(["A" * 43] * 3) + ".ImUi"
    keys = [f".sealane/default/sessions/{session}/receipts/{name.replace('0.5', f'{n}.5')}" for n in range(2)]
    assert {ask(cluster, "PUT", key) for key in keys} == {200}

    told = sealane("audit", "--min-age", "0s", "--json")
    assert told.code == 8, told.err
    assert told.err == ""
    ours = [each for each in told.document["findings"] if each["session_id"] == session]
    assert [(each["kind"], each["count"], each["repaired"]) for each in ours] == [("RECEIPT_WITHOUT_SESSION", 2, False)]
    assert told.document["clean"] is False
    assert told.document["sessions"] >= 1
    counted = {each["kind"]: each for each in told.document["kinds"]}
    assert counted["RECEIPT_WITHOUT_SESSION"]["count"] >= 2
    assert {ask(cluster, "GET", key) for key in keys} == {200}, "an audit changes nothing"

    for_people = sealane("audit", "--min-age", "0s")
    assert for_people.code == 8
    assert session in for_people.out
    assert "receipt without session" in for_people.out
    assert "finding" in for_people.out.splitlines()[-1]

    assert session not in sealane("audit", "--json").out, "what is younger than 15 minutes may just be being written"

    repaired = sealane("audit", "--min-age", "0s", "--repair", "--json")
    ours = [each for each in repaired.document["findings"] if each["session_id"] == session]
    assert [each["repaired"] for each in ours] == [True]
    assert {ask(cluster, "GET", key) for key in keys} == {404}
