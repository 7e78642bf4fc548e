"""VerifyObject holds a connection for as long as it reads: so many at once, and never all that there are."""

from __future__ import annotations

import asyncio

import pytest
from assembly_faults import Fault, stalls
from assembly_time import eventually, run
from assembly_world import LIMITS, TENANT, World

from assembly_service.servicer import AssemblyServicer
from assembly_service.settings import AssemblySettings
from sealane.domain.errors import Overloaded, SessionNotFound
from sealane.domain.ids import Tenant
from sealane.rpc.call import Call, enter_call
from sealane.store.deadline import Deadline
from sealane.v1 import assembly_service_pb2 as pb


def test_readers_of_one_tenant_take_neither_all_readings_nor_anothers() -> None:
    """The one that finds none free is refused, and may come back; a tenant that has none finds one."""

    async def main() -> None:
        world = World()
        session = await world.session()
        replica = world.replica()
        await replica.commit(session)
        go = asyncio.Event()
        reads = replica.store.faults = Fault("read", session.record.key, stalls(go), times=100)
        servicer = AssemblyServicer(replica.assembly, limits=LIMITS, readings=4)

        async def read(tenant: Tenant = TENANT) -> bool:
            enter_call(Call("/test/VerifyObject", tenant, "somebody", "1", Deadline.after(60)))
            request = pb.VerifyObjectRequest(session_id=session.id)
            return [message async for message in servicer.VerifyObject(request, None)][-1].verified

        readers = [asyncio.create_task(read()) for _ in range(3)]
        await eventually(lambda: reads.fired == 3)
        with pytest.raises(Overloaded):
            await asyncio.create_task(read())
        with pytest.raises(SessionNotFound):  # it got in, and the session is not its own
            await asyncio.create_task(read(Tenant("another")))
        readers[0].cancel()
        await asyncio.wait([readers[0]])
        readers.append(asyncio.create_task(read()))
        await eventually(lambda: reads.fired == 4)
        go.set()
        assert await asyncio.gather(*readers[1:]) == [True] * 3

    run(main())


@pytest.mark.parametrize("connections", [2, 3, 16, 512])
def test_some_connections_are_left_for_everything_else(connections: int) -> None:
    settings = AssemblySettings(s3_endpoint="http://127.0.0.1:1", s3_max_connections=connections)
    assert 1 <= settings.readings_at_once < connections
