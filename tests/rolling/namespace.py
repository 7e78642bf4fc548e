"""A network namespace of one's own, without root and without iproute2: nothing gets out, and nothing in."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def enter_namespace() -> bool:
    """Move this process, which must have one thread yet, and its children there; False where that is not allowed."""
    uid, gid = os.getuid(), os.getgid()
    child = os.fork()  # tried in a child first: half a way in would be no place to stay
    if child == 0:
        os._exit(0 if _enter(uid, gid) else 1)
    _, status = os.waitpid(child, 0)
    return status == 0 and _enter(uid, gid)


def _enter(uid: int, gid: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16xh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[0]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    except OSError:
        return False
    return True
