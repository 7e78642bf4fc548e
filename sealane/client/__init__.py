"""The SDK: upload, resume, watch and verify, async (:class:`Client`) or blocking (:class:`SyncClient`).

    async with Client("127.0.0.1:7301", "127.0.0.1:7302") as client:
        result = await client.upload("film.mov")
        print(result.key, result.digest)

docs/clients.md is the guide, for other languages too.
"""

from sealane.client import errors
from sealane.client.api import Client
from sealane.client.audit import AuditCount, AuditFinding, AuditKind, AuditSummary
from sealane.client.backoff import BackoffPolicy
from sealane.client.credentials import Token
from sealane.client.errors import ClientClosed, GaveUp, SealaneError, SessionMismatch, SourceChanged
from sealane.client.journal import Journal, JournalEntry, default_directory
from sealane.client.progress import Phase, Progress, ProgressCallback
from sealane.client.results import (
    BrokenStream,
    DeletedSession,
    KeyState,
    Outcome,
    ProbeVerdict,
    Removal,
    ServerInfo,
    ServerLimits,
    ServerStatistics,
    Session,
    SessionEvent,
    UploadResult,
    VerifiedObject,
    VerifiedSession,
)
from sealane.client.source import UploadSource
from sealane.client.streams import StreamOptions
from sealane.client.sync import SyncClient
from sealane.domain.chunks import ChunkRange, Receipt
from sealane.domain.coverage import Coverage, PrefixDigest
from sealane.domain.states import SessionState
from sealane.domain.views import CommittedObject, KeyHolder
from sealane.rpc.client_tls import ClientTls as Tls

__all__ = [
    "AuditCount",
    "AuditFinding",
    "AuditKind",
    "AuditSummary",
    "BackoffPolicy",
    "BrokenStream",
    "ChunkRange",
    "Client",
    "ClientClosed",
    "CommittedObject",
    "Coverage",
    "DeletedSession",
    "GaveUp",
    "Journal",
    "JournalEntry",
    "KeyHolder",
    "KeyState",
    "Outcome",
    "Phase",
    "PrefixDigest",
    "ProbeVerdict",
    "Progress",
    "ProgressCallback",
    "Receipt",
    "Removal",
    "SealaneError",
    "ServerInfo",
    "ServerLimits",
    "ServerStatistics",
    "Session",
    "SessionEvent",
    "SessionMismatch",
    "SessionState",
    "SourceChanged",
    "StreamOptions",
    "SyncClient",
    "Tls",
    "Token",
    "UploadResult",
    "UploadSource",
    "VerifiedObject",
    "VerifiedSession",
    "default_directory",
    "errors",
]
