"""Logs: one JSON object a line on stdout, for the services' own events and for those of libraries alike.

``request_id`` and ``session_id`` are bound with ``structlog.contextvars.bind_contextvars`` and then stand in every line
of that call. Public errors name an ``error_id``; the line that has it has the private text too. Settings that are
secret are ``SecretStr`` and render as stars.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger


@dataclass(slots=True)
class Told:
    """What this process has logged, for its metrics."""

    lines: Counter[str] = field(default_factory=Counter)
    """By level."""
    alarms: Counter[str] = field(default_factory=Counter)
    """Lines with ``alarm``: by event, and of calls that failed (``rpc``) by reason. Both are words of the code."""


told = Told()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """``name`` becomes the field ``logger``."""
    return structlog.stdlib.get_logger(name)


def configure_command() -> None:
    """For a command of the CLI: stdout is for its result, and what a service would log at INFO is not its user's."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.LogfmtRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def configure(level: str, fmt: str, service: str) -> None:
    """Set logging up for the process: ``level`` as in ``logging``, ``fmt`` "json" or "console"."""

    def add_service(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _count,
        structlog.stdlib.add_logger_name,
        add_service,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.UnicodeDecoder(),
    ]
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        if fmt == "console"
        # Plain tracebacks: the kind with local variables would show what no log may hold.
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Libraries that log each request or each event of the loop: a line of ours has the outcome.
    for chatty in ("asyncio", "urllib3", "grpc", "numba"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _count(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    told.lines[event["level"]] += 1
    if event.get("alarm"):
        told.alarms[str(event["reason"] if event["event"] == "rpc" and "reason" in event else event["event"])] += 1
    return event
