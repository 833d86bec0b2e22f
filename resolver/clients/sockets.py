"""The listening sockets: one UDP and one TCP socket per endpoint and worker, made once and handed down.

The supervisor keeps them open, so that a replaced worker inherits what was queued. Two processes of one user that
both use SO_REUSEPORT would silently share the traffic: every address is first probed without it. Sockets that systemd
made (`LISTEN_FDS`, sd_listen_fds(3)) are shared by all workers instead.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from resolver.config import Endpoint

UDP_BUFFER = 4 * 1024 * 1024  # bytes asked for; the kernel gives at most net.core.rmem_max
BACKLOG = 512
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START
_WILDCARDS = {"00000000", "0" * 32}


class AsksItself(Exception):
    """An upstream that is this node; the message names it and says what to do."""


class CannotListen(Exception):
    """An address that cannot be had; the message names it, why, and what to do."""


@dataclass(slots=True)
class Pair:
    """What one worker listens on, in the order of the endpoints."""

    udp: list[socket.socket] = field(default_factory=list)
    tcp: list[socket.socket] = field(default_factory=list)

    def numbers(self) -> list[int]:
        return [one.fileno() for one in (*self.udp, *self.tcp)]

    def close(self) -> None:
        for one in (*self.udp, *self.tcp):
            one.close()


class Listeners:
    """Every worker's pair. `endpoints` says what is really listened on: a port 0 has become a number."""

    def __init__(self, endpoints: tuple[Endpoint, ...], environment: MutableMapping[str, str] | None = None) -> None:
        """Take over passed sockets, or probe every endpoint. Raises `CannotListen`."""
        self._pairs: dict[int, Pair] = {}
        self.page: socket.socket | None = None  # the block page's
        self.secure: list[tuple[str, socket.socket]] = []  # transport, and where it listens
        self.doors: list[tuple[socket.socket, socket.socket]] = []  # per worker: the listeners' end, and its own
        self._passed = passed_sockets(os.environ if environment is None else environment)
        self.closable = self._passed is None  # False as soon as a closed pair could not be made again
        if self._passed is not None:
            self.endpoints = tuple(dict.fromkeys(_bound(one) for one in (*self._passed.udp, *self._passed.tcp)))
        else:
            self.endpoints = tuple(_settled(one) for one in endpoints)
            for one in self.endpoints:
                probe(one)

    def pair(self, worker: int) -> Pair:
        """Return this worker's sockets, made if need be. Raises `CannotListen`."""
        if self._passed is not None:
            return self._passed
        if worker not in self._pairs:
            pair = Pair()
            try:
                for endpoint in self.endpoints:
                    pair.udp.append(_bind(endpoint, socket.SOCK_DGRAM, shared=True))
                    pair.tcp.append(_bind(endpoint, socket.SOCK_STREAM, shared=True))
                for tcp in pair.tcp:
                    tcp.listen(BACKLOG)
            except CannotListen:
                pair.close()
                raise
            self._pairs[worker] = pair
        return self._pairs[worker]

    def open_page(self, endpoint: Endpoint) -> None:
        """Listen for browsers: kept here, so that a replaced process inherits it. Raises `CannotListen`."""
        self.page = _bind(endpoint, socket.SOCK_STREAM, shared=False)
        self.page.listen(BACKLOG)

    def open_secure(self, endpoints: Mapping[str, tuple[Endpoint, ...]], workers: int) -> None:
        """Listen for TLS, by transport, with a pair to each worker; all kept here. Raises `CannotListen`."""
        for transport, found in endpoints.items():
            for endpoint in found:
                made = _bind(endpoint, socket.SOCK_STREAM, shared=False)
                self.secure.append((transport, made))
                made.listen(BACKLOG)
        if self.secure:
            self.doors = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]
            for one in (end for pair in self.doors for end in pair):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UDP_BUFFER)

    @property
    def everywhere(self) -> tuple[Endpoint, ...]:
        """Return where questions are answered, encrypted or not."""
        return (*self.endpoints, *(_bound(one) for _, one in self.secure))

    def door(self, worker: int) -> socket.socket | None:
        """Return this worker's end of its pair to the encrypted listeners, if there are any."""
        return self.doors[worker][1] if self.doors else None

    def close(self, worker: int) -> bool:
        """Close this worker's pair, so that the kernel hashes around it. False when there is none, or it must stay."""
        if not self.closable or (pair := self._pairs.pop(worker, None)) is None:
            return False
        pair.close()
        return True

    def close_all(self) -> None:
        if self.page is not None:
            self.page.close()
        for one in (*(one for _, one in self.secure), *(end for pair in self.doors for end in pair)):
            one.close()
        for pair in self._pairs.values():
            pair.close()
        if self._passed is not None:
            self._passed.close()


def refuse_ourselves(upstreams: Iterable[Endpoint], listening: Iterable[Endpoint]) -> None:
    """Raise `AsksItself` when one of `upstreams` is an address that we listen on: its questions would never end."""
    listening = tuple(listening)
    for upstream in upstreams:
        for ours in listening:
            if upstream.port == ours.port and _reaches(upstream.address, ours.address):
                raise AsksItself(
                    f"the upstream {upstream} is this resolver itself (it listens on {ours}): name another in "
                    "`upstreams` or `forward`; without any, /etc/resolv.conf is read, which may name this machine"
                )


