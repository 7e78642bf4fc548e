"""The table of who may call what, against the services' own descriptors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealane.domain.errors import PermissionDenied
from sealane.identity.access import RULES, require
from sealane.identity.caller import Role
from sealane.v1 import assembly_service_pb2, ingest_service_pb2

PROTOS = Path(__file__).parents[2] / "protos" / "sealane" / "v1"
METHODS = {
    f"/{service.full_name}/{method.name}"
    for file in (ingest_service_pb2.DESCRIPTOR, assembly_service_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
}
CHANGES = ("CreateSession", "UploadChunks", "CommitSession", "AbortSession", "DeleteSession", "AuditStore")


def name(method: str) -> str:
    return method.rpartition("/")[2]


def test_every_rpc_has_a_rule_and_no_rule_is_for_nothing() -> None:
    """An rpc that is added to the protos fails here until somebody has said who may call it."""
    assert set(RULES) == METHODS
    assert all(RULES.values())


def test_who_only_reads_changes_nothing() -> None:
    """A new rpc that changes something belongs into CHANGES; the rest is safe to be asked."""
    assert {name(m) for m, roles in RULES.items() if Role.READER not in roles} == set(CHANGES)


def test_the_other_service_may_ask_for_receipts_and_outcomes_alone() -> None:
    """Of any tenant: so no more than it needs."""
    assert {name(m) for m, roles in RULES.items() if Role.SERVICE in roles} == {"StreamReceipts", "GetCommit"}


def test_an_uploaders_credentials_remove_nothing_that_was_committed() -> None:
    """A token that leaks from a pipeline must not cost what the pipeline has delivered."""
    allowed = {name(m) for m, roles in RULES.items() if Role.UPLOADER in roles}
    assert not allowed & {"DeleteSession", "AuditStore"}
    assert {"CreateSession", "UploadChunks", "CommitSession", "AbortSession"} <= allowed


def test_an_operator_sends_nothing() -> None:
    """Whoever looks after a tenant's data does not write it."""
    denied = {name(m) for m, roles in RULES.items() if Role.OPERATOR not in roles}
    assert denied == {"CreateSession", "UploadChunks", "CommitSession"}


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("role", list(Role))
def test_the_table_is_what_is_enforced(method: str, role: Role) -> None:
    if role in RULES[method]:
        require(RULES, method, frozenset({role}))
    else:
        with pytest.raises(PermissionDenied, match=f"{name(method)} needs the role"):
            require(RULES, method, frozenset({role}))
    with pytest.raises(PermissionDenied):
        require(RULES, method, frozenset())


def test_the_protos_say_who_may_call_each_rpc() -> None:
    """As the table does: a caller reads the protos, not our code."""
    said: dict[str, str] = {}
    for file in ("ingest_service", "assembly_service"):
        text = (PROTOS / f"{file}.proto").read_text(encoding="utf-8")
        said |= {rpc: roles for roles, rpc in re.findall(r"// Roles: ([a-z, ]+)\.\n  rpc (\w+)\(", text)}
    assert {rpc: set(roles.split(", ")) for rpc, roles in said.items()} == {
        name(method): {role.value for role in roles} for method, roles in RULES.items()
    }
