"""Who may call what: one table for both services. What is not in it, nobody may call."""

from __future__ import annotations

from collections.abc import Mapping

from sealane.domain.errors import PermissionDenied
from sealane.identity.caller import Role

Rules = Mapping[str, frozenset[Role]]
"""Full method name, ``/package.Service/Method``, to the roles that may call it; one of them is enough."""

_ANYONE = frozenset({Role.UPLOADER, Role.READER, Role.OPERATOR})
_UPLOADER = frozenset({Role.UPLOADER})
_OPERATOR = frozenset({Role.OPERATOR})
_PEER = _ANYONE | {Role.SERVICE}

RULES: Rules = {
    "/sealane.v1.IngestService/CreateSession": _UPLOADER,
    "/sealane.v1.IngestService/UploadChunks": _UPLOADER,
    "/sealane.v1.IngestService/GetSession": _ANYONE,
    "/sealane.v1.IngestService/ListSessions": _ANYONE,
    "/sealane.v1.IngestService/WatchSession": _ANYONE,
    # Assembly, of any tenant; and for audits by the owner.
    "/sealane.v1.IngestService/StreamReceipts": _PEER,
    "/sealane.v1.IngestService/GetServerInfo": _ANYONE,
    "/sealane.v1.AssemblyService/VerifySession": _ANYONE,
    "/sealane.v1.AssemblyService/CommitSession": _UPLOADER,
    # Ingest, of any tenant: what it asks for GetSession's sake.
    "/sealane.v1.AssemblyService/GetCommit": _PEER,
    "/sealane.v1.AssemblyService/GetKey": _ANYONE,
    "/sealane.v1.AssemblyService/AbortSession": _UPLOADER | _OPERATOR,
    # What was committed outlives the credentials that sent it: these can't remove it.
    "/sealane.v1.AssemblyService/DeleteSession": _OPERATOR,
    "/sealane.v1.AssemblyService/AuditStore": _OPERATOR,
    "/sealane.v1.AssemblyService/ExplainSession": _ANYONE,
    "/sealane.v1.AssemblyService/VerifyObject": _ANYONE,
}


def require(rules: Rules, method: str, roles: frozenset[Role]) -> None:
    """PermissionDenied unless one of ``roles`` may call ``method``."""
    allowed = rules.get(method, frozenset())
    if allowed & roles:
        return
    needed = " or ".join(sorted(allowed)) or "that nobody has"
    held = ", ".join(sorted(roles)) or "none"
    raise PermissionDenied(f"{method.rpartition('/')[2]} needs the role {needed}; this identity has {held}.")
