"""The end of a process: SIGTERM drains, a second signal exits (real signals to a real process)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from tiny_service import call

from sealane.domain import errors
from sealane.rpc.channel import channel
from sealane.rpc.status import from_rpc_error

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Program:
    """drain_program.py as a child, read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def line(self, event: str) -> dict[str, Any]:
        """The next line with that event."""
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = json.loads(raw)
            self.lines.append(line)
            if line["event"] == event:
                return dict(line)
        raise AssertionError(f"the process ended without a line {event!r}: {self.lines}")

    async def exit_code(self) -> int:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(json.loads(raw))
        return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@contextlib.asynccontextmanager
async def program(drain_seconds: float) -> AsyncIterator[tuple[Program, aio.Channel]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "drain_program.py"),
        str(drain_seconds),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])},
    )
    running = Program(process)
    try:
        async with asyncio.timeout(60):
            address = (await running.line("serving"))["address"]
            async with channel(address, own_connection=True) as connected:
                yield running, connected
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def conversation(connected: aio.Channel) -> Any:
    stub = connected.stream_stream(
        "/tiny.Tiny/StreamStream",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )
    return stub()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_calls_in_hand_end_and_the_process_exits_0(number: signal.Signals) -> None:
    """A stream that was open at SIGTERM says and hears all it has to; new calls are refused meanwhile."""
    async with program(drain_seconds=50) as (running, connected):
        talk = conversation(connected)
        await talk.write(StringValue(value="before"))
        assert (await talk.read()).value == "before"
        running.signal(number)
        await running.line("draining")
        with pytest.raises(aio.AioRpcError) as refused:
            await call(connected, "UnaryUnary", ["hello"])
        # UNAVAILABLE, or gRPC's CANCELLED in the moment of the stop: worth a retry to a client of ours either way.
        assert isinstance(from_rpc_error(refused.value), errors.RetryLater)
        await talk.write(StringValue(value="after"))
        assert (await talk.read()).value == "after"
        await talk.done_writing()
        assert await talk.code() is grpc.StatusCode.OK
        assert await running.exit_code() == 0
        assert "drained" in [line["event"] for line in running.lines]


async def test_a_call_that_does_not_end_is_cut_off_at_the_drains_end() -> None:
    """UNAVAILABLE for it, a line that says so, and still an orderly exit."""
    async with program(drain_seconds=0.1) as (running, connected):
        hanging = asyncio.ensure_future(call(connected, "UnaryUnary", ["hang"], timeout=50))
        await running.line("entered")
        running.signal(signal.SIGTERM)
        with pytest.raises(aio.AioRpcError) as cut:
            await hanging
        assert cut.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await running.exit_code() == 0
        events = [line["event"] for line in running.lines]
        assert "drain_cut_off" in events
        assert [line["code"] for line in running.lines if line["event"] == "rpc"] == ["CANCELLED"]


async def test_the_second_signal_exits_at_once() -> None:
    """An operator who insists does not wait for drain_seconds."""
    async with program(drain_seconds=3600) as (running, connected):
        hanging = asyncio.ensure_future(call(connected, "UnaryUnary", ["hang"], timeout=50))
        await running.line("entered")
        running.signal(signal.SIGTERM)
        await running.line("draining")
        running.signal(signal.SIGTERM)
        assert await running.exit_code() == 130
        assert running.lines[-1]["event"] == "second_signal"
        with pytest.raises(aio.AioRpcError):
            await hanging
