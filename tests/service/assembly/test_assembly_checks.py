"""Each check of a session holds all of its receipts in memory: so many at once, and some for a tenant that has none."""

from __future__ import annotations

import asyncio

import pytest
from assembly_faults import Fault, stalls
from assembly_time import eventually, run
from assembly_world import LIMITS, TENANT, World

from assembly_service.servicer import AssemblyServicer
from sealane.domain.errors import Overloaded, SessionNotFound
from sealane.domain.ids import Tenant
from sealane.rpc.call import Call, enter_call
from sealane.store import keys
from sealane.store.deadline import Deadline
from sealane.v1 import assembly_service_pb2 as pb


@pytest.mark.parametrize("rpc", ["VerifySession", "CommitSession", "ExplainSession"])
def test_checks_of_one_tenant_take_neither_all_places_nor_anothers(rpc: str) -> None:
    """The one that finds none free is refused, and may come back; a tenant that has none finds one."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        go = asyncio.Event()
        mine = f"{TENANT}/sessions/{session.id}/{keys.SESSION}"
        reads = replica.store.faults = Fault("get", mine, stalls(go), times=3)
        servicer = AssemblyServicer(replica.assembly, limits=LIMITS, checks=4)

        async def check(tenant: Tenant = TENANT) -> None:
            enter_call(Call(f"/test/{rpc}", tenant, "somebody", "1", Deadline.after(60)))
            told = session.parameters
            facts = {"chunk_count": told.chunk_count, "size": told.size, "blake3": told.blake3}
            if rpc == "ExplainSession":
                async for _ in servicer.ExplainSession(pb.ExplainSessionRequest(session_id=session.id), None):
                    pass
            else:
                request = getattr(pb, f"{rpc}Request")(session_id=session.id, **facts)
                await getattr(servicer, rpc)(request, None)

        checks = [asyncio.create_task(check()) for _ in range(3)]
        await eventually(lambda: reads.fired == 3)
        with pytest.raises(Overloaded):
            await asyncio.create_task(check())
        with pytest.raises(SessionNotFound):  # it got in, and the session is not its own
            await asyncio.create_task(check(Tenant("another")))
        go.set()
        await asyncio.gather(*checks)
        await asyncio.create_task(check())

    run(main())
