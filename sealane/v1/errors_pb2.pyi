from sealane.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_SESSION_ID: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FILENAME: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_METADATA: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_DIGEST: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_STREAM: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_SIZE: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_PAGE_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_OBJECT_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_UNAUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_PERMISSION_DENIED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_CHUNK_CORRUPT: _ClassVar[ErrorReason]
    ERROR_REASON_CHUNK_NEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_CHUNK_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_CHUNK_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_COVERAGE_INCOMPLETE: _ClassVar[ErrorReason]
    ERROR_REASON_DIGEST_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_GENERATION_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_ID_USED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_SEALED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_ABORTED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_NOT_COMMITTED: _ClassVar[ErrorReason]
    ERROR_REASON_DELETE_UNSUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_OVERLOADED: _ClassVar[ErrorReason]
    ERROR_REASON_QUOTA_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_OUTCOME_UNKNOWN: _ClassVar[ErrorReason]
    ERROR_REASON_PEER_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_COOLING: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_OBJECT_CORRUPT: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_UNIMPLEMENTED: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_REQUEST: ErrorReason
ERROR_REASON_INVALID_SESSION_ID: ErrorReason
ERROR_REASON_INVALID_FILENAME: ErrorReason
ERROR_REASON_INVALID_METADATA: ErrorReason
ERROR_REASON_INVALID_DIGEST: ErrorReason
ERROR_REASON_INVALID_STREAM: ErrorReason
ERROR_REASON_INVALID_SIZE: ErrorReason
ERROR_REASON_INVALID_PAGE_TOKEN: ErrorReason
ERROR_REASON_INVALID_OBJECT_KEY: ErrorReason
ERROR_REASON_UNAUTHENTICATED: ErrorReason
ERROR_REASON_PERMISSION_DENIED: ErrorReason
ERROR_REASON_SESSION_NOT_FOUND: ErrorReason
ERROR_REASON_CHUNK_CORRUPT: ErrorReason
ERROR_REASON_CHUNK_NEEDED: ErrorReason
ERROR_REASON_CHUNK_CONFLICT: ErrorReason
ERROR_REASON_CHUNK_OUT_OF_RANGE: ErrorReason
ERROR_REASON_COVERAGE_INCOMPLETE: ErrorReason
ERROR_REASON_DIGEST_MISMATCH: ErrorReason
ERROR_REASON_GENERATION_MISMATCH: ErrorReason
ERROR_REASON_REQUEST_ID_USED: ErrorReason
ERROR_REASON_SESSION_SEALED: ErrorReason
ERROR_REASON_SESSION_ABORTED: ErrorReason
ERROR_REASON_SESSION_EXPIRED: ErrorReason
ERROR_REASON_SESSION_NOT_COMMITTED: ErrorReason
ERROR_REASON_DELETE_UNSUPPORTED: ErrorReason
ERROR_REASON_OVERLOADED: ErrorReason
ERROR_REASON_QUOTA_EXCEEDED: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_OUTCOME_UNKNOWN: ErrorReason
ERROR_REASON_PEER_UNAVAILABLE: ErrorReason
ERROR_REASON_KEY_COOLING: ErrorReason
ERROR_REASON_SESSION_LOST: ErrorReason
ERROR_REASON_OBJECT_CORRUPT: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_UNIMPLEMENTED: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason

class ChunkErrorDetail(_message.Message):
    __slots__ = ("chunks", "truncated")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[ChunkDigests]
    truncated: bool
    def __init__(self, chunks: _Optional[_Iterable[_Union[ChunkDigests, _Mapping]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class ChunkDigests(_message.Message):
    __slots__ = ("chunk_index", "expected_blake3", "actual_blake3")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_BLAKE3_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_BLAKE3_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    expected_blake3: bytes
    actual_blake3: bytes
    def __init__(self, chunk_index: _Optional[int] = ..., expected_blake3: _Optional[bytes] = ..., actual_blake3: _Optional[bytes] = ...) -> None: ...

class BoundsErrorDetail(_message.Message):
    __slots__ = ("chunk_index", "field", "value", "minimum", "maximum")
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    chunk_index: int
    field: str
    value: int
    minimum: int
    maximum: int
    def __init__(self, chunk_index: _Optional[int] = ..., field: _Optional[str] = ..., value: _Optional[int] = ..., minimum: _Optional[int] = ..., maximum: _Optional[int] = ...) -> None: ...

class CoverageErrorDetail(_message.Message):
    __slots__ = ("missing_ranges", "truncated", "missing_chunks")
    MISSING_RANGES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    MISSING_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    missing_ranges: _containers.RepeatedCompositeFieldContainer[_session_pb2.ChunkRange]
    truncated: bool
    missing_chunks: int
    def __init__(self, missing_ranges: _Optional[_Iterable[_Union[_session_pb2.ChunkRange, _Mapping]]] = ..., truncated: _Optional[bool] = ..., missing_chunks: _Optional[int] = ...) -> None: ...

class DigestErrorDetail(_message.Message):
    __slots__ = ("expected_blake3", "actual_blake3", "expected_size", "actual_size")
    EXPECTED_BLAKE3_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_BLAKE3_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SIZE_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    expected_blake3: bytes
    actual_blake3: bytes
    expected_size: int
    actual_size: int
    def __init__(self, expected_blake3: _Optional[bytes] = ..., actual_blake3: _Optional[bytes] = ..., expected_size: _Optional[int] = ..., actual_size: _Optional[int] = ...) -> None: ...

class KeyErrorDetail(_message.Message):
    __slots__ = ("holder",)
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    holder: _session_pb2.KeyHolder
    def __init__(self, holder: _Optional[_Union[_session_pb2.KeyHolder, _Mapping]] = ...) -> None: ...

class OutcomeErrorDetail(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: _session_pb2.SessionState
    def __init__(self, state: _Optional[_Union[_session_pb2.SessionState, str]] = ...) -> None: ...
