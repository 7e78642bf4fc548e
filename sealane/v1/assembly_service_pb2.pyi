import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sealane.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_KIND_UNSPECIFIED: _ClassVar[AuditKind]
    AUDIT_KIND_OBJECT_MISSING: _ClassVar[AuditKind]
    AUDIT_KIND_OBJECT_WITHOUT_RECORDS: _ClassVar[AuditKind]
    AUDIT_KIND_RECORD_WITHOUT_SESSION: _ClassVar[AuditKind]
    AUDIT_KIND_RECEIPT_WITHOUT_SESSION: _ClassVar[AuditKind]
    AUDIT_KIND_UPLOAD_WITHOUT_SESSION: _ClassVar[AuditKind]
    AUDIT_KIND_SESSION_OVERDUE: _ClassVar[AuditKind]
    AUDIT_KIND_BAD_RECORD: _ClassVar[AuditKind]
    AUDIT_KIND_UNKNOWN_KEY: _ClassVar[AuditKind]
    AUDIT_KIND_UPLOAD_MISSING: _ClassVar[AuditKind]
AUDIT_KIND_UNSPECIFIED: AuditKind
AUDIT_KIND_OBJECT_MISSING: AuditKind
AUDIT_KIND_OBJECT_WITHOUT_RECORDS: AuditKind
AUDIT_KIND_RECORD_WITHOUT_SESSION: AuditKind
AUDIT_KIND_RECEIPT_WITHOUT_SESSION: AuditKind
AUDIT_KIND_UPLOAD_WITHOUT_SESSION: AuditKind
AUDIT_KIND_SESSION_OVERDUE: AuditKind
AUDIT_KIND_BAD_RECORD: AuditKind
AUDIT_KIND_UNKNOWN_KEY: AuditKind
AUDIT_KIND_UPLOAD_MISSING: AuditKind

