import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATE_UNSPECIFIED: _ClassVar[SessionState]
    SESSION_STATE_OPEN: _ClassVar[SessionState]
    SESSION_STATE_COMMITTING: _ClassVar[SessionState]
    SESSION_STATE_COMMITTED: _ClassVar[SessionState]
    SESSION_STATE_DUPLICATE: _ClassVar[SessionState]
    SESSION_STATE_ABORTED: _ClassVar[SessionState]
    SESSION_STATE_EXPIRED: _ClassVar[SessionState]
    SESSION_STATE_LOST: _ClassVar[SessionState]
    SESSION_STATE_DELETED: _ClassVar[SessionState]
SESSION_STATE_UNSPECIFIED: SessionState
SESSION_STATE_OPEN: SessionState
SESSION_STATE_COMMITTING: SessionState
SESSION_STATE_COMMITTED: SessionState
SESSION_STATE_DUPLICATE: SessionState
SESSION_STATE_ABORTED: SessionState
SESSION_STATE_EXPIRED: SessionState
SESSION_STATE_LOST: SessionState
SESSION_STATE_DELETED: SessionState

class Session(_message.Message):
    __slots__ = ("session_id", "filename", "object_key", "size", "chunk_size", "chunk_count", "content_type", "metadata", "create_time", "expire_time", "ttl", "state", "outcome_unavailable", "coverage", "committed_object", "chosen_key", "if_generation_match", "overwrite")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_OBJECT_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_KEY_FIELD_NUMBER: _ClassVar[int]
    IF_GENERATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    filename: str
    object_key: str
    size: int
    chunk_size: int
    chunk_count: int
    content_type: str
    metadata: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    ttl: _duration_pb2.Duration
    state: SessionState
    outcome_unavailable: bool
    coverage: Coverage
    committed_object: CommittedObject
    chosen_key: str
    if_generation_match: int
    overwrite: bool
    def __init__(self, session_id: _Optional[str] = ..., filename: _Optional[str] = ..., object_key: _Optional[str] = ..., size: _Optional[int] = ..., chunk_size: _Optional[int] = ..., chunk_count: _Optional[int] = ..., content_type: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., state: _Optional[_Union[SessionState, str]] = ..., outcome_unavailable: _Optional[bool] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., committed_object: _Optional[_Union[CommittedObject, _Mapping]] = ..., chosen_key: _Optional[str] = ..., if_generation_match: _Optional[int] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("stored_chunks", "stored_bytes", "missing_ranges", "missing_ranges_truncated", "prefix", "conflicting_chunks", "complete")
    STORED_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MISSING_RANGES_FIELD_NUMBER: _ClassVar[int]
    MISSING_RANGES_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    CONFLICTING_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    stored_chunks: int
    stored_bytes: int
    missing_ranges: _containers.RepeatedCompositeFieldContainer[ChunkRange]
    missing_ranges_truncated: bool
    prefix: Prefix
    conflicting_chunks: _containers.RepeatedScalarFieldContainer[int]
    complete: bool
    def __init__(self, stored_chunks: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., missing_ranges: _Optional[_Iterable[_Union[ChunkRange, _Mapping]]] = ..., missing_ranges_truncated: _Optional[bool] = ..., prefix: _Optional[_Union[Prefix, _Mapping]] = ..., conflicting_chunks: _Optional[_Iterable[int]] = ..., complete: _Optional[bool] = ...) -> None: ...

class ChunkRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("chunks", "bytes", "blake3")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    chunks: int
    bytes: int
    blake3: bytes
    def __init__(self, chunks: _Optional[int] = ..., bytes: _Optional[int] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("chunk_index", "length", "blake3", "chaining_value", "sha256", "etag", "store_time")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    CHAINING_VALUE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    STORE_TIME_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    length: int
    blake3: bytes
    chaining_value: bytes
    sha256: bytes
    etag: str
    store_time: _timestamp_pb2.Timestamp
    def __init__(self, chunk_index: _Optional[int] = ..., length: _Optional[int] = ..., blake3: _Optional[bytes] = ..., chaining_value: _Optional[bytes] = ..., sha256: _Optional[bytes] = ..., etag: _Optional[str] = ..., store_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CommittedObject(_message.Message):
    __slots__ = ("bucket", "key", "etag", "size", "blake3", "generation", "commit_time", "replayed", "duplicate")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    key: str
    etag: str
    size: int
    blake3: bytes
    generation: int
    commit_time: _timestamp_pb2.Timestamp
    replayed: bool
    duplicate: bool
    def __init__(self, bucket: _Optional[str] = ..., key: _Optional[str] = ..., etag: _Optional[str] = ..., size: _Optional[int] = ..., blake3: _Optional[bytes] = ..., generation: _Optional[int] = ..., commit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replayed: _Optional[bool] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class KeyHolder(_message.Message):
    __slots__ = ("object_key", "generation", "session_id", "state", "size", "blake3", "commit_time", "foreign")
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_FIELD_NUMBER: _ClassVar[int]
    object_key: str
    generation: int
    session_id: str
    state: SessionState
    size: int
    blake3: bytes
    commit_time: _timestamp_pb2.Timestamp
    foreign: bool
    def __init__(self, object_key: _Optional[str] = ..., generation: _Optional[int] = ..., session_id: _Optional[str] = ..., state: _Optional[_Union[SessionState, str]] = ..., size: _Optional[int] = ..., blake3: _Optional[bytes] = ..., commit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., foreign: _Optional[bool] = ...) -> None: ...
