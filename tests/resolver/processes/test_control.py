"""Commands about a live node: one line in, one line out, for its owner alone."""

from __future__ import annotations

import os
import selectors
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resolver.processes.control import MAX_OPEN, REQUEST_LIMIT, ControlFailed, ControlServer, NotRunning, ask


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("do") == "echo":
        return {"heard": request}
    raise ValueError("unknown command")


class Loop:
    def __init__(self, state: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(state, self.selector, answer)
        self._over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over:
            for key, _ in self.selector.select(0.02):
                key.data()

    def stop(self) -> None:
        self._over = True
        self._thread.join()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    long = tmp_path / ("a-state-folder-with-a-long-name-" * 4)  # longer than a Unix socket's path may be
    long.mkdir(mode=0o700)
    return long


@pytest.fixture
def loop(state: Path) -> Iterator[Loop]:
    made = Loop(state)
    yield made
    made.stop()
    made.server.close()
    made.selector.close()


def connected(state: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    number = os.open(state, os.O_PATH)
    try:
        client.connect(f"/proc/self/fd/{number}/control.sock")
    finally:
        os.close(number)
    return client


def raw(state: Path, data: bytes) -> bytes:
    with connected(state) as client:
        client.sendall(data)
        try:
            return client.recv(65536)
        except ConnectionResetError:
            return b""


def test_a_request_gets_its_reply(state: Path, loop: Loop) -> None:
    assert ask(state, {"do": "echo", "name": "bücher.example"}) == {"heard": {"do": "echo", "name": "bücher.example"}}


def test_only_the_owner_can_open_the_socket(state: Path, loop: Loop) -> None:
    found = (state / "control.sock").stat().st_mode
    assert stat.S_ISSOCK(found) and found & 0o777 == 0o600


def test_an_unknown_command_is_refused_with_a_reason(state: Path, loop: Loop) -> None:
    with pytest.raises(ControlFailed, match="unknown command"):
        ask(state, {"do": "dance"})


@pytest.mark.parametrize("line", [b"[]\n", b"{\n", b"\xff\n", b'"status"\n', b"[" * 4000 + b"\n"])
def test_what_is_no_request_gets_an_error_and_the_server_goes_on(line: bytes, state: Path, loop: Loop) -> None:
    assert b'"ok": false' in raw(state, line)
    assert ask(state, {"do": "echo"})


def test_an_endless_line_is_cut_off(state: Path, loop: Loop) -> None:
    assert raw(state, b"x" * (REQUEST_LIMIT + 1)) == b""
    assert ask(state, {"do": "echo"})


def test_clients_that_never_finish_are_bounded_and_dropped(state: Path) -> None:
    selector = selectors.DefaultSelector()
    server = ControlServer(state, selector, answer)
    clients = []
    try:
        for _ in range(MAX_OPEN):
            clients.append(connected(state))
            for key, _ in selector.select(1):
                key.data()
        assert len(selector.get_map()) == 1 + MAX_OPEN
        server.tick(1e12)
        assert len(selector.get_map()) == 1
    finally:
        for client in clients:
            client.close()
        server.close()
        selector.close()


def test_without_a_node_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="schoolgate resolver"):
        ask(tmp_path, {"do": "status"})
    with pytest.raises(NotRunning):
        ask(tmp_path / "nowhere", {"do": "status"})


def test_a_socket_left_by_a_dead_node_is_replaced(state: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left, pytest.MonkeyPatch.context() as patch:
        patch.chdir(state)
        left.bind("control.sock")
    with pytest.raises(NotRunning):
        ask(state, {"do": "echo"})
    loop = Loop(state)
    try:
        assert ask(state, {"do": "echo"})
    finally:
        loop.stop()
        loop.server.close()
        loop.selector.close()
    assert not (state / "control.sock").exists()
