"""What a server says, held against the model: by then it must be true."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import grpc

from sealane.domain.ids import SessionId
from sealane.domain.views import CommittedObject
from sealane.rpc.convert import committed_from_proto, holder_from_proto
from sealane.rpc.status import from_rpc_error
from sealane.store import keys
from sealane.v1 import assembly_service_pb2, ingest_service_pb2, session_pb2
from tests.simulation.calls import Call
from tests.simulation.model import Model

_REFUSED = frozenset({"SESSION_NOT_FOUND", "SESSION_ABORTED", "SESSION_EXPIRED", "SESSION_LOST"})
_WHILE_OPEN = frozenset({"COVERAGE_INCOMPLETE", "DIGEST_MISMATCH", "CHUNK_CONFLICT", "CHUNK_OUT_OF_RANGE"})
"""Negative answers that say that nothing is decided yet."""
_OF_NO_SESSION = frozenset(
    {
        *("SESSION_NOT_FOUND", "INVALID_STREAM", "INVALID_REQUEST", "OVERLOADED", "DRAINING", "DEADLINE_EXCEEDED"),
        *("STORE_UNAVAILABLE", "PEER_UNAVAILABLE", "OUTCOME_UNKNOWN", "CHUNK_CORRUPT"),
    }
)
"""What may be answered of a session that the caller's tenant does not have."""
_GONE = {
    session_pb2.SESSION_STATE_ABORTED: "SESSION_ABORTED",
    session_pb2.SESSION_STATE_EXPIRED: "SESSION_EXPIRED",
    session_pb2.SESSION_STATE_LOST: "SESSION_LOST",
}


def judge(model: Model, call: Call, code: grpc.StatusCode, trailers: Any, answer: bytes | None) -> str:
    """Hold an answer, at the moment it leaves its server, against the model; say what it was."""
    said: str = code.name
    session = _session_of(call)
    if code is not grpc.StatusCode.OK:
        error = from_rpc_error(grpc.aio.AioRpcError(code, None, trailers))
        said = error.reason.value
        if session and session not in model.sessions and said not in _OF_NO_SESSION:
            model.violate("I12", f"{call.name} of {session} answers {said} to who has no such session")
        if said in _REFUSED and session:
            model.refused(session, said)
        elif said == "OBJECT_CORRUPT":
            model.violate("I4", f"{session} is answered as corrupt at rest")
        elif said in _WHILE_OPEN and session and call.name in {"CommitSession", "VerifySession"}:
            listed = [at for child in call.children for at, op, _ in child.landings if op == "list_objects"]
            model.still_open(session, said, max(listed, default=0.0))
    elif answer is not None and (not session or model.knows(session, call.name)):
        _success(model, call, session, answer)
    return said


def _success(model: Model, call: Call, session: str, answer: bytes) -> None:
    match call.name:
        case "CommitSession":
            committed = assembly_service_pb2.CommitSessionResponse.FromString(answer).committed_object
            model.committed(session, comparable(committed_from_proto(committed)))
        case "AbortSession":
            state = assembly_service_pb2.AbortSessionResponse.FromString(answer).state
            model.refused(session, _GONE[state])
        case "GetCommit":
            outcome = assembly_service_pb2.GetCommitResponse.FromString(answer)
            if outcome.state in _GONE:
                model.refused(session, _GONE[outcome.state])
            if outcome.HasField("committed_object"):
                model.committed(session, comparable(committed_from_proto(outcome.committed_object)))
        case "GetSession":
            _shown(model, session, ingest_service_pb2.GetSessionResponse.FromString(answer).session)
        case "ListSessions":
            for listed_session in ingest_service_pb2.ListSessionsResponse.FromString(answer).sessions:
                model.knows(listed_session.session_id, call.name)
                _shown(model, listed_session.session_id, listed_session)
        case "GetKey":
            asked = assembly_service_pb2.GetKeyRequest.FromString(call.request or b"")
            shown = assembly_service_pb2.GetKeyResponse.FromString(answer)
            model.key_shown(asked.object_key, holder_from_proto(shown.holder) if shown.HasField("holder") else None)
        case "UploadChunks":
            listed = max((at for at, op, _ in call.landings if op == "list_objects"), default=0.0)
            model.taken(session, listed)
            sent = model.sending.get(call.client.name)
            looked = max((at for at, op, key in call.landings if key.endswith(keys.DECISION)), default=0.0)
            for chunk in ingest_service_pb2.UploadChunksResponse.FromString(answer).chunks:
                model.acknowledged(session, chunk.chunk_index, sent, looked)


_IN_COMMON = [each.name for each in fields(CommittedObject) if each.name != "replayed"]


def judge_message(model: Model, call: Call, message: bytes) -> None:
    """Hold one message of an answer stream against the model."""
    match call.name:
        case "WatchSession":
            _shown(model, _session_of(call), ingest_service_pb2.WatchSessionResponse.FromString(message).session)
        case "AuditStore":
            audited = assembly_service_pb2.AuditStoreResponse.FromString(message)
            if audited.HasField("finding"):
                found = audited.finding
                kind = assembly_service_pb2.AuditKind.Name(found.kind).removeprefix("AUDIT_KIND_")
                model.found(kind, found.session_id, found.key)
        case "VerifyObject":
            progress = assembly_service_pb2.VerifyObjectResponse.FromString(message)
            if progress.blake3:
                model.proved(_session_of(call), progress.blake3, progress.size)


def _shown(model: Model, session: str, shown: session_pb2.Session) -> None:
    if shown.state in _GONE:
        model.refused(session, _GONE[shown.state])
    elif shown.state == session_pb2.SESSION_STATE_COMMITTED:
        model.shown_committed(session)


def comparable(committed: CommittedObject) -> tuple[object, ...]:
    """What all answers to a commit must have in common."""
    return tuple([getattr(committed, name) for name in _IN_COMMON])


def _session_of(call: Call) -> SessionId | str:
    """The session that a request names; "" if it names none."""
    if call.name == "UploadChunks":
        return call.session_id
    kind = _REQUESTS.get(call.name)
    return "" if kind is None or call.request is None else kind.FromString(call.request).session_id


_REQUESTS: dict[str, Any] = {
    "GetSession": ingest_service_pb2.GetSessionRequest,
    "WatchSession": ingest_service_pb2.WatchSessionRequest,
    "VerifyObject": assembly_service_pb2.VerifyObjectRequest,
    "StreamReceipts": ingest_service_pb2.StreamReceiptsRequest,
    "VerifySession": assembly_service_pb2.VerifySessionRequest,
    "CommitSession": assembly_service_pb2.CommitSessionRequest,
    "GetCommit": assembly_service_pb2.GetCommitRequest,
    "AbortSession": assembly_service_pb2.AbortSessionRequest,
    "DeleteSession": assembly_service_pb2.DeleteSessionRequest,
}