def _reaches(address: str, listening: str) -> bool:
    """True when what is sent from here to `address` arrives at a socket that is bound to `listening`."""
    to, at = ipaddress.ip_address(address), ipaddress.ip_address(listening)
    if to.version == 6 and to.ipv4_mapped is not None:
        to = to.ipv4_mapped
    if to.is_unspecified:  # the kernel takes it for loopback
        to = ipaddress.ip_address("127.0.0.1" if to.version == 4 else "::1")
    if to.version != at.version or not at.is_unspecified:
        return to == at
    if to.is_loopback:
        return True
    with socket.socket(socket.AF_INET6 if to.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as made:
        try:
            made.connect((str(to), 9))  # sends nothing; the kernel says which address of ours it would come from
        except OSError:
            return False
        return str(made.getsockname()[0]) == str(to)


def probe(endpoint: Endpoint, kinds: Iterable[socket.SocketKind] = (socket.SOCK_DGRAM, socket.SOCK_STREAM)) -> None:
    """Return when nobody listens on `endpoint`. Raises `CannotListen`, naming who does when that can be seen."""
    for kind in kinds:
        _bind(endpoint, kind, shared=False).close()


def _bind(endpoint: Endpoint, kind: socket.SocketKind, *, shared: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET, kind)
    try:
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:  # old connections in TIME_WAIT do not count; a listening socket does
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind((endpoint.address, endpoint.port))
        return made
    except OSError as error:
        made.close()
        raise CannotListen(_why(endpoint, kind, error)) from error


def _why(endpoint: Endpoint, kind: socket.SocketKind, error: OSError) -> str:
    name = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    if error.errno == errno.EADDRINUSE:
        who = holder(endpoint, kind) or "another program (run as root, this message can name it)"
        return f"{name} {endpoint} is taken by {who}: stop it, or listen elsewhere"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{endpoint.address} is no address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{name} {endpoint} needs privileges: use the systemd socket unit, give CAP_NET_BIND_SERVICE, "
            "or start as root with `user` set"
        )
    return f"{name} {endpoint} cannot be used: {error.strerror or error}"


def _settled(endpoint: Endpoint) -> Endpoint:
    """The endpoint with a free port for both UDP and TCP when its port is 0."""
    for _ in range(20 if endpoint.port == 0 else 0):
        with _bind(endpoint, socket.SOCK_DGRAM, shared=False) as udp:
            found = Endpoint(endpoint.address, udp.getsockname()[1])
            try:
                _bind(found, socket.SOCK_STREAM, shared=False).close()
            except CannotListen:
                continue
        return found
    return endpoint


def _bound(one: socket.socket) -> Endpoint:
    address = one.getsockname()
    return Endpoint(address[0], address[1])


def passed_sockets(environment: MutableMapping[str, str]) -> Pair | None:
    """Return the sockets that systemd passed to this process, or None. The variables are removed."""
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit() or int(count) == 0:
        return None
    pair = Pair()
    for number in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        try:
            one = socket.socket(fileno=number)
        except OSError as error:
            raise CannotListen(f"file {number} that was passed is no socket: {error.strerror}") from error
        if one.family not in (socket.AF_INET, socket.AF_INET6):
            raise CannotListen(f"socket {number} that was passed is neither IPv4 nor IPv6")
        one.set_inheritable(False)
        one.setblocking(False)
        (pair.udp if one.type == socket.SOCK_DGRAM else pair.tcp).append(one)
    return pair


def holder(endpoint: Endpoint, kind: socket.SocketKind) -> str:
    """Return `pid 12 (its command line)` of who is bound to `endpoint`; empty when that cannot be seen."""
    table = ("udp" if kind == socket.SOCK_DGRAM else "tcp") + ("6" if ":" in endpoint.address else "")
    wanted = {f"socket:[{inode}]" for inode in _inodes(table, endpoint)}
    wanted |= {f"socket:[{inode}]" for inode in _inodes(f"{table.rstrip('6')}6", endpoint)}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in wanted for link in (folder / "fd").iterdir()):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                return f"pid {folder.name} ({command.strip()[:200]})"
        except OSError:
            continue  # gone, or not ours to see
    return ""


def _inodes(table: str, endpoint: Endpoint) -> list[str]:
    """Inodes of sockets bound to this port at this address or a wildcard (proc(5), /proc/net/tcp)."""
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    packed = socket.inet_pton(family, endpoint.address)
    words = [packed[at : at + 4][::-1] for at in range(0, len(packed), 4)]
    address = b"".join(words).hex().upper()
    wild = not any(packed)
    found = []
    try:
        lines = Path("/proc/net", table).read_text().splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        parts = line.split()
        where, _, port = parts[1].rpartition(":")
        if table.startswith("tcp") and parts[3] != "0A":  # not listening
            continue
        if int(port, 16) == endpoint.port and (wild or where == address or where in _WILDCARDS):
            found.append(parts[9])
    return found
