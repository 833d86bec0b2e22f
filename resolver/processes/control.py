"""Commands about a live node: one line of JSON in, one line out, over a Unix socket that only its owner can open.

`{"do": "status"}`, `{"do": "flush", "name": "example.com", "subtree": true}`, `{"do": "stop"}`. The server is a guest
in the supervisor's loop: bounded, and it never waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOCKET = "control.sock"
REQUEST_LIMIT = 4096  # bytes
REPLY_LIMIT = 1 << 20
MAX_OPEN = 16
PATIENCE = 5.0  # seconds for a client to finish its line

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class NotRunning(Exception):
    """No node runs with this state folder."""


class ControlFailed(Exception):
    """The node runs but refused the command, or did not answer."""


@contextlib.contextmanager
def _short(state: Path) -> Iterator[str]:
    """The socket's path by way of an open folder: Unix socket paths hold 107 bytes, state folders may be longer."""
    number = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{number}/{SOCKET}"
    finally:
        os.close(number)


@dataclass(slots=True)
class _Client:
    channel: socket.socket
    since: float
    heard: bytes = b""


class ControlServer:
    """The listening side. `answer` maps a request to a reply; raising `ValueError` in it refuses with its message."""

    def __init__(self, state: Path, selector: selectors.BaseSelector, answer: Answer) -> None:
        """Listen. A socket left by a dead node is replaced: the caller holds the folder's lock. Raises `OSError`."""
        self._selector = selector
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        self._path = state / SOCKET
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        before = os.umask(0o177)
        try:
            with _short(state) as path:
                self._listener.bind(path)
        finally:
            os.umask(before)
        self._listener.listen(MAX_OPEN)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            channel, _ = self._listener.accept()
            if len(self._clients) >= MAX_OPEN:
                channel.close()
                return
            channel.setblocking(False)
            client = self._clients[channel.fileno()] = _Client(channel, time.monotonic())
            self._selector.register(channel, selectors.EVENT_READ, lambda: self._read(client))

    def _read(self, client: _Client) -> None:
        if client.channel.fileno() < 0:
            return
        try:
            data = client.channel.recv(REQUEST_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.heard += data
        if not data or len(client.heard) > REQUEST_LIMIT:
            self._drop(client)
        elif b"\n" in client.heard:
            reply = self._reply(client.heard.partition(b"\n")[0])
            with contextlib.suppress(OSError):
                client.channel.send(json.dumps(reply).encode() + b"\n", socket.MSG_NOSIGNAL)
            self._drop(client)

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("a request is a JSON object")
            return {"ok": True, **self._answer(request)}
        except (ValueError, RecursionError) as error:
            return {"ok": False, "error": str(error) or type(error).__name__}

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.channel)
        del self._clients[client.channel.fileno()]
        client.channel.close()

    def tick(self, now: float) -> None:
        """Drop clients that do not finish their line. `now` is monotonic."""
        for client in list(self._clients.values()):
            if now - client.since > PATIENCE:
                self._drop(client)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)


def ask(state: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Return the node's reply, without `ok`. Raises `NotRunning` or `ControlFailed`. `timeout` in seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(timeout)
        try:
            with _short(state) as path:
                channel.connect(path)
        except PermissionError:
            raise ControlFailed(f"{state / SOCKET} belongs to another user: run this as the node's user") from None
        except OSError:
            raise NotRunning(f"no resolver runs with {state}: start one with `schoolgate resolver`") from None
        try:
            channel.sendall(json.dumps(request).encode() + b"\n")
            heard = b""
            while not heard.endswith(b"\n"):
                if not (data := channel.recv(65536)) or len(heard) > REPLY_LIMIT:
                    raise ControlFailed("the resolver closed the connection without a reply")
                heard += data
            reply: dict[str, Any] = json.loads(heard)
        except (OSError, ValueError) as error:
            raise ControlFailed(f"the resolver did not answer: {error}") from error
    if not reply.pop("ok", False):
        raise ControlFailed(str(reply.get("error", "the resolver refused, without a reason")))
    return reply
