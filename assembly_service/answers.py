"""What delete, audit and explain say, in the words of the wire."""

from __future__ import annotations

from assembly_service.delete import Deletion
from sealane.rpc import convert
from sealane.v1 import assembly_service_pb2 as pb


def deletion_to_proto(deletion: Deletion) -> pb.DeleteSessionResponse:
    """Kinds of which nothing was removed are left out."""
    return pb.DeleteSessionResponse(
        state=convert.state_to_proto(deletion.state),
        removed=[pb.Removal(kind=some.kind.value, count=some.count, bytes=some.size) for some in deletion.removed],
    )
