"""Free TCP ports on the loopback interface, for servers that must be told their ports beforehand.

A server of ours binds port 0 and says what it got: that has no race and is to be preferred. SeaweedFS wants nine
numbers on its command line, and a restarted service must come back where its clients expect it. For these a batch
is bound all at once and then released. Between the release and the server's own bind another process may take one;
three things keep that rare: the batch is picked at random, it lies below the kernel's ephemeral range (so no outgoing
connection ever gets one), and the caller retries with a new batch when a start fails for that reason.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 10_000
_ATTEMPTS = 200


def ephemeral_start() -> int:
    """The first port that the kernel hands to outgoing connections; 32,768 where it doesn't say."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def free_ports(count: int, *, offsets: Sequence[int] = (0,)) -> list[int]:
    """``count`` distinct ports, each free now, as is every ``port + offset``.

    ``offsets`` serves programs that derive a second port from the first (SeaweedFS: gRPC = HTTP + 10,000).
    Raises OSError when no such batch turns up.
    """
    top = ephemeral_start()
    if top <= LOWEST_PORT + 2 * max(offsets) + count:  # a host that hands out nearly every port: no room below
        top = 65_536
    pick = random.SystemRandom()
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for _ in range(_ATTEMPTS + count):
            if len(ports) == count:
                return ports
            port = pick.randrange(LOWEST_PORT, top - max(offsets))
            with contextlib.ExitStack() as candidate:
                try:
                    for offset in offsets:
                        # No SO_REUSEADDR: a port that a dying connection still holds isn't free.
                        probe = candidate.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                        probe.bind((LOOPBACK, port + offset))
                except OSError:
                    continue
                held.enter_context(candidate.pop_all())
                ports.append(port)
    if len(ports) == count:
        return ports
    raise OSError(f"no {count} free ports on {LOOPBACK} between {LOWEST_PORT} and {top}")
