"""What a servicer knows of the call it serves: who asks, under which id, and until when.

Set by :mod:`sealane.rpc.interceptors` for the handler's task; read with :func:`this_call`. The tenant comes from the
caller's verified identity (:mod:`sealane.identity.caller`), never from a field.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from sealane.domain.ids import Tenant
from sealane.identity.caller import Role
from sealane.store.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC in progress."""

    method: str
    """Full method, ``/sealane.v1.IngestService/GetSession``."""
    tenant: Tenant
    subject: str
    """Who asks, for logs and for session.json's owner."""
    request_id: str
    """From metadata ``x-request-id`` if it is printable and short, else made here; in every log line and reply."""
    deadline: Deadline
    """The caller's deadline, or the server's default if it gave none, and never beyond the server's own limit."""
    roles: frozenset[Role] = frozenset()
    """What the caller is, for this tenant."""
    recheck: Callable[[], None] = lambda: None
    """Raises Unauthenticated once the caller's credentials hold no more: to be asked on long streams."""


_current: ContextVar[Call] = ContextVar("sealane_call")


def this_call() -> Call:
    """The call that the running task serves. LookupError outside of one."""
    return _current.get()


def enter_call(call: Call) -> None:
    """Make ``call`` the running task's own, for as long as the task runs."""
    _current.set(call)
