"""Real sockets for tests: a forked worker on ephemeral ports, and an upstream that follows a script."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from blocklists.snapshot import Snapshot
from resolver.config import Endpoint, ResolverConfig
from resolver.processes import worker as worker_module
from resolver.processes.worker import WorkerSetup, run

Script = Callable[[bytes, bool], list[bytes]]  # query, over TCP? -> datagrams or messages to send


def udp_socket(address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def tcp_socket(address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
        made.listen(64)
    except OSError:
        made.close()
        raise
    return made


def both(address: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same free port."""
    for _ in range(50):
        udp = udp_socket(address)
        with contextlib.suppress(OSError):
            return udp, tcp_socket(address, udp.getsockname()[1])
        udp.close()
    raise RuntimeError("no port is free for UDP and TCP")


class Upstream:
    """A server in a thread that answers by `script`; `seen` holds every query with its peer and its transport."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[tuple[bytes, Any, bool]] = []
        self._udp, self._tcp = both()
        self.endpoint = Endpoint("127.0.0.1", self._udp.getsockname()[1])
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def _serve_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, peer = self._udp.recvfrom(4096)
                if not query:
                    return
                self.seen.append((query, peer, False))
                for data in self.script(query, False):
                    self._udp.sendto(data, peer)

    def _serve_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._tcp.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    size = connection.recv(2)
                    if len(size) < 2:
                        continue
                    query = connection.recv(int.from_bytes(size, "big"))
                    self.seen.append((query, peer, True))
                    for data in self.script(query, True):
                        connection.sendall(len(data).to_bytes(2, "big") + data)

    def close(self) -> None:
        with udp_socket() as knock:
            knock.sendto(b"", ("127.0.0.1", self.endpoint.port))
        self._tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()


class Clock:
    """A wall clock that one process sets and another reads; it stands still in between. For the module `time`."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, now: float) -> None:
        self._shared = mmap.mmap(-1, 8)
        self.set(now)

    def set(self, now: float) -> None:
        struct.pack_into("=d", self._shared, 0, now)

    def time(self) -> float:
        (now,) = struct.unpack_from("=d", self._shared)
        return float(now)


@dataclass
class Worker:
    """A worker process, and the supervisor's end of everything."""

    pid: int
    control: socket.socket
    lifeline: int
    address: str
    port: int
    state: Path
    heard: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, query: dns.message.Message, *, tcp: bool = False, **options: Any) -> dns.message.Message:
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(query, options.pop("where", self.address), port=self.port, timeout=10, **options)

    def tell(self, **message: Any) -> None:
        self.control.send(json.dumps(message).encode())

    def hear(self, did: str) -> dict[str, Any]:
        """The next message that says `did`."""
        self.control.settimeout(10)
        while True:
            message: dict[str, Any] = json.loads(self.control.recv(65_536))
            self.heard.append(message)
            if message["did"] == did:
                return message

    def counters(self) -> dict[str, int]:
        """The counts after everything that was asked until now."""
        self.hear("status")
        while True:
            self.control.setblocking(False)
            try:
                self.heard.append(json.loads(self.control.recv(65_536)))
            except BlockingIOError:
                break
        return dict(self.hear("status")["counters"])

    def wait(self) -> int:
        for _ in range(2000):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        raise TimeoutError("the worker does not end")

    def end(self) -> None:
        os.close(self.lifeline)
        if self.pid:
            try:
                self.wait()
            except TimeoutError:
                os.kill(self.pid, 9)
                os.waitpid(self.pid, 0)
        self.control.close()


@contextlib.contextmanager
def worker(
    state: Path,
    load: Callable[[Snapshot | None], Snapshot | None],
    *,
    address: str = "127.0.0.1",
    where: str | None = None,
    clock: Clock | None = None,
    **config: Any,
) -> Iterator[Worker]:
    """Run a worker in a forked child until the block ends. `clock` is the wall clock that it has."""
    udp, tcp = both(address)
    port = udp.getsockname()[1]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lifeline, held = os.pipe()
    settings = ResolverConfig(**{"listen": (Endpoint(address, port),), "upstreams": (), "state": state, **config})
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.close(held)
            ours.close()
            if clock is not None:
                worker_module.time = clock  # type: ignore[assignment]
            code = run(WorkerSetup(0, [udp], [tcp], theirs, lifeline, settings, load))
        finally:
            os._exit(code)
    for one in (udp, tcp, theirs):
        one.close()
    os.close(lifeline)
    child = Worker(pid, ours, held, where or address, port, state)
    try:
        yield child
    finally:
        child.end()
