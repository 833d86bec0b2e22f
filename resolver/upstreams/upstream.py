"""The sockets towards upstream: pools of connected UDP sockets, and short TCP connections after truncation.

Messages come with a zero id from the engine; here each try gets a socket drawn at random and an id that is free there
(RFC 5452 §9.2), and what arrives is matched by socket (so by address and port), id and question before the engine sees
it. A timed-out id stays reserved until its socket retires. Socket errors are hints, never answers. Decides nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from resolver.chance import Chance
from resolver.config import Endpoint, HttpsEndpoint, SecureEndpoint
from resolver.engine.seam import Arrival, Send
from resolver.message.wire import FORMERR, NOTIMP, question_of
from resolver.poller import BROKEN, READ, WRITE, Poller
from resolver.upstreams.channel import client_context
from resolver.upstreams.tls import TlsUpstream

SOCKETS = 64  # per upstream
MAX_AGE = 30.0  # seconds, then a socket retires
MAX_USES = 1_000
MAX_CONNECTIONS = 256  # TCP, over all upstreams
MAX_DATAGRAM = 4_096  # octets; we offer upstream far less
_HEAD = 12


class SecureUpstream(Protocol):
    """An upstream that is spoken to over TLS: `tls.py`, or `https.py`."""

    def send(self, serial: int, message: bytes, now: float) -> None: ...

    def sweep(self, now: float) -> None: ...

    def close(self) -> None: ...


def _secured(
    endpoint: SecureEndpoint,
    context: Callable[[str | None], ssl.SSLContext],
    poller: Poller,
    patience: float,
    arrived: Callable[[int, bytes], None],
    failed: Callable[[int], None],
    told: Callable[[str], None],
) -> SecureUpstream:
    if isinstance(endpoint, HttpsEndpoint):
        from resolver.upstreams.https import HttpsUpstream  # HTTP/2 costs memory: only where somebody speaks it

        return HttpsUpstream(endpoint, context("h2"), poller, patience, arrived, failed, told)
    return TlsUpstream(endpoint, context(None), poller, patience, arrived, failed, told)


class _Slot:
    """One connected socket, and the tries that went out on it: id -> (serial, lower-cased question)."""

    __slots__ = ("born", "socket", "tries", "uses")

    def __init__(self, connected: socket.socket, born: float) -> None:
        self.socket = connected
        self.born = born
        self.uses = 0
        self.tries: dict[int, tuple[int, bytes]] = {}


class Upstreams:
    """All sockets towards `servers`. `arrivals` and `failed` are filled by the poller's callbacks and taken by the
    worker, once per round."""

    def __init__(
        self,
        servers: tuple[Endpoint, ...],
        poller: Poller,
        patience: float,
        ca: Path | None = None,
        told: Callable[[int, str], None] = lambda server, trouble: None,
    ) -> None:
        """`patience`: seconds after which nobody waits for a try any more. `ca`: see `client_context`. `told` gets what
        begins to be wrong with an encrypted upstream, and (empty) that it is well again."""
        self._servers = servers
        self._poller = poller
        self._patience = patience
        self._pools: list[list[_Slot | None]] = [[None] * SOCKETS for _ in servers]
        self._retired: list[tuple[float, _Slot]] = []
        self._streams: set[_Stream] = set()
        self._random = Chance()
        self.arrivals: list[Arrival] = []
        self.failed: list[int] = []  # serials of tries whose socket reported an error
        self.stray = 0  # datagrams that matched no try
        context = cache(partial(client_context, ca))  # it holds all authorities: one for each protocol, not upstream
        self._secure: list[SecureUpstream | None] = [
            _secured(one, context, poller, patience, self._arrived, self._lost, partial(told, at))
            if isinstance(one, SecureEndpoint)
            else None
            for at, one in enumerate(servers)
        ]

    def _arrived(self, serial: int, message: bytes) -> None:
        self.arrivals.append((serial, message))

    def _lost(self, serial: int) -> None:
        self.failed.append(serial)

    def take(self) -> list[Arrival]:
        """Return what arrived since the last call."""
        found, self.arrivals = self.arrivals, []
        return found

    def take_failed(self) -> list[int]:
        """Return the serials of the tries that failed since the last call."""
        found, self.failed = self.failed, []
        return found

    def send(self, sends: Iterable[Send], now: float) -> None:
        """Send each try; those that cannot be sent are in `failed`."""
        for serial, server, message, stream in sends:
            secure = self._secure[server]
            if secure is not None:
                secure.send(serial, message, now)
                continue
            if stream:
                self._open_stream(serial, server, message, now)
                continue
            number = self._random.draw()
            slot = self._slot(server, number >> 16, now)
            if slot is None:
                self.failed.append(serial)
                continue
            tries = slot.tries
            number &= 0xFFFF
            while number in tries:
                number = self._random.draw() & 0xFFFF
            tries[number] = (serial, question_of(message).lower())
            slot.uses += 1
            try:
                slot.socket.send(number.to_bytes(2, "big") + message[2:])
            except OSError:
                self.failed.append(serial)

    def _slot(self, server: int, drawn: int, now: float) -> _Slot | None:
        pool = self._pools[server]
        at = drawn % len(pool)
        slot = pool[at]
        if slot is not None:
            if slot.uses < MAX_USES and 0 <= now - slot.born < MAX_AGE:
                return slot
            self._retired.append((now + self._patience, slot))
        slot = pool[at] = self._connect(server, now)
        return slot

    def _connect(self, server: int, now: float) -> _Slot | None:
        endpoint = self._servers[server]
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        try:
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            return None
        try:
            made.connect((endpoint.address, endpoint.port))
        except OSError:
            made.close()
            return None
        slot = _Slot(made, now)
        self._poller.watch(made.fileno(), READ, lambda mask: self._readable(slot))
        return slot

    def _readable(self, slot: _Slot) -> None:
        try:
            data = slot.socket.recv(MAX_DATAGRAM)
        except BlockingIOError:
            return
        except OSError:
            self.failed += [serial for serial, _ in slot.tries.values()]
            return
        number = int.from_bytes(data[:2], "big")
        found = slot.tries.get(number)
        if found is not None and len(data) == _HEAD and data[3] & 15 in (FORMERR, NOTIMP):
            data = data[:4] + b"\0\1" + data[6:] + found[1]  # an old server's, that cannot read EDNS
        if found is None or len(data) < _HEAD or data[_HEAD : _HEAD + len(found[1])].lower() != found[1]:
            self.stray += 1
            return
        del slot.tries[number]
        self.arrivals.append((found[0], data))

    def _open_stream(self, serial: int, server: int, message: bytes, now: float) -> None:
        if len(self._streams) >= MAX_CONNECTIONS:
            self.failed.append(serial)
            return
        number = (self._random.draw() & 0xFFFF).to_bytes(2, "big")
        try:
            self._streams.add(_Stream(self, self._servers[server], serial, number + message[2:], now + self._patience))
        except OSError:
            self.failed.append(serial)

    def sweep(self, now: float) -> None:
        """Close what nobody waits for any more. Called every second or so."""
        keep: list[tuple[float, _Slot]] = []
        for until, slot in self._retired:
            if slot.tries and now < until <= now + self._patience:
                keep.append((until, slot))
            else:
                self._close(slot)
        self._retired = keep
        for secure in self._secure:
            if secure is not None:
                secure.sweep(now)
        for stream in [one for one in self._streams if not now < one.until <= now + self._patience]:
            self.end_stream(stream)

    def _close(self, slot: _Slot) -> None:
        self._poller.unwatch(slot.socket.fileno())
        slot.socket.close()

    def end_stream(self, stream: _Stream) -> None:
        """Close one TCP connection."""
        self._streams.discard(stream)
        self._poller.unwatch(stream.socket.fileno())
        stream.socket.close()

    def watch_stream(self, stream: _Stream) -> None:
        """Begin to watch a new TCP connection, first for writing: that is when it is connected."""
        self._poller.watch(stream.socket.fileno(), WRITE, stream.ready)

    def read_stream(self, stream: _Stream) -> None:
        """All is written: watch for the reply."""
        self._poller.change(stream.socket.fileno(), READ)

    def close(self) -> None:
        """Close every socket."""
        for pool in self._pools:
            for at, slot in enumerate(pool):
                if slot is not None:
                    self._close(slot)
                    pool[at] = None
        for _, slot in self._retired:
            self._close(slot)
        self._retired.clear()
        for secure in self._secure:
            if secure is not None:
                secure.close()
        for stream in list(self._streams):
            self.end_stream(stream)


class _Stream:
    """One question over one TCP connection: connect, write, read one message, close."""

    __slots__ = ("_buffer", "_message", "_out", "_owner", "_serial", "socket", "until")

    def __init__(self, owner: Upstreams, endpoint: Endpoint, serial: int, message: bytes, until: float) -> None:
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.until = until
        self._owner = owner
        self._serial = serial
        self._message = message
        self._out = len(message).to_bytes(2, "big") + message
        self._buffer = bytearray()
        try:
            self.socket.connect((endpoint.address, endpoint.port))
        except BlockingIOError:
            pass
        except OSError:
            self.socket.close()
            raise
        owner.watch_stream(self)

    def ready(self, mask: int) -> None:
        try:
            if self._out:
                self._out = self._out[self.socket.send(self._out) :]
                if not self._out:
                    self._owner.read_stream(self)
                return
            data = self.socket.recv(65_537)
        except BlockingIOError:
            return
        except OSError:
            self._fail()
            return
        self._buffer += data
        buffer = self._buffer
        if len(buffer) >= 2 and len(buffer) >= 2 + (size := int.from_bytes(buffer[:2], "big")):
            self._take(bytes(buffer[2 : 2 + size]))
        elif not data or mask & BROKEN:
            self._fail()

    def _take(self, data: bytes) -> None:
        question = question_of(self._message)
        if data[:2] == self._message[:2] and data[_HEAD : _HEAD + len(question)].lower() == question.lower():
            # The connection vouches for the sender; an old server's change of case is put right for the engine.
            self._owner.arrivals.append((self._serial, data[:_HEAD] + question + data[_HEAD + len(question) :]))
            self._owner.end_stream(self)
        else:
            self._fail()

    def _fail(self) -> None:
        self._owner.failed.append(self._serial)
        self._owner.end_stream(self)
