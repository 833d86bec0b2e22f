"""Topology (b) of `docs/topologies.md`: a real forwarder between devices and us, as a domain controller would be."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from blocklists.policy import Audience
from resolver.log.tally import FORWARDER_NAMES, FORWARDER_QUERIES, read
from tests.flows.nameservers import program
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.messages import ask, reply
from tests.resolver.node import Node, none_alive
from tests.resolver.sockets import Upstream, udp_socket
from tests.support import grant, group

CONTROLLER = "127.3.0.10"
CONF = """
server:
    interface: 127.0.0.1@{port}
    outgoing-interface: {controller}
    do-not-query-localhost: no
    access-control: 127.0.0.0/8 allow
    module-config: "iterator"
    do-ip6: no
    do-daemonize: no
    use-syslog: no
    chroot: ""
    pidfile: ""
    directory: "{folder}"
    {user}
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{ours}
    forward-first: no
"""


@contextlib.contextmanager
def controller(folder: Path, ours: int) -> Iterator[int]:
    """Unbound, without root hints, that forwards everything to us from an address of its own; yields its port."""
    binary = program("unbound")
    if binary is None:
        pytest.skip("not installed: unbound: apt-get install unbound")
    port = free_port()
    file = folder / "unbound.conf"
    user = "" if os.getuid() else "username: root"
    file.write_text(CONF.format(port=port, ours=ours, controller=CONTROLLER, folder=folder, user=user))
    with subprocess.Popen([binary, "-d", "-p", "-c", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port), what="unbound")
            yield port
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with contextlib.suppress(dns.exception.Timeout, OSError):
        dns.query.udp(dns.message.make_query("up.example", "A"), "127.0.0.1", port=port, timeout=1)
        return True
    return False


def answers(query: bytes, tcp: bool) -> list[bytes]:
    return [reply(query, f"{dns.message.from_wire(query).question[0].name} 300 A 192.0.2.1")]


def test_behind_a_domain_controller_is_one_group_and_the_node_says_that_it_forwards(tmp_path: Path) -> None:
    portal, upstream = FakePortal(District()), Upstream(answers)
    node = Node(tmp_path / "state", portal, workers=1, worker="real")
    node.upstream = upstream.endpoint.port
    node.start()
    try:
        hidden = group("north-students", networks=(f"{CONTROLLER}/32",), blocks=("social-media",))
        staff = group("north-staff", audience=Audience.STAFF, networks=("127.0.0.0/8",), blocks=())
        for_staff = grant(1, "www.instagram.com", audiences=(Audience.STAFF,))
        base = base_of("instagram.com", "tiktok.com")
        offer = portal.publish(1, base, groups=(hidden, staff), grants=(for_staff,))
        until(lambda: portal.acked(offer) or portal.nacks)
        assert portal.nacks == []

        def found(name: str, port: int) -> str:
            answer = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=port, timeout=20)
            return str(answer.answer[-1][0]) if answer.answer else dns.rcode.to_text(answer.rcode())

        with controller(tmp_path, node.port) as port:
            # Whoever sits behind it, a teacher at 127.0.0.1 too, gets the controller's group, and no staff's grant.
            assert [found(name, port) for name in ("www.instagram.com", "www.tiktok.com")] == ["NXDOMAIN", "NXDOMAIN"]
            assert found("www.example.com", port) == "192.0.2.1"
            assert found("www.instagram.com", node.port) == "192.0.2.1"  # the same teacher, asking us
        assert _counted(node) == (False, {"north-students", "north-staff"})
        _ask_a_lot(node.port)
        until(lambda: _counted(node)[0], what="the warning")
    finally:
        children = node.pids("")
        node.stop()
        upstream.close()
        portal.stop()
        none_alive(children)


def _counted(node: Node) -> tuple[bool, set[str]]:
    """Does the node say that somebody of north-students forwards; and which groups have asked?"""
    hours = until(lambda: (read(node.state) or {}).get("hours"))
    forwards = {row["group"] for row in hours if row["forwarder"]}
    assert forwards <= {"north-students"}
    return bool(forwards), {row["group"] for row in hours}


def _ask_a_lot(port: int) -> None:
    """What a building asks in an hour, twice, in case one ends meanwhile; a few at a time, so that none is lost."""
    with udp_socket(CONTROLLER) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(20)
        for number in range(0, 2 * FORWARDER_QUERIES + 100, 50):
            for one in range(number, number + 50):
                client.send(ask(f"n{one % (FORWARDER_NAMES + 100)}.instagram.com", id=one))
            for _ in range(50):
                client.recv(512, socket.MSG_TRUNC)