class VerifySessionRequest(_message.Message):
    __slots__ = ("session_id", "chunk_count", "size", "blake3")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    chunk_count: int
    size: int
    blake3: bytes
    def __init__(self, session_id: _Optional[str] = ..., chunk_count: _Optional[int] = ..., size: _Optional[int] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class VerifySessionResponse(_message.Message):
    __slots__ = ("state", "chunk_count", "size", "blake3")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    state: _session_pb2.SessionState
    chunk_count: int
    size: int
    blake3: bytes
    def __init__(self, state: _Optional[_Union[_session_pb2.SessionState, str]] = ..., chunk_count: _Optional[int] = ..., size: _Optional[int] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class CommitSessionRequest(_message.Message):
    __slots__ = ("session_id", "chunk_count", "size", "blake3")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    chunk_count: int
    size: int
    blake3: bytes
    def __init__(self, session_id: _Optional[str] = ..., chunk_count: _Optional[int] = ..., size: _Optional[int] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class CommitSessionResponse(_message.Message):
    __slots__ = ("committed_object",)
    COMMITTED_OBJECT_FIELD_NUMBER: _ClassVar[int]
    committed_object: _session_pb2.CommittedObject
    def __init__(self, committed_object: _Optional[_Union[_session_pb2.CommittedObject, _Mapping]] = ...) -> None: ...

class GetCommitRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class GetCommitResponse(_message.Message):
    __slots__ = ("state", "committed_object")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_OBJECT_FIELD_NUMBER: _ClassVar[int]
    state: _session_pb2.SessionState
    committed_object: _session_pb2.CommittedObject
    def __init__(self, state: _Optional[_Union[_session_pb2.SessionState, str]] = ..., committed_object: _Optional[_Union[_session_pb2.CommittedObject, _Mapping]] = ...) -> None: ...

class AbortSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class AbortSessionResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: _session_pb2.SessionState
    def __init__(self, state: _Optional[_Union[_session_pb2.SessionState, str]] = ...) -> None: ...

class VerifyObjectRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class VerifyObjectResponse(_message.Message):
    __slots__ = ("bytes_read", "size", "verified", "blake3")
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    bytes_read: int
    size: int
    verified: bool
    blake3: bytes
    def __init__(self, bytes_read: _Optional[int] = ..., size: _Optional[int] = ..., verified: _Optional[bool] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class GetKeyRequest(_message.Message):
    __slots__ = ("object_key",)
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    object_key: str
    def __init__(self, object_key: _Optional[str] = ...) -> None: ...

class GetKeyResponse(_message.Message):
    __slots__ = ("holder", "generation", "cooling_until")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    COOLING_UNTIL_FIELD_NUMBER: _ClassVar[int]
    holder: _session_pb2.KeyHolder
    generation: int
    cooling_until: _timestamp_pb2.Timestamp
    def __init__(self, holder: _Optional[_Union[_session_pb2.KeyHolder, _Mapping]] = ..., generation: _Optional[int] = ..., cooling_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeleteSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class DeleteSessionResponse(_message.Message):
    __slots__ = ("state", "removed")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    state: _session_pb2.SessionState
    removed: _containers.RepeatedCompositeFieldContainer[Removal]
    def __init__(self, state: _Optional[_Union[_session_pb2.SessionState, str]] = ..., removed: _Optional[_Iterable[_Union[Removal, _Mapping]]] = ...) -> None: ...

class Removal(_message.Message):
    __slots__ = ("kind", "count", "bytes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    count: int
    bytes: int
    def __init__(self, kind: _Optional[str] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class AuditStoreRequest(_message.Message):
    __slots__ = ("min_age", "repair")
    MIN_AGE_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    min_age: _duration_pb2.Duration
    repair: bool
    def __init__(self, min_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., repair: _Optional[bool] = ...) -> None: ...

class AuditStoreResponse(_message.Message):
    __slots__ = ("finding", "progress", "summary")
    FINDING_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    finding: AuditFinding
    progress: AuditProgress
    summary: AuditSummary
    def __init__(self, finding: _Optional[_Union[AuditFinding, _Mapping]] = ..., progress: _Optional[_Union[AuditProgress, _Mapping]] = ..., summary: _Optional[_Union[AuditSummary, _Mapping]] = ...) -> None: ...

class AuditFinding(_message.Message):
    __slots__ = ("kind", "session_id", "key", "count", "bytes", "age", "text", "repaired")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    kind: AuditKind
    session_id: str
    key: str
    count: int
    bytes: int
    age: _duration_pb2.Duration
    text: str
    repaired: bool
    def __init__(self, kind: _Optional[_Union[AuditKind, str]] = ..., session_id: _Optional[str] = ..., key: _Optional[str] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ..., repaired: _Optional[bool] = ...) -> None: ...

class AuditProgress(_message.Message):
    __slots__ = ("keys", "sessions")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    keys: int
    sessions: int
    def __init__(self, keys: _Optional[int] = ..., sessions: _Optional[int] = ...) -> None: ...

class AuditSummary(_message.Message):
    __slots__ = ("keys", "sessions", "objects", "object_bytes", "findings")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    keys: int
    sessions: int
    objects: int
    object_bytes: int
    findings: _containers.RepeatedCompositeFieldContainer[AuditCount]
    def __init__(self, keys: _Optional[int] = ..., sessions: _Optional[int] = ..., objects: _Optional[int] = ..., object_bytes: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[AuditCount, _Mapping]]] = ...) -> None: ...

class AuditCount(_message.Message):
    __slots__ = ("kind", "findings", "count", "bytes", "repaired")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    kind: AuditKind
    findings: int
    count: int
    bytes: int
    repaired: int
    def __init__(self, kind: _Optional[_Union[AuditKind, str]] = ..., findings: _Optional[int] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ..., repaired: _Optional[int] = ...) -> None: ...

class ExplainSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class ExplainSessionResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[SessionEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[SessionEvent, _Mapping]]] = ...) -> None: ...

class SessionEvent(_message.Message):
    __slots__ = ("time", "event", "text", "fields", "chunks")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    event: str
    text: str
    fields: _containers.ScalarMap[str, str]
    chunks: _containers.RepeatedCompositeFieldContainer[_session_pb2.ChunkRange]
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[str] = ..., text: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ..., chunks: _Optional[_Iterable[_Union[_session_pb2.ChunkRange, _Mapping]]] = ...) -> None: ...
