"""A real grpc.aio server on a free port, for each test its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tiny_server import Serve, Served, serving


@pytest.fixture
def serve_tiny() -> Serve:
    return serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running
