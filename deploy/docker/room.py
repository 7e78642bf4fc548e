"""A root of one's own: this machine's programs, read-only, in a folder whose /opt, /src, /etc and /tmp are its own.

It stands for a container where there is no container engine: chroot in a mount namespace. Linux, and root, for mount.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
HOST = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr")
"""Folders of this machine that the room shows, as the base image would have its own."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(answer: int, what: str) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def own_mounts() -> None:
    """From here on, mounts are this process's and its children's alone, and go when they end."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-rprivate /")


def own_network() -> None:
    """From here on there is loopback, all of whose ports are free, and nothing else."""
    _checked(_libc.unshare(_CLONE_NEWNET), "unshare(CLONE_NEWNET)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16xh", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0))[:18])[0]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP))


def _bind(source: Path, target: Path, *, read_only: bool) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _checked(_libc.mount(bytes(source), bytes(target), None, _MS_BIND | _MS_REC, None), f"mount --bind {source}")
    if read_only:
        flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY
        _checked(_libc.mount(b"none", bytes(target), None, flags, None), f"remount read-only {target}")


class Room:
    """``folder`` is the root. Call :func:`own_mounts` first."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        folder.mkdir(parents=True)
        for name in HOST:
            source = Path("/", name)
            if source.is_symlink():
                (folder / name).symlink_to(os.readlink(source))
            elif source.is_dir():
                _bind(source, folder / name, read_only=True)
        # The interpreter that runs this, where the official image has its own; and where it is, for its shared library.
        python = Path(sys.base_prefix).resolve()
        _bind(python, folder / "usr" / "local", read_only=True)
        if not python.is_relative_to("/usr"):
            _bind(python, folder / python.relative_to("/"), read_only=True)
        _bind(Path("/dev"), folder / "dev", read_only=False)
        shutil.copytree("/etc", folder / "etc", symlinks=True, ignore_dangling_symlinks=True)
        (folder / "tmp").mkdir(mode=0o1777)
        (folder / "proc").mkdir()
        _bind(Path("/proc"), folder / "proc", read_only=False)

    def run(self, command: str, *, cwd: str, environment: Mapping[str, str]) -> None:
        """A RUN line, as root. CalledProcessError."""
        argv = ["chroot", str(self.root), "/bin/sh", "-c", f"cd {cwd} && {command}"]
        subprocess.run(argv, env=dict(environment), check=True)

    def seal(self, *writable: str) -> None:
        """Read-only from here on, but for folders like "/data", which are made anew."""
        shutil.rmtree(self.root / "tmp")
        for name in writable:
            (self.root / name.lstrip("/")).mkdir(mode=0o777, parents=True)
            os.chmod(self.root / name.lstrip("/"), 0o777)
        outside = self.root.with_name(f"{self.root.name}-sealed")
        _bind(self.root, outside, read_only=True)
        for name in writable:
            _bind(self.root / name.lstrip("/"), outside / name.lstrip("/"), read_only=False)
        self.root = outside

    def command(self, argv: Sequence[str], *, user: int, group: int) -> list[str]:
        """``argv`` as this user, with no capability and no way to get one, in the room."""
        drop = ["--pdeathsig=SIGKILL", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return ["chroot", str(self.root), "setpriv", f"--reuid={user}", f"--regid={group}", *drop, *argv]
