"""The sockets that clients ask: UDP in batches, TCP with length framing. Bytes in and out, nothing is understood here.

Replies leave from the address that was asked: a socket bound to one address does that by itself, one bound to all of
them is told by IP_PKTINFO / IPV6_PKTINFO. `peer[0]` is who asked: the host, with the asked address on a wildcard
socket. RFC 7766 for TCP: pipelining, answers in any order, length and body in one write.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from resolver.clients.proxied import BadProxy, read_proxy
from resolver.engine.seam import Datagram, Peer, Reply
from resolver.poller import BROKEN, READ, WRITE, Crowd

BATCH = 64  # datagrams taken in one go
MAX_QUERY = 1_500  # octets of a query over UDP
_SIZES = (MAX_QUERY,) * BATCH
MAX_PIPELINE = 64  # questions of one connection that wait at the same time
MAX_TURN = 8  # of them that are asked before others have their turn
ACCEPTED_AT_ONCE = 2  # connections
MAX_UNSENT = 256 * 1024  # octets a slow reader may leave with us

_IP_PKTINFO = 8  # not in the socket module of every Python
_PKTINFO4 = struct.Struct("=I4s4s")  # interface, local address, address in the header
_PKTINFO6 = struct.Struct("=16sI")
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO4.size) + socket.CMSG_SPACE(_PKTINFO6.size)
Trusted = Callable[[str], bool]  # does the host at this address say who asks, by the PROXY protocol?
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104


class UdpListener:
    """One UDP socket. `take` returns the datagrams at hand, `send` sends replies; neither ever blocks."""

    __slots__ = ("_recvfrom", "_sendto", "_trusted", "asked", "lost", "refused", "socket")

    def __init__(self, bound: socket.socket, trusted: Trusted | None = None) -> None:
        bound.setblocking(False)
        self.socket = bound
        host = bound.getsockname()[0].partition("%")[0]
        self.asked: str | None = None if host in _WILDCARDS else host
        self.lost = 0  # replies that the kernel would not take
        self.refused = 0  # datagrams of forwarders without a good PROXY header
        self._trusted = trusted
        self._recvfrom: Callable[[int], Datagram] = bound.recvfrom
        self._sendto: Callable[[bytes, Any], int] = bound.sendto
        if self.asked is None:
            self._recvfrom = self._receive_asked
            self._sendto = self._send_from
            if bound.family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            if bound.family == socket.AF_INET:
                bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif trusted is not None:
            self._recvfrom = self._receive_bound
            self._sendto = self._send_from

    def take(self) -> list[Datagram]:
        """Return up to `BATCH` datagrams."""
        batch: list[Datagram] = []
        try:
            batch.extend(map(self._recvfrom, _SIZES))  # what came before an error stays in the batch
        except BlockingIOError:
            pass
        except OSError:
            self.lost += 1  # an ICMP error for an earlier reply
        if self._trusted is not None:
            return self._unwrapped(batch, self._trusted)
        return batch

    def _unwrapped(self, batch: list[Datagram], trusted: Trusted) -> list[Datagram]:
        """Return the batch with forwarders' PROXY headers read and taken off; without a good one, dropped."""
        found: list[Datagram] = []
        for data, peer in batch:
            who, port, address, ancillary = peer
            if trusted(address[0]):
                try:
                    header = read_proxy(data)
                except BadProxy:
                    header = None
                if header is None:
                    self.refused += 1
                    continue
                data = data[header.length :]
                if header.client is not None:
                    who = (header.client, header.asked)
            found.append((data, (who, port, address, ancillary)))
        return found

    def send(self, replies: list[Reply]) -> None:
        """Send each reply to its peer; what the kernel refuses is lost, as on any network."""
        sendto = self._sendto
        for data, peer in replies:
            try:
                sendto(data, peer)
            except OSError:
                self.lost += 1

    def _receive_bound(self, size: int) -> Datagram:
        data, address = self.socket.recvfrom(size)
        return data, (address[0], address[1], address, None)

    def _receive_asked(self, size: int) -> Datagram:
        data, ancillary, _, address = self.socket.recvmsg(size, _ANCILLARY)
        for level, kind, info in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                _, local, destination = _PKTINFO4.unpack_from(info)
                if local == bytes(4):  # it came before the option was set: the header still says whom it asked
                    local = destination
                asked = socket.inet_ntop(socket.AF_INET, local)
                return data, ((address[0], asked), address[1], address, (level, kind, _PKTINFO4.pack(0, local, local)))
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                local, _ = _PKTINFO6.unpack_from(info)
                asked = socket.inet_ntop(socket.AF_INET6, local)
                return data, ((address[0], asked), address[1], address, (level, kind, info))
        return data, ((address[0], None), address[1], address, None)

    def _send_from(self, data: bytes, peer: Peer) -> int:
        _, _, address, ancillary = peer
        return self.socket.sendmsg([data], [] if ancillary is None else [ancillary], 0, address)


