"""Ingest's question to assembly: who does not answer is named, and whose deadline it was."""

from __future__ import annotations

import pytest

from ingest_service.outcome_client import GrpcOutcomeClient
from sealane.dev.ports import LOOPBACK, free_ports
from sealane.domain.errors import PeerUnavailable
from sealane.domain.ids import SessionId, Tenant
from sealane.rpc.channel import channel
from sealane.store.deadline import Deadline


async def test_assembly_that_does_not_answer_is_named() -> None:
    """An operator who reads "the other service" must not have to guess which."""
    (nobody,) = free_ports(1)
    async with channel(f"{LOOPBACK}:{nobody}", own_connection=True) as peer:
        with pytest.raises(PeerUnavailable, match="assembly, does not answer"):
            await GrpcOutcomeClient(peer).get_commit(Tenant("acme"), SessionId("ab" * 16), Deadline.after(10))
