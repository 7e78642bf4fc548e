"""What `sealane dev` says to try: each line must work as it stands, but for words in capitals."""

from __future__ import annotations

import pytest

from sealane.cli.dev import commands_to_try
from sealane.cluster_file import ClusterInfo, ServiceInfo, StoreInfo


def info(ca_file: str = "") -> ClusterInfo:
    services = tuple(
        ServiceInfo(f"{kind}-1", kind, f"127.0.0.1:{port}", "", "", "")
        for kind, port in (("ingest", 7301), ("assembly", 7302))
    )
    return ClusterInfo(1, "default", StoreInfo("http://127.0.0.1:1", "b", "r", "a", "s"), services, ca_file)


def test_where_all_is_found_by_itself_nothing_is_told() -> None:
    lines = commands_to_try(info(), found=True, identity="static")
    assert lines[:3] == ["sealane put FILE", "sealane ls", "grpcurl -plaintext 127.0.0.1:7301 list"]


def test_from_another_folder_every_command_has_the_addresses_and_the_authority() -> None:
    lines = commands_to_try(info("/tmp/ca.pem"), found=False, identity="static")
    where = "--ingest 127.0.0.1:7301 --assembly 127.0.0.1:7302 --ca-file /tmp/ca.pem --server-name localhost"
    assert lines[:2] == [f"sealane put FILE {where}", f"sealane ls {where}"]
    assert all(line.startswith("grpcurl -cacert /tmp/ca.pem ") for line in lines[2:])


@pytest.mark.parametrize("identity", ["tokens", "jwt", "mtls, tokens"])
def test_where_a_token_is_asked_for_every_command_shows_one(identity: str) -> None:
    lines = commands_to_try(info(), found=True, identity=identity)
    assert lines[:2] == ["sealane put FILE --token-file TOKEN", "sealane ls --token-file TOKEN"]
    assert all('-plaintext -H "authorization: Bearer $(cat TOKEN)" ' in line for line in lines[2:])