def _end_of_message(buffer: bytearray, at: int) -> int:
    """Return where the framed message at `at` ends; 0 when it is not whole."""
    if len(buffer) - at < 2:
        return 0
    end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
    return end if end <= len(buffer) else 0


class Connection:
    """One TCP client: what it sent that is no whole message yet, and what it has not taken from us yet."""

    __slots__ = (
        "_buffer",
        "_ending",
        "_events",
        "_listener",
        "_more",
        "_unsent",
        "_wrapped",
        "alive",
        "host",
        "last",
        "peer",
        "socket",
        "waiting",
    )

    def __init__(
        self, listener: TcpListener, accepted: socket.socket, host: str, who: Any, now: float, wrapped: bool
    ) -> None:
        self._listener = listener
        self.socket = accepted
        self.host = host
        self.peer: Peer = (who, -1, self)
        self.last = now  # the last whole message
        self.waiting = 0
        self.alive = True
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._ending = False  # the client sends no more
        self._more = False  # whole messages are left in the buffer
        self._events = READ
        self._wrapped = wrapped  # a PROXY header comes first

    def ready(self, mask: int) -> None:
        if not mask:  # a turn that this connection asked for
            self._more = False
            if self.alive:
                self._take_messages()
            return
        if mask & WRITE:
            self._flush()
        if self.alive and mask & (READ | BROKEN):
            self._read(broken=bool(mask & BROKEN))

    def _read(self, *, broken: bool) -> None:
        try:
            data = self.socket.recv(16_384)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            if broken:  # nobody is left to take an answer
                self.close()
                return
            self._ending = True
        self._buffer += data
        if self._wrapped and not self._unwrap():
            return
        self._take_messages()

    def _unwrap(self) -> bool:
        """Read the PROXY header; True when it is whole. Anything else in its place ends the connection."""
        try:
            header = read_proxy(bytes(self._buffer[:2048]))
        except BadProxy:
            self.close()
            return False
        if header is None:
            if self._ending:
                self.close()
            return False
        del self._buffer[: header.length]
        if header.client is not None:
            self.peer = ((header.client, header.asked), -1, self)
        self._wrapped = False
        return True

    def _take_messages(self) -> None:
        """Ask what is whole, at most `MAX_TURN` messages; what is left has to wait for another turn."""
        buffer = self._buffer
        messages: list[Datagram] = []
        at = 0
        room = min(MAX_TURN, MAX_PIPELINE - self.waiting)
        while (end := _end_of_message(buffer, at)) and len(messages) < room:
            messages.append((bytes(buffer[at + 2 : end]), self.peer))
            at = end
        if messages:
            del buffer[:at]
            self.last = self._listener.now()
            self.waiting += len(messages)
            self._listener.ask(self, messages)
        if self.alive and not self._more and self.waiting < MAX_PIPELINE and _end_of_message(buffer, 0):
            self._more = True
            self._listener.poller.again(self.socket.fileno())
        self._settle()

    def reply(self, data: bytes) -> None:
        """Send one message, length and body together; bounded, a client that reads too slowly is let go."""
        if not self.alive:
            return
        self.waiting -= 1
        self._unsent += len(data).to_bytes(2, "big") + data
        self._flush()
        if self.alive and self._buffer and self.waiting < MAX_PIPELINE:
            self._take_messages()

    def replies(self, batch: list[Reply]) -> None:
        """Send several messages with one write."""
        self.waiting -= len(batch)
        for data, _ in batch:
            self._unsent += len(data).to_bytes(2, "big") + data
        self._flush()

    def _flush(self) -> None:
        if self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            del self._unsent[:sent]
            if len(self._unsent) > MAX_UNSENT:
                self.close()
                return
        self._settle()

    def _settle(self) -> None:
        """Watch for what can be done next; close when nothing is left to do."""
        if not self.alive:
            return
        if self._ending and not self.waiting and not self._unsent and not _end_of_message(self._buffer, 0):
            self.close()
            return
        events = WRITE if self._unsent else 0
        if not self._ending and not self._unsent and not self._more and self.waiting < MAX_PIPELINE:
            events |= READ
        if events != self._events:
            self._events = events
            self._listener.poller.change(self.socket.fileno(), events)

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self._listener.gone(self)


