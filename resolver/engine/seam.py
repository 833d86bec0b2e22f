"""The engine's seam: the values that cross between the pure step and those who own sockets and clocks.

The plain-Python engine (`plain.py`) is the reference; a native twin takes and returns the same shapes. A datagram is
`(bytes, peer)`; `peer[0]` says who asked (a host text; host and asked address for a wildcard
socket; and a device profile as a third),
everything else in `peer` belongs to the listener and comes back with the reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Peer = Any  # a tuple of the listener's own; only `peer[0]` is read here
Datagram = tuple[bytes, Peer]
Reply = tuple[bytes, Peer]


class Source:
    """Where questions come from: one listening socket. `asked` is the address of ours that it is bound to, when it is
    one. `clients` remembers who its askers are; the engine empties it with every install."""

    __slots__ = ("asked", "clients", "secret", "stream", "transport")

    def __init__(self, asked: str | None, transport: str) -> None:
        self.asked = asked
        self.transport = transport  # udp, tcp, dot or doh
        self.stream = transport != "udp"  # no size limit but the length prefix's
        self.secret = transport in ("dot", "doh")  # encrypted: the length is worth hiding
        self.clients: dict[Any, Any] = {}


Late = tuple[Source, bytes, Peer]  # a reply to a question of an earlier step
Send = tuple[int, int, bytes, bool]  # serial of this try, number of the upstream, message with a zero id, over TCP?
Arrival = tuple[int, bytes]  # serial of the try that it answers (id, socket and question matched), message


@dataclass(slots=True)
class Output:
    """What one step wants done. `log` is whole query-log blocks. `leftovers` are datagrams that this engine does not
    answer itself (a native twin's way to the slow path; the reference leaves none)."""

    replies: list[Reply] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    log: bytes = b""
    leftovers: list[Datagram] = field(default_factory=list)


@dataclass(slots=True)
class Counters:
    """Since the engine was made. All count questions, except `upstream_*` (tries) and `stray` (arrivals). The last four
    say how much there is now: questions that wait for upstream, and what cache and memo hold."""

    queries: int = 0
    blocked: int = 0
    allowed: int = 0
    memo_hits: int = 0
    cache_hits: int = 0
    coalesced: int = 0
    upstream_sent: int = 0
    upstream_failed: int = 0
    stray: int = 0
    dropped: int = 0
    refused: int = 0
    formerr: int = 0
    servfail: int = 0
    full: int = 0
    tcp: int = 0
    dot: int = 0
    doh: int = 0
    limited: int = 0
    prefetched: int = 0
    inflight: int = 0
    cache_entries: int = 0
    cache_bytes: int = 0
    memo_entries: int = 0
