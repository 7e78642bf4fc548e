"""Logs of the service under test: plain lines, which pytest shows with what failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

pytest.register_assert_rewrite(
    "audited", "chosen_deletes", "chosen_key", "deletes"
)  # what they check tells its values, too


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Without this, structlog draws every alarm's traceback with all its local variables: seconds each."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    yield
    structlog.reset_defaults()