class TcpListener:
    """One listening TCP socket and its connections. `ask(connection, messages)` is the worker's."""

    __slots__ = (
        "_connections",
        "_idle",
        "_limit",
        "_looking_away",
        "_per_client",
        "_per_client_limit",
        "_trusted",
        "ask",
        "asked",
        "now",
        "poller",
        "socket",
    )

    def __init__(
        self,
        bound: socket.socket,
        poller: Crowd,
        ask: Callable[[Connection, list[Datagram]], None],
        now: Callable[[], float],
        *,
        limit: int,
        per_client: int,
        idle: float,
        trusted: Trusted | None = None,
    ) -> None:
        bound.setblocking(False)
        host = bound.getsockname()[0].partition("%")[0]
        self.socket = bound
        self.asked: str | None = None if host in _WILDCARDS else host
        self.poller = poller
        self.ask = ask
        self.now = now
        self._limit = limit
        self._per_client_limit = per_client
        self._idle = idle
        self._trusted = trusted
        self._connections: set[Connection] = set()
        self._per_client: dict[str, int] = {}
        self._looking_away = False

    def __len__(self) -> int:
        return len(self._connections)

    def accept(self, mask: int) -> None:
        """Take the connections that wait. One beyond a limit is closed at once."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = self.socket.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):  # it stays readable: look away until the next sweep
                    self.poller.change(self.socket.fileno(), 0)
                    self._looking_away = True
                return
            host = address[0]
            count = self._per_client.get(host, 0)
            wrapped = self._trusted is not None and self._trusted(host)  # many clients behind one address
            if len(self._connections) >= self._limit or (count >= self._per_client_limit and not wrapped):
                accepted.close()
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            who = host if self.asked is not None else (host, accepted.getsockname()[0])
            connection = Connection(self, accepted, host, who, self.now(), wrapped)
            self._connections.add(connection)
            self._per_client[host] = count + 1
            self.poller.watch(accepted.fileno(), READ, connection.ready)

    def gone(self, connection: Connection) -> None:
        """A connection has ended: let go of it."""
        self._connections.discard(connection)
        count = self._per_client[connection.host] - 1
        if count:
            self._per_client[connection.host] = count
        else:
            del self._per_client[connection.host]
        self.poller.unwatch(connection.socket.fileno())
        connection.socket.close()

    def sweep(self, now: float) -> None:
        """Close the connections that sent no whole message for the idle time; called every second or so."""
        if self._looking_away:
            self._looking_away = False
            self.poller.change(self.socket.fileno(), READ)
        for connection in list(self._connections):
            quiet = now - connection.last
            if quiet < 0:
                connection.last = now  # the clock was set back
            elif quiet >= self._idle and (not connection.waiting or quiet >= self._idle + 10.0):
                connection.close()

    def close(self) -> None:
        """Close every connection. The listening socket belongs to whoever made it."""
        for connection in list(self._connections):
            connection.close()
