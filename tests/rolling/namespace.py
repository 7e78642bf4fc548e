"""A network namespace of one's own, without root where the kernel allows it: nothing gets out, and nothing in.

What is made within (:mod:`tests.rolling.hosts`) the kernel removes with the last process in it, whatever ended that.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def enter_namespace() -> bool:
    """Move this process, which must have one thread yet, and its children there; False where that is not allowed.

    What it mounts is its own, too. Who is not root is so in there, and nowhere else.
    """
    uid, gid = os.getuid(), os.getgid()
    for flags in (0, _CLONE_NEWUSER):  # root needs no user namespace, where other users' files would be out of reach
        child = os.fork()  # tried in a child first: half a way in would be no place to stay
        if child == 0:
            os._exit(0 if _enter(flags, uid, gid) else 1)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return _enter(flags, uid, gid)
    return False


def mount_over(directory: Path) -> None:
    """Put an empty folder in this one's place, for this process and its children. OSError where that is not allowed."""
    directory.mkdir(parents=True, exist_ok=True)
    _mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0)


def _enter(flags: int, uid: int, gid: int) -> bool:
    if ctypes.CDLL(None, use_errno=True).unshare(flags | _CLONE_NEWNET | _CLONE_NEWNS) != 0:
        return False
    try:
        if flags & _CLONE_NEWUSER:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        _mount(None, b"/", None, _MS_REC | _MS_PRIVATE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack("16sh14x", b"lo", 0)
            interface_flags = struct.unpack("16xh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[0]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", interface_flags | _IFF_UP))
    except OSError:
        return False
    return True


def _mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).mount(source, target, kind, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(target))
