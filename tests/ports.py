"""Ports for the servers that tests start: each is given once a run, from below those that the system gives to clients.

A port that the system chose for `bind(("", 0))` may be some client's a moment later, while the server that shall have
it still starts; these may not.
"""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_LOWEST, _MOST = 10_000, 20_000
_ours = random.SystemRandom()  # not the seeded one: two runs on one machine choose differently
_given: set[int] = set()


def _first_of_the_system() -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return 32_768


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free for both UDP and TCP, and that no other call of this run has returned."""
    highest = max(_LOWEST + 1_000, min(_LOWEST + _MOST, _first_of_the_system()))
    for _ in range(1_000):
        port = _ours.randrange(_LOWEST, highest)
        if port in _given:
            continue
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise RuntimeError("no free port")
