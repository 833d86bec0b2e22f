"""Who asks, on a running node: by network, by the address that was asked, hidden behind a forwarder, or nobody known.

The topologies of `docs/topologies.md` that exist; each client has an address of its own on loopback.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocklists.policy import Audience
from resolver.tally import read
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.node import QUERY, Node, none_alive
from tests.support import group

BLOCKS = ("social-media",)
NXDOMAIN, SERVFAIL = 3, 2  # blocked; not blocked, and no upstream answers


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


def rcode(source: str, host: str, port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.bind((source, 0))
        client.sendto(QUERY, (host, port))
        data, peer = client.recvfrom(512)
        assert peer == (host, port), "the answer leaves from the address that was asked"
        return data[3] & 15


def test_clients_are_known_by_network_by_asked_address_or_not_at_all(tmp_path: Path, portal: FakePortal) -> None:
    students = group("north-students", "north", networks=("127.1.0.0/16",), blocks=BLOCKS)
    staff = group("north-staff", "north", audience=Audience.STAFF, networks=("127.1.2.0/24",), blocks=())
    guests = group("north-guests", "north", audience=Audience.GUESTS, asked=("127.0.0.5",), blocks=BLOCKS)
    node = Node(tmp_path / "state", portal, workers=1, worker="real")
    port = free_port()
    node.options = [f"--guests={port}"]
    node.start()
    try:
        offer = portal.publish(1, base_of("instagram.com"), groups=(students, staff, guests))
        until(lambda: portal.acked(offer) or portal.nacks)
        assert portal.nacks == []
        assert rcode("127.1.1.1", "127.0.0.1", node.port) == NXDOMAIN  # (a) a device, by its own address
        assert rcode("127.1.2.1", "127.0.0.1", node.port) == SERVFAIL  # the longer prefix wins
        assert rcode("127.1.2.1", "127.0.0.5", port) == NXDOMAIN  # (c) the guests' address, whoever asks
        assert rcode("127.9.9.9", "127.0.0.1", node.port) == NXDOMAIN  # nobody's: the strictest policy

        def counted() -> dict[str, int]:
            plain = read(node.state) or {"hours": []}
            return {row["group"]: row["queries"] for row in plain["hours"]}

        until(lambda: counted() == {"north-students": 1, "north-staff": 1, "north-guests": 1, "unassigned": 1})
    finally:
        children = node.pids("")
        node.stop()
        none_alive(children)
