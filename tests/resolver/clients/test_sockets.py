"""Listening sockets: never shared with a stranger, never silently."""

from __future__ import annotations

import os
import socket

import pytest

from resolver.clients.sockets import AsksItself, CannotListen, Listeners, passed_sockets, probe, refuse_ourselves
from resolver.config import Endpoint


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_taken_port_is_refused_naming_the_holder(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # would let us in, and share the traffic
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(CannotListen, match=rf"is taken by pid {os.getpid()} \(.*python"):
            probe(Endpoint("127.0.0.1", other.getsockname()[1]))


def test_an_address_of_another_machine_is_refused_by_name() -> None:
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1 is no address of this machine"):
        Listeners((Endpoint("192.0.2.1", 5300),), {})


def test_every_worker_has_its_own_sockets_on_the_same_ports() -> None:
    listeners = Listeners((Endpoint("127.0.0.1", 0), Endpoint("::1", 0)), {})
    try:
        first, second = listeners.pair(0), listeners.pair(1)
        assert [one.getsockname() for one in first.udp] == [one.getsockname() for one in second.udp]
        assert not set(first.numbers()) & set(second.numbers())
        assert listeners.pair(0) is first
        assert listeners.close(0)
        assert listeners.pair(0) is not first
    finally:
        listeners.close_all()


def test_sockets_passed_to_another_process_are_left_alone() -> None:
    environment = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "2"}
    assert passed_sockets(environment) is None
    assert environment == {}


@pytest.mark.parametrize(
    ("upstream", "listening"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.53", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "::"),
        ("::1", "::1"),
    ],
)
def test_an_upstream_that_is_ourselves_is_refused(upstream: str, listening: str) -> None:
    with pytest.raises(AsksItself, match="is this resolver itself"):
        refuse_ourselves([Endpoint(upstream, 5300)], [Endpoint("127.0.0.9", 5300), Endpoint(listening, 5300)])


@pytest.mark.parametrize(
    ("upstream", "listening"),
    [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::"), ("::1", "0.0.0.0"), ("192.0.2.53", "127.0.0.1")],
)
def test_another_server_is_no_self(upstream: str, listening: str) -> None:
    refuse_ourselves([Endpoint(upstream, 53)], [Endpoint(listening, 53)])
    refuse_ourselves([Endpoint(listening, 53)], [Endpoint(listening, 5300)])
