"""Forwarders that say who asks: the PROXY header as bytes, on real sockets, hostile; and client subnets."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import pytest

from blocklists.policy import Audience
from resolver.clients.proxied import LONGEST, SIGNATURE, BadProxy, Proxied, read_proxy
from resolver.message import wire
from tests.resolver.laboratory import STAFF, STRANGER, STUDENT, Laboratory
from tests.resolver.messages import ask, read
from tests.resolver.processes.test_worker import snapshot
from tests.resolver.sockets import Worker, worker
from tests.support import group

QUERY = ask("facebook.com", use_edns=0)
GROUPS = (
    group("students", networks=("10.1.0.0/16",)),
    group("staff", networks=("10.2.0.0/16", "fd02::/16"), blocks=()),
)


def header(client: str, asked: str = "192.0.2.53", *, command: int = 0x21, kind: int = 2, more: bytes = b"") -> bytes:
    six = ":" in client
    family = socket.AF_INET6 if six else socket.AF_INET
    other = "::1" if six else asked
    body = socket.inet_pton(family, client) + socket.inet_pton(family, other) + b"\x10\0\0\x35" + more
    return SIGNATURE + bytes((command, (0x20 if six else 0x10) | kind)) + len(body).to_bytes(2, "big") + body


HOSTILE = {
    "nothing": b"",
    "version 1": b"PROXY TCP4 10.1.0.7 192.0.2.53 4000 53\r\n",
    "another version": header(STUDENT, command=0x11),
    "an unknown command": header(STUDENT, command=0x22),
    "an unknown protocol": header(STUDENT, kind=3),
    "a Unix socket": SIGNATURE + b"\x21\x31\0\xd8" + bytes(216),
    "unspecified": SIGNATURE + b"\x21\0\0\0",
    "addresses that end early": SIGNATURE + b"\x21\x12\0\x0b" + bytes(11),
    "too long": SIGNATURE + b"\x21\x12" + (LONGEST + 1).to_bytes(2, "big") + bytes(LONGEST + 1),
    "a length beyond the end": header(STUDENT)[:-1],
    "half a signature": SIGNATURE[:7],
}


@pytest.mark.parametrize("client", ["10.1.0.7", "fd02::7"])
def test_a_header_says_who_asks_and_whom(client: str) -> None:
    for more in (b"", b"\x04\0\x02ab"):
        data = header(client, more=more)
        found = read_proxy(data + QUERY)
        assert found == Proxied(len(data), client, "::1" if ":" in client else "192.0.2.53")
        assert all(read_proxy(data[:cut]) is None for cut in range(len(data)))


def test_a_local_command_speaks_for_the_sender() -> None:
    assert read_proxy(SIGNATURE + b"\x20\0\0\0") == Proxied(16, None, None)


def test_whatever_the_bytes_there_is_a_value_or_the_declared_error() -> None:
    rng = random.Random(7)
    for _ in range(20_000):
        data = bytearray(header(rng.choice(("10.1.0.7", "fd02::7"))))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(12, len(data))] = rng.randrange(256)
        del data[rng.randrange(len(data) + 1) :]
        try:
            found = read_proxy(bytes(data))
        except BadProxy:
            continue
        assert found is None or 16 <= found.length <= len(data)


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def forwarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = snapshot(groups=GROUPS)
    state = tmp_path_factory.mktemp("state")
    with worker(
        state,
        lambda _: made,
        address=request.param,
        where="127.0.0.1",
        proxy_from=("127.0.0.1/32",),
        upstream_timeout=0.1,
        upstream_tries=1,
    ) as running:
        yield running


def udp(running: Worker, *datagrams: bytes, source: str = "127.0.0.1") -> dns.message.Message:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.settimeout(10)
        client.connect((running.address, running.port))
        for data in datagrams:
            client.send(data)
        return read(client.recv(4096))


def tcp(running: Worker, data: bytes, source: str = "127.0.0.1") -> dns.message.Message | None:
    with socket.create_connection((running.address, running.port), 10, (source, 0)) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        found = client.makefile("rb").read()
        return read(found[2:]) if found else None


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@pytest.mark.parametrize(
    ("client", "rcode"),
    [(STUDENT, "NXDOMAIN"), (STAFF, "SERVFAIL"), ("fd02::7", "SERVFAIL"), ("::ffff:10.2.0.7", "SERVFAIL")],
)
def test_the_client_behind_a_forwarder_gets_its_own_groups_answer(forwarded: Worker, client: str, rcode: str) -> None:
    for _ in range(3):
        found = udp(forwarded, header(client) + QUERY)
        assert dns.rcode.to_text(found.rcode()) == rcode
        over_tcp = tcp(forwarded, header(client, kind=1) + framed(QUERY))
        assert over_tcp is not None
        assert dns.rcode.to_text(over_tcp.rcode()) == rcode


def test_a_client_outside_the_networks_is_refused_behind_a_forwarder_too(forwarded: Worker) -> None:
    assert udp(forwarded, header("203.0.113.1") + QUERY).rcode() == dns.rcode.REFUSED


def test_nobody_else_is_believed(forwarded: Worker) -> None:
    assert udp(forwarded, header(STAFF) + QUERY, source="127.0.0.9").rcode() == dns.rcode.NOTIMP
    assert udp(forwarded, QUERY, source="127.0.0.9").rcode() == dns.rcode.NXDOMAIN
    assert tcp(forwarded, header(STAFF) + framed(QUERY), source="127.0.0.9") is None


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_dropped_and_the_next_is_read(forwarded: Worker, bad: bytes) -> None:
    sentinel = header(STUDENT) + b"\xff\xff" + QUERY[2:]
    whole = b"" if bad == HOSTILE["a length beyond the end"] else QUERY  # one octet of it would end the header
    assert udp(forwarded, bad + whole, bad, sentinel).id == 0xFFFF
    assert tcp(forwarded, bad) is None
    assert tcp(forwarded, bad + framed(whole)) is None


def test_a_header_in_many_pieces_is_read_over_tcp(forwarded: Worker) -> None:
    data = header(STUDENT, kind=1) + framed(QUERY)
    with socket.create_connection((forwarded.address, forwarded.port), 10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            client.sendall(data[at : at + 1])
        client.shutdown(socket.SHUT_WR)
        assert read(client.makefile("rb").read()[2:]).rcode() == dns.rcode.NXDOMAIN


def test_a_worker_without_forwarders_believes_nobody(tmp_path: Path) -> None:
    made = snapshot(groups=GROUPS)
    with worker(tmp_path, lambda _: made) as running:
        assert udp(running, header(STAFF) + QUERY).rcode() == dns.rcode.NOTIMP


# --- client subnets


def subnet(address: str, prefix: int | None = None) -> bytes:
    return ask(
        "facebook.com", use_edns=0, options=[dns.edns.ECSOption(address, prefix or (128 if ":" in address else 32))]
    )


def raw_subnet(data: bytes) -> bytes:
    return ask("facebook.com", use_edns=0, options=[dns.edns.GenericOption(8, data)])


def test_a_forwarders_client_subnet_is_the_client_and_nobody_elses_is() -> None:
    laboratory = Laboratory(ecs_from=(f"{STRANGER}/32",))
    for _ in range(3):
        found = laboratory.feed(subnet(STUDENT), client=STRANGER)[0]
        assert read(found).rcode() == dns.rcode.NXDOMAIN
        assert laboratory.feed(subnet(STAFF), client=STUDENT)
    assert laboratory.feed(subnet(STAFF), client=STRANGER) == []
    serial, _, message, _ = laboratory.sent[-1]
    assert not read(message).options
    assert serial >= 0
    answer = laboratory.answer("facebook.com. 60 A 192.0.2.1")
    assert answer.answer
    assert laboratory.log[-1].group != laboratory.log[0].group
    assert laboratory.feed(subnet("10.2.0.0", 16), client=STRANGER)
    assert read(laboratory.feed(subnet("203.0.113.1"), client=STRANGER)[0]).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\1\x20",
        b"\0\1\x21\0" + bytes(5),
        b"\0\1\x20\0" + bytes(3),
        b"\0\3\0\0",
        b"\0\1\x20\x20" + bytes(4),
    ],
)
def test_a_subnet_that_cannot_be_is_a_format_error_from_a_forwarder_only(data: bytes) -> None:
    laboratory = Laboratory(ecs_from=(f"{STRANGER}/32",))
    expected = dns.rcode.FORMERR if data else dns.rcode.NXDOMAIN
    assert read(laboratory.feed(raw_subnet(data), client=STRANGER)[0]).rcode() == expected
    assert read(laboratory.feed(raw_subnet(data), client=STUDENT)[0]).rcode() == dns.rcode.NXDOMAIN


def test_a_client_that_wants_no_subnet_used_is_the_forwarder_itself() -> None:
    assert wire.subnet_address(b"\0\1\0\0") is None
    laboratory = Laboratory(ecs_from=(f"{STAFF}/32",))
    assert laboratory.feed(raw_subnet(b"\0\1\0\0"), client=STAFF) == []


def test_a_forwarder_is_not_limited() -> None:
    laboratory = Laboratory(ecs_from=(f"{STRANGER}/32",), rate_limit=1, rate_burst=1)
    assert len(laboratory.feed(*[subnet(STUDENT)] * 50, client=STRANGER)) == 50
    assert laboratory.engine.counters.limited == 0


def test_the_audience_of_the_asked_address_is_that_of_the_header(tmp_path: Path) -> None:
    line = group("line", audience=Audience.STAFF, asked=("192.0.2.53",), blocks=())
    made = snapshot(groups=(line,))
    told = {"proxy_from": ("127.0.0.0/8",), "upstream_timeout": 0.1, "upstream_tries": 1}
    with worker(tmp_path, lambda _: made, **told) as running:
        assert udp(running, header(STRANGER) + QUERY).rcode() == dns.rcode.SERVFAIL
        assert udp(running, header(STRANGER, "192.0.2.99") + QUERY).rcode() == dns.rcode.NXDOMAIN
