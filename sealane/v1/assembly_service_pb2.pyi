from sealane.v1 import session_pb2 as _session_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
