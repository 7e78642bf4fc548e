"""What can be said of a chosen key before the commit says it: nothing that the commit would not say as well."""

from __future__ import annotations

from sealane.client.connections import Connections
from sealane.client.errors import (
    GaveUp,
    GenerationMismatch,
    InvalidObjectKey,
    SealaneError,
    SessionMismatch,
    Unimplemented,
    is_transient,
)
from sealane.client.results import Session
from sealane.client.upload_request import UploadRequest
from sealane.client.wire_text import wire_text
from sealane.rpc.convert import holder_from_proto
from sealane.v1 import assembly_service_pb2

EARLY_SECONDS = 5.0


async def refuse_early(connections: Connections, request: UploadRequest, request_id: str) -> None:
    """GenerationMismatch if the precondition does not hold now and the key holds other bytes: before ours are sent.

    Only for a session that is not made yet; one that is may be committed already. Other bytes are those of another
    size; equal sizes are the commit's to judge. When assembly does not answer, so is everything.
    """
    if not request.object_key or request.overwrite:
        return
    wanted = request.if_generation_match or 0
    key = wire_text(request.object_key, InvalidObjectKey, "object_key")
    asked = assembly_service_pb2.GetKeyRequest(object_key=key)
    try:
        answer = await connections.unary(
            connections.assembly.GetKey, asked, timeout=EARLY_SECONDS, request_id=request_id
        )
    except SealaneError as error:
        if is_transient(error) or isinstance(error, GaveUp):  # with a patience shorter than EARLY_SECONDS
            return
        raise
    holder = holder_from_proto(answer.holder) if answer.HasField("holder") else None
    if answer.generation == wanted and (holder is None or not holder.foreign):
        return
    if holder is None or holder.foreign or (request.size is not None and request.size != holder.size):
        raise GenerationMismatch.of(request.object_key, wanted, holder)


def check_key(request: UploadRequest, session: Session) -> None:
    """A session's key and precondition were settled when it was created: whoever names others means another one.

    SessionMismatch; Unimplemented if the server made a session with a key of its own: it does not know ours.
    """
    if not request.object_key:
        return
    if not session.chosen_key and not request.session_id:
        raise Unimplemented("This server can't store under a key that the caller chooses. Nothing was stored.")
    wanted = (request.object_key, request.overwrite, None if request.overwrite else request.if_generation_match or 0)
    if wanted != (session.chosen_key, session.overwrite, session.if_generation_match):
        raise SessionMismatch("The session was made for another object_key, or with another precondition.")
