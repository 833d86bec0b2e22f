"""The network between a node and its portal, as something that a test can cut without either side being told.

`Namespace`: a network namespace of the test's own, where nftables drops every packet of the portal's connections.
`Relay`: its stand-in where that is not permitted: bytes pass through a relay that stops to pass them on. Either way the
connections stay open on both sides, half open: nobody gets a FIN or a RST.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_NEWNET = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


class Wire(Protocol):
    def inside(self) -> contextlib.AbstractContextManager[None]:
        """In the block, what this thread opens and starts is where the node is."""

    def reach(self, port: int) -> int:
        """Lead to the portal's port; return the port that the node is to use."""

    def cut(self) -> None: ...

    def mend(self) -> None: ...


class Namespace:
    """Raises `OSError` or `subprocess.CalledProcessError` where it is not permitted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._port = 0
        if shutil.which("nft") is None:
            raise FileNotFoundError("nft")
        self._ip("netns", "add", name)
        try:
            self._ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            self._enter(there)
            yield
        finally:
            self._enter(before)
            os.close(there)
            os.close(before)

    @staticmethod
    def _enter(descriptor: int) -> None:
        if _libc.setns(descriptor, _NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def reach(self, port: int) -> int:
        self._port = port
        return port

    def _nft(self, rules: str) -> None:
        command = ["ip", "netns", "exec", self.name, "nft", "-f", "-"]
        subprocess.run(command, input=rules.encode(), check=True, capture_output=True, timeout=30)

    def cut(self) -> None:
        lines = ("type filter hook input priority 0", f"tcp dport {self._port} drop", f"tcp sport {self._port} drop")
        self._nft("table ip cut {\nchain cut {\n" + "\n".join(lines) + "\n}\n}\n")

    def mend(self) -> None:
        self._nft("delete table ip cut")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True, timeout=30)


class Relay:
    """Passes bytes on between its own port and the portal's, until it is cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._target = 0
        self._open = threading.Event()
        self._open.set()
        self._over = False
        self._chosen = selectors.DefaultSelector()
        self._chosen.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        yield

    def reach(self, port: int) -> int:
        self._target = port
        self._thread.start()
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def _run(self) -> None:
        while not self._over:
            if not self._open.wait(0.05):
                continue
            for key, _ in self._chosen.select(0.05):
                if self._open.is_set():
                    self._pass_on(key.fileobj)  # type: ignore[arg-type]

    def _pass_on(self, one: socket.socket) -> None:
        if one is self._listener:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                near.close()
                return
            self._pairs |= {near: far, far: near}
            for end in (near, far):
                self._chosen.register(end, selectors.EVENT_READ)
            return
        if (other := self._pairs.get(one)) is None:
            return
        try:
            data = one.recv(65_536)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (one, other):
                self._chosen.unregister(end)
                del self._pairs[end]
                end.close()

    def close(self) -> None:
        self._over = True
        if self._thread.is_alive():
            self._thread.join(10)
        for end in (*self._pairs, self._listener):
            end.close()
        self._chosen.close()


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    """A namespace where the test may make one, a relay otherwise."""
    made: Namespace | Relay
    try:
        if not Path("/run/netns").exists() and os.geteuid() != 0:
            raise PermissionError
        made = Namespace(f"sg{os.getpid() % 100_000}")
    except (OSError, subprocess.CalledProcessError):
        made = Relay()
    try:
        yield made
    finally:
        made.close()
