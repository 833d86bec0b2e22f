"""Who asks, on a running node: by network, by the address that was asked, hidden behind a forwarder, or nobody known.

The topologies of `docs/topologies.md` that exist; each client has an address of its own on loopback.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from click.testing import CliRunner

from blocklists.policy import Audience
from deploy.cli import main
from resolver.delivery.enrolment import enrol
from resolver.log.tally import read
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.messages import reply
from tests.resolver.node import QUERY, Node, none_alive
from tests.resolver.sockets import Upstream
from tests.support import group

BLOCKS = ("social-media",)
NXDOMAIN, SERVFAIL = 3, 2  # blocked; not blocked, and no upstream answers


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    made = FakePortal(District())
    yield made
    made.stop()


def rcode(source: str, host: str, port: int) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.bind((source, 0))
        client.sendto(QUERY, (host, port))
        data, peer = client.recvfrom(512)
        assert peer[:2] == (host, port), "the answer leaves from the address that was asked"
        return data[3] & 15


def test_clients_are_known_by_network_by_asked_address_or_not_at_all(tmp_path: Path, portal: FakePortal) -> None:
    students = group("north-students", "north", networks=("127.1.0.0/16",), blocks=BLOCKS)
    staff = group("north-staff", "north", audience=Audience.STAFF, networks=("127.1.2.0/24", "::1/128"), blocks=())
    guests = group("north-guests", "north", audience=Audience.GUESTS, asked=("127.0.0.5",), blocks=BLOCKS)
    node = Node(tmp_path / "state", portal, workers=1, worker="real")
    port = free_port()
    six = free_port()
    node.options = [f"--guests={port}", f"--six={six}"]
    node.start()
    try:
        offer = portal.publish(1, base_of("instagram.com"), groups=(students, staff, guests))
        until(lambda: portal.acked(offer) or portal.nacks)
        assert portal.nacks == []
        assert rcode("127.1.1.1", "127.0.0.1", node.port) == NXDOMAIN  # (a) a device, by its own address
        assert rcode("127.1.2.1", "127.0.0.1", node.port) == SERVFAIL  # the longer prefix wins
        assert rcode("127.1.2.1", "127.0.0.5", port) == NXDOMAIN  # (c) the guests' address, whoever asks
        assert rcode("::1", "::1", six) == SERVFAIL  # the same device over IPv6: the same policy
        over_tcp = dns.query.tcp(dns.message.from_wire(QUERY), "::1", port=six, timeout=20)
        assert over_tcp.rcode() == SERVFAIL
        assert rcode("127.9.9.9", "127.0.0.1", node.port) == NXDOMAIN  # nobody's: the strictest policy

        def counted() -> dict[str, int]:
            plain = read(node.state) or {"hours": []}
            return {row["group"]: row["queries"] for row in plain["hours"]}

        until(lambda: counted() == {"north-students": 1, "north-staff": 3, "north-guests": 1, "unassigned": 1})
    finally:
        children = node.pids("")
        node.stop()
        none_alive(children)


DOMAIN = "corp.district.example"
ZONE = {
    f"_ldap._tcp.dc._msdcs.{DOMAIN}": f"SRV 0 100 389 dc1.{DOMAIN}.",
    f"dc1.{DOMAIN}": "A 10.0.0.10",
    "10.0.0.10.in-addr.arpa": f"PTR dc1.{DOMAIN}.",
    "www.example.com": "A 192.0.2.80",
}


def answering(query: bytes, tcp: bool) -> list[bytes]:
    """A domain controller, or the outside world: whoever is asked knows all of `ZONE`."""
    name = dns.message.from_wire(query).question[0].name.to_text().lower().rstrip(".")
    return [reply(query, f"{name}. 300 {ZONE[name]}")] if name in ZONE else [reply(query, rcode="NXDOMAIN")]


def asked(server: Upstream) -> set[str]:
    """The names that clients caused to be asked: not those that look for loops."""
    found = {dns.message.from_wire(query).question[0].name.to_text().lower() for query, _, _ in list(server.seen)}
    return {name for name in found if not name.startswith("sg")}


def test_the_zones_of_active_directory_go_to_its_servers_and_to_nobody_else(tmp_path: Path, portal: FakePortal) -> None:
    controllers = [Upstream(answering), Upstream(answering)]
    world = Upstream(answering)
    port = free_port()
    file = tmp_path / "schoolgate.toml"
    servers = ", ".join(f'"{one.endpoint}"' for one in controllers)
    file.write_text(f'''
data = "{tmp_path}"
[resolver]
listen = ["127.0.0.1:{port}"]
upstreams = ["{world.endpoint}"]
local = ["files.district.example CNAME dc1.{DOMAIN}", "printer.district.example A 10.0.0.9"]
workers = 1
[resolver.forward]
"{DOMAIN}" = [{servers}]
"10.0.0.0/8" = [{servers}]
''')
    enrol(portal.url, portal.token, "edison", ["edison"], tmp_path / "node")
    root = Path(__file__).parents[2]

    def run(*words: str) -> str:
        return CliRunner().invoke(main, [*words, "--config", str(file)]).output

    def answer(name: str, qtype: str) -> dns.message.Message:
        return dns.query.udp(dns.message.make_query(name, qtype), "127.0.0.1", port=port, timeout=20)

    command = [sys.executable, "-m", "deploy.cli", "resolver", "--config", str(file)]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as node:
        try:
            offer = portal.publish(1, base_of("instagram.com"))
            until(lambda: portal.acked(offer), 60)
            for name, data in ZONE.items():
                kind, _, value = data.partition(" ")
                assert str(answer(name, kind).answer[0][0]) == value
            assert answer("www.instagram.com", "A").rcode() == dns.rcode.NXDOMAIN
            assert asked(world) == {"www.example.com."}
            says = run("explain", f"dc1.{DOMAIN}", "--client", "127.0.0.1")
            assert f"is asked of {controllers[0].endpoint}, {controllers[1].endpoint} (forwarded zone {DOMAIN})" in says
            says = run("explain", "files.district.example", "--client", "127.0.0.1")
            assert "answered by local records of files.district.example: CNAME\n" in says
            assert f"dc1.{DOMAIN} is asked of {controllers[0].endpoint}" in says
            assert [str(one[0]) for one in answer("files.district.example", "A").answer] == [
                f"dc1.{DOMAIN}.",
                "10.0.0.10",
            ]
            assert str(answer("printer.district.example", "A").answer[0][0]) == "10.0.0.9"
            assert f"is asked of {world.endpoint}\n" in run("explain", "www.example.com", "--client", "127.0.0.1")
            says = run("explain", "www.example.com", "--client", "127.0.0.1", "--answer", "10.0.0.1")
            assert "<- decides\n\nBLOCK: rebinding at www.example.com\ndevices are told: Private address: " in says
            says = run("explain", "www.example.com", "--type", "https", "--answer", "www.instagram.com")
            assert "it leads to www.instagram.com: instagram.com is in list" in says and "\nBLOCK: category" in says
            says = run("explain", "www.example.com", "--no-ask")
            assert "upstream's answer for www.example.com is not known" in says and "\nALLOW: default\n" in says
            expected = rf"{controllers[0].endpoint} +answers in \d+ ms  only {DOMAIN}, 10.in-addr.arpa\n"
            until(lambda: re.search(expected, run("node", "status")))
            controllers[0].close()
            assert answer(f"pc1.{DOMAIN}", "A").rcode() == dns.rcode.NXDOMAIN  # the other one answers
            controllers[1].close()
            assert answer(f"pc2.{DOMAIN}", "A").rcode() == dns.rcode.SERVFAIL
            assert str(answer("www.example.com", "A").answer[0][0]) == "192.0.2.80"
            assert asked(world) == {"www.example.com."}
        finally:
            os.kill(node.pid, signal.SIGTERM)
    world.close()
