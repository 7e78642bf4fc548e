"""The resume journal: what a new process needs to go on with an upload that an old one began.

One small JSON file per file and server, beside ``$XDG_STATE_HOME/sealane``. It is written before the session is
created (with the request id, which makes the create repeatable) and again with the session's id; each time to a new
file that is synced and renamed over, so that a crash leaves the old one or the new one, whole. It is removed after the
commit. It never decides anything: what the server holds is asked from the server.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from blake3 import blake3

from sealane.client.source import FileIdentity

VERSION = 1


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One upload that was begun. Two entries with the same :attr:`key` are the same upload."""

    endpoint: str
    """Ingest's target: a session lives where it was created."""
    path: str
    size: int
    mtime_ns: int
    inode: int
    parameters: str
    """Digest of what else CreateSession was told: other parameters make another object."""
    request_id: str
    chunk_size: int = 0
    """As the server planned it; 0 until the session is known."""
    session_id: str = ""
    """Empty until the session is known: repeat CreateSession with the request id."""

    @property
    def key(self) -> tuple[str, str, int, int, int, str]:
        """What must be equal for one to resume the other."""
        return (self.endpoint, self.path, self.size, self.mtime_ns, self.inode, self.parameters)


def default_directory(environment: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/sealane/uploads`` (XDG Base Directory Specification 0.8)."""
    state = environment.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "sealane" / "uploads"


def default_path(directory: Path, endpoint: str, identity: FileIdentity, object_key: str = "") -> Path:
    """The journal of one file, one server and one key: a file may be on its way to several keys."""
    names = (endpoint, identity.path, object_key) if object_key else (endpoint, identity.path)
    name = blake3("\0".join(names).encode(errors="surrogatepass")).hexdigest(length=16)
    return directory / f"{name}.json"


class Journal:
    """One journal file, held by one upload at a time (an advisory lock beside it). All methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def acquire(self) -> bool:
        """Take it. False if another upload has it, in this process or another. OSError if it can't be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return False
                raise
            if self._is_current(lock):
                self._lock = lock
                return True
            os.close(lock)  # its holder removed the file between our open and our lock

    def release(self) -> None:
        """Give it back. The lock file goes with its holder; one that can't be removed locks nobody out."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
            os.close(self._lock)
            self._lock = None

    def load(self) -> JournalEntry | None:
        """The entry, or None if there is none that can be understood: then the upload starts anew."""
        try:
            found = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(found, dict) or found.pop("version", None) != VERSION:
            return None
        types = {field.name: int if field.type == "int" else str for field in fields(JournalEntry)}
        if found.keys() != types.keys() or any(type(found[name]) is not types[name] for name in types):
            return None
        return JournalEntry(**found)

    def save(self, entry: JournalEntry) -> None:
        """Replace what is there, durably and in one step."""
        temporary = self.path.with_name(self.path.name + ".new")
        body = json.dumps({"version": VERSION, **asdict(entry)}, indent=1).encode()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, self.path)
        self._sync_directory()

    def remove(self) -> None:
        """The upload is finished, or not to be resumed."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            self._sync_directory()

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _is_current(self, lock: int) -> bool:
        try:
            return os.stat(self._lock_path).st_ino == os.fstat(lock).st_ino
        except FileNotFoundError:
            return False

    def _sync_directory(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
