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

class ChunkStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHUNK_STATUS_UNSPECIFIED: _ClassVar[ChunkStatus]
    CHUNK_STATUS_STORED: _ClassVar[ChunkStatus]
    CHUNK_STATUS_DUPLICATE: _ClassVar[ChunkStatus]
CHUNK_STATUS_UNSPECIFIED: ChunkStatus
CHUNK_STATUS_STORED: ChunkStatus
CHUNK_STATUS_DUPLICATE: ChunkStatus

class CreateSessionRequest(_message.Message):
    __slots__ = ("filename", "size", "chunk_size", "content_type", "metadata", "ttl", "request_id", "object_key", "if_generation_match", "overwrite")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    filename: str
    size: int
    chunk_size: int
    content_type: str
    metadata: _containers.ScalarMap[str, str]
    ttl: _duration_pb2.Duration
    request_id: str
    object_key: str
    if_generation_match: int
    overwrite: bool
    def __init__(self, filename: _Optional[str] = ..., size: _Optional[int] = ..., chunk_size: _Optional[int] = ..., content_type: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ..., object_key: _Optional[str] = ..., if_generation_match: _Optional[int] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class CreateSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...

class UploadChunksRequest(_message.Message):
    __slots__ = ("header", "frame")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    header: StreamHeader
    frame: ChunkFrame
    def __init__(self, header: _Optional[_Union[StreamHeader, _Mapping]] = ..., frame: _Optional[_Union[ChunkFrame, _Mapping]] = ...) -> None: ...

class StreamHeader(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class ChunkFrame(_message.Message):
    __slots__ = ("chunk_index", "offset", "data", "blake3")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    offset: int
    data: bytes
    blake3: bytes
    def __init__(self, chunk_index: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class UploadChunksResponse(_message.Message):
    __slots__ = ("chunks", "coverage")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[ChunkResult]
    coverage: _session_pb2.Coverage
    def __init__(self, chunks: _Optional[_Iterable[_Union[ChunkResult, _Mapping]]] = ..., coverage: _Optional[_Union[_session_pb2.Coverage, _Mapping]] = ...) -> None: ...

class ChunkResult(_message.Message):
    __slots__ = ("chunk_index", "status")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    status: ChunkStatus
    def __init__(self, chunk_index: _Optional[int] = ..., status: _Optional[_Union[ChunkStatus, str]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: _session_pb2.SessionState
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[_session_pb2.SessionState, str]] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[_session_pb2.Session]
    next_page_token: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[_session_pb2.Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class WatchSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...

class StreamReceiptsRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class StreamReceiptsResponse(_message.Message):
    __slots__ = ("receipts",)
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    receipts: _containers.RepeatedCompositeFieldContainer[_session_pb2.Receipt]
    def __init__(self, receipts: _Optional[_Iterable[_Union[_session_pb2.Receipt, _Mapping]]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "limits", "store_probe", "statistics", "start_time")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    STORE_PROBE_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    version: str
    limits: Limits
    store_probe: _containers.RepeatedCompositeFieldContainer[ProbeVerdict]
    statistics: ServerStatistics
    start_time: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., store_probe: _Optional[_Iterable[_Union[ProbeVerdict, _Mapping]]] = ..., statistics: _Optional[_Union[ServerStatistics, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_frame_bytes", "min_chunk_bytes", "max_chunk_bytes", "max_chunks", "max_object_bytes", "max_metadata_bytes", "default_ttl", "max_ttl", "recommended_chunks_per_stream")
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_METADATA_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_TTL_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_CHUNKS_PER_STREAM_FIELD_NUMBER: _ClassVar[int]
    max_frame_bytes: int
    min_chunk_bytes: int
    max_chunk_bytes: int
    max_chunks: int
    max_object_bytes: int
    max_metadata_bytes: int
    default_ttl: _duration_pb2.Duration
    max_ttl: _duration_pb2.Duration
    recommended_chunks_per_stream: int
    def __init__(self, max_frame_bytes: _Optional[int] = ..., min_chunk_bytes: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_chunks: _Optional[int] = ..., max_object_bytes: _Optional[int] = ..., max_metadata_bytes: _Optional[int] = ..., default_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., recommended_chunks_per_stream: _Optional[int] = ...) -> None: ...

class ProbeVerdict(_message.Message):
    __slots__ = ("guarantee", "ok", "detail")
    GUARANTEE_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    guarantee: str
    ok: bool
    detail: str
    def __init__(self, guarantee: _Optional[str] = ..., ok: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...

class ServerStatistics(_message.Message):
    __slots__ = ("sessions_created", "chunks_stored", "chunks_duplicate", "bytes_stored", "errors_by_reason", "open_streams", "memory_in_use", "memory_budget")
    class ErrorsByReasonEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SESSIONS_CREATED_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_STORED_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    BYTES_STORED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_BY_REASON_FIELD_NUMBER: _ClassVar[int]
    OPEN_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_IN_USE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_FIELD_NUMBER: _ClassVar[int]
    sessions_created: int
    chunks_stored: int
    chunks_duplicate: int
    bytes_stored: int
    errors_by_reason: _containers.ScalarMap[str, int]
    open_streams: int
    memory_in_use: int
    memory_budget: int
    def __init__(self, sessions_created: _Optional[int] = ..., chunks_stored: _Optional[int] = ..., chunks_duplicate: _Optional[int] = ..., bytes_stored: _Optional[int] = ..., errors_by_reason: _Optional[_Mapping[str, int]] = ..., open_streams: _Optional[int] = ..., memory_in_use: _Optional[int] = ..., memory_budget: _Optional[int] = ...) -> None: ...
