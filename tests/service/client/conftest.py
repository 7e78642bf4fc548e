"""Both services, their store and a directory for a client, new for each test that asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from client_world import World, world

pytest.register_assert_rewrite("resuming")  # what it checks tells its values, too


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, ingests=2) as built:
        yield built
