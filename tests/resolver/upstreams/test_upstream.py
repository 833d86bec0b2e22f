"""The sockets towards upstream: spread, matched, retired; errors are hints."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from resolver.chance import Chance
from resolver.config import Endpoint
from resolver.engine.seam import Arrival
from resolver.message.wire import upstream_query
from resolver.poller import Poller
from resolver.upstreams import upstream as module
from resolver.upstreams.upstream import MAX_USES, SOCKETS, Upstreams
from tests.resolver.messages import ask, reply
from tests.resolver.sockets import Script, Upstream, udp_socket

QUESTION = b"\x07eXample\x03com\0\0\x01\0\x01"
MESSAGE = upstream_query(QUESTION, do=False, cd=False, size=1232)
NOW = 1_800_000_000.0


class Pools:
    """The pools towards one scripted server."""

    def __init__(self, script: Script) -> None:
        self.server = Upstream(script)
        self.poller = Poller()
        self.pools = Upstreams((self.server.endpoint,), self.poller, 3.0)

    def send(self, serial: int = 1, *, now: float = NOW, stream: bool = False) -> None:
        self.pools.send([(serial, 0, MESSAGE, stream)], now)

    def wait(self, count: int = 1) -> list[Arrival]:
        """Poll until `count` have arrived."""
        deadline = time.monotonic() + 10
        while len(self.pools.arrivals) < count and time.monotonic() < deadline:
            self.poller.wait(0.05)
        return self.pools.take()

    def settle(self) -> None:
        """Poll until nothing comes any more."""
        while self.poller.wait(0.1):
            pass

    def close(self) -> None:
        self.pools.close()
        self.poller.close()
        self.server.close()


@pytest.fixture
def make() -> Iterator[object]:
    made: list[Pools] = []

    def factory(script: Script) -> Pools:
        made.append(Pools(script))
        return made[-1]

    yield factory
    for one in made:
        one.close()


def good(query: bytes, tcp: bool) -> list[bytes]:
    return [reply(query, "example.com. 300 A 192.0.2.1")]


def test_a_reply_comes_back_with_the_serial_of_its_try(make) -> None:  # type: ignore[no-untyped-def]
    pools = make(good)
    pools.send(42)
    [(serial, data)] = pools.wait()
    assert serial == 42
    assert data[12 : 12 + len(QUESTION)] == QUESTION


def test_many_tries_use_many_ports_and_ids(make) -> None:  # type: ignore[no-untyped-def]
    pools = make(good)
    for serial in range(400):
        pools.send(serial)
        pools.settle() if serial % 50 == 49 else None
    assert {serial for serial, _ in pools.wait(400)} == set(range(400))
    ports = {peer[1] for _, peer, _ in pools.server.seen}
    ids = {query[:2] for query, _, _ in pools.server.seen}
    assert SOCKETS * 0.8 < len(ports) <= SOCKETS
    assert len(ids) > 380


@pytest.mark.parametrize(
    ("title", "script"),
    [
        ("another id", lambda query, tcp: [bytes((query[0] ^ 1, query[1])) + good(query, tcp)[0][2:]]),
        ("another name", lambda query, tcp: [query[:2] + good(ask("evil.test"), tcp)[0][2:]]),
        ("another type", lambda query, tcp: [query[:2] + good(ask("example.com", "AAAA"), tcp)[0][2:]]),
        ("no question", lambda query, tcp: [query[:2] + b"\x81\x80" + bytes(8)]),
        ("one octet", lambda query, tcp: [b"x"]),
        ("nothing", lambda query, tcp: [b""]),
    ],
)
def test_what_does_not_match_is_stray_and_the_try_goes_on(make, title: str, script: Script) -> None:  # type: ignore[no-untyped-def]
    pools = make(lambda query, tcp: script(query, tcp) + good(query, tcp))
    pools.send(7)
    assert [serial for serial, _ in pools.wait()] == [7]
    assert pools.pools.stray == 1


def test_the_right_answer_from_another_address_is_not_received(make) -> None:  # type: ignore[no-untyped-def]
    def forged(query: bytes, tcp: bool) -> list[bytes]:
        peer = pools.server.seen[-1][1]
        with udp_socket("127.0.0.2") as other:
            other.sendto(good(query, tcp)[0], peer)
        return []

    pools = make(forged)
    pools.send(7)
    pools.settle()
    assert pools.pools.take() == []


def test_a_second_reply_to_the_same_try_is_stray(make) -> None:  # type: ignore[no-untyped-def]
    pools = make(lambda query, tcp: good(query, tcp) * 3)
    pools.send(7)
    assert len(pools.wait()) == 1
    pools.settle()
    assert (pools.pools.take(), pools.pools.stray) == ([], 2)


def test_a_socket_retires_by_age_and_by_use(make, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "SOCKETS", 1)
    pools = make(good)
    pools.send(1)
    pools.send(2, now=NOW + 29)
    pools.wait(2)
    pools.send(3, now=NOW + 31)
    pools.wait()
    ports = [peer[1] for _, peer, _ in pools.server.seen]
    assert ports[0] == ports[1] != ports[2]
    slot = pools.pools._pools[0][0]
    assert slot is not None
    slot.uses = MAX_USES
    pools.send(4, now=NOW + 32)
    pools.wait()
    assert pools.server.seen[-1][1][1] != ports[2]
    assert len(pools.pools._retired) == 2
    pools.pools.sweep(NOW + 33)
    assert pools.pools._retired == []


def test_a_retired_socket_still_hears_what_is_under_way_and_then_closes(make, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "SOCKETS", 1)
    pools = make(lambda query, tcp: [])
    pools.send(1)
    pools.send(2, now=NOW + 31)
    pools.pools.sweep(NOW + 32)
    assert len(pools.pools._retired) == 1
    pools.pools.sweep(NOW + 35)
    assert pools.pools._retired == []


def test_an_id_that_timed_out_is_not_used_again_on_its_socket(make, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "SOCKETS", 1)
    numbers = iter([5, 5, 5, 6])
    pools = make(lambda query, tcp: [])
    monkeypatch.setattr(Chance, "draw", lambda self: next(numbers))
    pools.send(1)
    pools.send(2)
    slot = pools.pools._pools[0][0]
    assert slot is not None
    assert sorted(slot.tries) == [5, 6]


def test_a_closed_port_is_a_hint_for_its_tries() -> None:
    with udp_socket() as free:
        port = free.getsockname()[1]
    poller = Poller()
    pools = Upstreams((Endpoint("127.0.0.1", port),), poller, 3.0)
    pools.send([(9, 0, MESSAGE, False)], NOW)
    deadline = time.monotonic() + 10
    while not pools.failed and time.monotonic() < deadline:
        poller.wait(0.05)
    assert pools.take_failed() == [9]
    pools.send([(10, 0, MESSAGE, True)], NOW)
    while not pools.failed and time.monotonic() < deadline:
        poller.wait(0.05)
    assert pools.take_failed() == [10]
    pools.close()
    poller.close()


def test_tcp_carries_one_question_and_its_answer(make) -> None:  # type: ignore[no-untyped-def]
    pools = make(lambda query, tcp: [reply(query, *(f"example.com. 300 TXT {'x' * 250}{n}" for n in range(50)))])
    pools.send(3, stream=True)
    [(serial, data)] = pools.wait()
    assert (serial, pools.server.seen[0][2], len(data) > 12_000) == (3, True, True)
    assert pools.pools._streams == set()


def test_a_tcp_answer_in_another_case_is_put_right(make) -> None:  # type: ignore[no-untyped-def]
    pools = make(lambda query, tcp: [query[:2] + good(ask("example.com"), tcp)[0][2:]])
    pools.send(3, stream=True)
    [(_, data)] = pools.wait()
    assert data[12 : 12 + len(QUESTION)] == QUESTION


@pytest.mark.parametrize(
    ("title", "script"),
    [
        ("closes", lambda query, tcp: []),
        ("another id", lambda query, tcp: [bytes((query[0] ^ 1, query[1])) + good(query, tcp)[0][2:]]),
        ("another question", lambda query, tcp: [query[:2] + good(ask("evil.test"), tcp)[0][2:]]),
        ("nothing in it", lambda query, tcp: [b""]),
    ],
)
def test_a_tcp_try_that_ends_badly_is_a_failure(make, title: str, script: Script) -> None:  # type: ignore[no-untyped-def]
    pools = make(script)
    pools.send(3, stream=True)
    deadline = time.monotonic() + 10
    while not pools.pools.failed and time.monotonic() < deadline:
        pools.poller.wait(0.05)
    assert (pools.pools.take_failed(), pools.pools._streams) == ([3], set())


def test_a_tcp_try_that_hangs_is_closed_when_nobody_waits_any_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        poller = Poller()
        pools = Upstreams((Endpoint("127.0.0.1", server.getsockname()[1]),), poller, 3.0)
        pools.send([(1, 0, MESSAGE, True)], NOW)
        poller.wait(0.1)
        pools.sweep(NOW + 2)
        assert len(pools._streams) == 1
        pools.sweep(NOW + 4)
        assert pools._streams == set()
        poller.close()


def test_an_old_servers_bare_header_that_refuses_edns_is_an_answer(make) -> None:  # type: ignore[no-untyped-def]
    pools = make(lambda query, tcp: [query[:2] + b"\x81\x01" + bytes(8)])
    pools.send(5)
    [(serial, data)] = pools.wait()
    assert (serial, data[3] & 15, data[12 : 12 + len(QUESTION)].lower()) == (5, 1, QUESTION.lower())
