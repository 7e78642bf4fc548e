"""CompleteMultipartUpload (CMU) going wrong in a test, and how often it was called."""

from __future__ import annotations

from assembly_faults import Fault
from assembly_world import Replica, Session

CMU = "complete_multipart"


def cmu(session: Session, action, **options) -> Fault:
    return Fault(CMU, session.record.key, action, **options)


def count(replica: Replica, op: str) -> int:
    return [call.op for call in replica.store.calls].count(op)
