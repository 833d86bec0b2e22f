"""A running node that listens encrypted: RFC 7858 and RFC 8484, the limits of TCP, and who asks by device profile.

Topology (d) of `docs/topologies.md`: one network, and the group by a token in the path or in the server name.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import httpx
import pytest
from cryptography import x509

from blocklists.policy import Audience
from tests.portal.gatehouse import free_port
from tests.resolver.fake_portal import District, FakePortal, base_of, until
from tests.resolver.laboratory import Laboratory, make_snapshot_of
from tests.resolver.messages import ask, codes, read, reply
from tests.resolver.node import Node, none_alive
from tests.resolver.sockets import Upstream
from tests.resolver.upstreams.test_tls import HOST, Authority
from tests.support import group

STAFF, STUDENTS, NOBODY = "staff4toaster", "kids7toaster", "gone1toaster"
BLOCKED, OPEN = "www.instagram.com", "www.example.com"
MEDIA = {"content-type": "application/dns-message"}


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def answers(query: bytes, tcp: bool) -> list[bytes]:
    """What the rest of the world says: nothing of never.example."""
    name = str(dns.message.from_wire(query).question[0].name)
    return [] if name.lower() == "never.example." else [reply(query, f"{name} 300 A 192.0.2.1")]


@dataclass
class Running:
    node: Node
    dot: int
    doh: int
    authority: Authority
    file: Path  # the certificate and its key

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.file))

    @contextlib.contextmanager
    def stream(self, token: str = "") -> Iterator[ssl.SSLSocket]:
        """A verified connection to the listener of DNS over TLS."""
        with (
            socket.create_connection(("127.0.0.1", self.dot), timeout=20) as plain,
            self.context().wrap_socket(plain, server_hostname=f"{token}.{HOST}" if token else HOST) as made,
        ):
            yield made

    def over_tls(self, name: str, token: str = "", **options: object) -> dns.message.Message:
        with self.stream(token) as made:
            dns.query.send_tcp(made, ask(name, use_edns=0, **options))
            return dns.query.receive_tcp(made)[0]

    def client(self, http2: bool = True) -> httpx.Client:
        return httpx.Client(
            verify=self.context(),
            http1=not http2,
            http2=http2,
            base_url=f"https://127.0.0.1:{self.doh}",
            timeout=20,
        )

    def over_https(self, name: str, token: str = "", http2: bool = True) -> dns.message.Message:
        path = f"/dns-query/{token}" if token else "/dns-query"
        with self.client(http2) as client:
            found = client.post(path, content=ask(name, id=0, use_edns=0), headers=MEDIA)
        assert (found.status_code, found.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
        assert found.headers["content-type"] == "application/dns-message"
        return read(found.content)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("encrypted")
    authority = Authority(folder, "ours")
    file = folder / "node.pem"
    shutil.copy(authority.pem("127.0.0.1", authority.later, HOST, f"*.{HOST}"), file)
    portal, upstream = FakePortal(District()), Upstream(answers)
    node = Node(folder / "state", portal, workers=2, worker="real")
    node.upstream = upstream.endpoint.port
    dot, doh = free_port(), free_port()
    node.options = [
        f"--dot={dot}",
        f"--doh={doh}",
        f"--certificate={file}",
        "set:tcp_idle=2",
        "set:upstream_timeout=1",
        "set:upstream_tries=1",
        "set:tcp_per_client=20",
    ]
    node.start()
    try:
        students = group(networks=("127.0.0.0/8",), blocks=("social-media",), profiles=(digest(STUDENTS),))
        staff = group("north-staff", audience=Audience.STAFF, blocks=(), profiles=(digest(STAFF),))
        offer = portal.publish(1, base_of("instagram.com"), groups=(students, staff))
        until(lambda: portal.acked(offer) or portal.nacks)
        assert portal.nacks == []
        yield Running(node, dot, doh, authority, file)
    finally:
        children = node.pids("")
        node.stop()
        upstream.close()
        portal.stop()
        none_alive(children)


def exactly(made: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += made.recv(size - len(data)) or pytest.fail("the connection ended early")
    return data


def outcome(found: dns.message.Message) -> str:
    if found.answer:
        assert str(found.answer[-1][0]) == "192.0.2.1"
        return "open"
    assert (dns.rcode.to_text(found.rcode()), codes(found)) == ("NXDOMAIN", [15])
    return "blocked"


@pytest.mark.parametrize("way", ["tls", "https", "https/1.1"])
def test_one_network_and_the_group_by_the_device_s_profile(running: Running, way: str) -> None:
    def found(name: str, token: str = "") -> str:
        if way == "tls":
            return outcome(running.over_tls(name, token))
        return outcome(running.over_https(name, token, http2=way == "https"))

    assert [found(BLOCKED, token) for token in (STAFF, STUDENTS)] == ["open", "blocked"]
    assert found(BLOCKED, STAFF.upper()) == "open"  # host names come in any case
    assert found(BLOCKED, NOBODY) == "blocked"  # nobody's: the strictest policy, not the network's
    assert [found(BLOCKED), found(OPEN)] == ["blocked", "open"]  # without one: by address


def test_a_profile_is_known_from_everywhere_and_a_stranger_is_refused() -> None:
    snapshot = make_snapshot_of(groups=(group("away", profiles=(digest(STAFF),), blocks=()),))
    lab = Laboratory(snapshot)
    for profile, rcode in ((digest(STAFF), None), (digest(NOBODY), "REFUSED"), ("", "REFUSED")):
        source = lab.engine.source(None, "doh")
        output = lab.engine.step([(ask("facebook.com"), (("203.0.113.9", "192.0.2.53", profile), -1))], lab.now, source)
        told = [dns.rcode.to_text(read(data).rcode()) for data, _ in output.replies]
        assert told == ([] if rcode is None else [rcode])


def test_dns_over_https_says_what_rfc_8484_wants(running: Running) -> None:
    question = ask(OPEN, id=0, use_edns=0)
    text = base64.urlsafe_b64encode(question).rstrip(b"=").decode()
    with running.client() as client:
        got = client.get("/dns-query", params={"dns": text})
        assert got.status_code == 200 and outcome(read(got.content)) == "open"
        kept = int(got.headers["cache-control"].removeprefix("private, max-age="))
        assert 0 < kept <= min(rrset.ttl for rrset in read(got.content).answer)
        refused = client.post("/dns-query", content=ask(BLOCKED, id=0, use_edns=0), headers=MEDIA)
        assert (refused.status_code, refused.headers["cache-control"]) == (200, "private, max-age=10")
        broken = client.post("/dns-query", content=question[:20], headers=MEDIA)  # FORMERR is a DNS answer too
        assert (broken.status_code, read(broken.content[:12]).rcode()) == (200, dns.rcode.FORMERR)
        statuses = {
            "wrong type": client.post("/dns-query", content=question, headers={"content-type": "text/plain"}),
            "no type": client.post("/dns-query", content=question),
            "elsewhere": client.get("/"),
            "no token": client.get("/dns-query/../x", params={"dns": text}),
            "no question": client.get("/dns-query"),
            "no base64url": client.get("/dns-query", params={"dns": "a+/="}),
            "two": client.get(f"/dns-query?dns={text}&dns={text}"),
            "an answer": client.post("/dns-query", content=got.content, headers=MEDIA),
            "too long": client.post("/dns-query", content=bytes(9_000), headers=MEDIA),
            "another method": client.put("/dns-query", content=question, headers=MEDIA),
        }
    assert {title: one.status_code for title, one in statuses.items()} == {
        "wrong type": 415,
        "no type": 415,
        "elsewhere": 404,
        "no token": 404,
        "no question": 400,
        "no base64url": 400,
        "two": 400,
        "an answer": 400,
        "too long": 413,
        "another method": 405,
    }


def test_dns_over_tls_answers_out_of_order_pads_and_never_speaks_in_the_clear(running: Running) -> None:
    with running.stream() as made:
        padding = dns.edns.GenericOption(dns.edns.OptionType.PADDING, b"")
        slow = ask("never.example", id=1)
        quick = ask(BLOCKED, id=2, use_edns=0, options=[padding])
        made.sendall(b"".join(len(one).to_bytes(2, "big") + one for one in (slow, quick)))
        size = int.from_bytes(exactly(made, 2), "big")
        assert size % 468 == 0
        first = read(exactly(made, size))
        assert (first.id, outcome(first)) == (2, "blocked")
        assert dns.query.receive_tcp(made)[0].rcode() == dns.rcode.SERVFAIL
        assert made.recv(1) == b""  # idle for two seconds
    with socket.create_connection(("127.0.0.1", running.dot), timeout=20) as plain:
        question = ask(OPEN)
        plain.sendall(len(question).to_bytes(2, "big") + question)
        with contextlib.suppress(ConnectionResetError):
            said = plain.recv(4096)
            assert b"\xc0\0\2\1" not in said and question[:2] not in said


def test_connections_beyond_a_client_s_limit_are_closed_before_a_handshake(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", running.dot), 20)) for _ in range(20)]
        with pytest.raises((ConnectionError, ssl.SSLError)):  # one more
            stack.enter_context(running.stream())
        for one in held:
            one.close()
    until(lambda: _works(running), what="room again")


def _works(running: Running) -> bool:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        return outcome(running.over_tls(OPEN)) == "open"
    return False


def test_devices_that_ask_are_told_of_these_listeners(running: Running) -> None:
    query = dns.message.make_query("_dns.resolver.arpa", "SVCB", use_edns=0)
    found = dns.query.udp(query, "127.0.0.1", port=running.node.port, timeout=20)
    texts = sorted(one.to_text() for rrset in found.answer for one in rrset)
    assert texts == [
        f'1 {HOST}. alpn="dot" port="{running.dot}" ipv4hint="127.0.0.1"',
        f'2 {HOST}. alpn="h2,http/1.1" port="{running.doh}" ipv4hint="127.0.0.1" dohpath="/dns-query{{?dns}}"',
    ]
    for qtype in ("A", "HTTPS"):
        other = dns.message.make_query("_dns.resolver.arpa", qtype, use_edns=0)
        assert dns.query.udp(other, "127.0.0.1", port=running.node.port, timeout=20).answer == []


def test_a_renewed_certificate_is_taken_and_a_broken_one_reported(running: Running) -> None:
    def serial() -> int:
        with running.stream() as made:
            return x509.load_der_x509_certificate(made.getpeercert(binary_form=True) or b"").serial_number

    before = serial()
    running.file.write_bytes(b"no certificate\n")
    until(lambda: "the old one stays" in running.node.status()["last_error"], what="a report")
    assert serial() == before
    shutil.copy(running.authority.pem("127.0.0.1", running.authority.later, HOST, f"*.{HOST}"), running.file)
    until(lambda: serial() != before, what="the new certificate")
    until(lambda: running.node.status()["last_error"] == "", what="no report any more")


def test_both_are_counted_and_outlive_whoever_answers_them(running: Running) -> None:
    assert outcome(running.over_tls(OPEN)) == outcome(running.over_https(OPEN)) == "open"
    where = running.node.status()["listening"]
    assert where[1:] == [f"127.0.0.1:{running.dot}", f"127.0.0.1:{running.doh}"]
    until(lambda: min(running.node.status()["counters"].get(one, 0) for one in ("dot", "doh")) > 0)
    workers, (front,) = running.node.pids("worker"), running.node.pids("encrypted")
    for pid in workers:
        running.node.kill(pid)
    for _ in range(4):  # the questions wait for those who come
        assert outcome(running.over_tls(OPEN)) == "open"
    running.node.kill(front)
    until(lambda: running.node.pids("encrypted") not in ([], [front]))
    assert outcome(running.over_tls(BLOCKED)) == "blocked"
