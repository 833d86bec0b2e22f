"""Every row of the message table over real UDP and TCP sockets: the bytes that go in, what comes back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import pytest

from resolver.message import wire
from tests.resolver.messages import ask, codes
from tests.resolver.processes.test_worker import answers, snapshot
from tests.resolver.sockets import Upstream, Worker, worker

QUESTION = b"\x07example\x03com\0\0\x01\0\x01"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
VERSION_1 = OPT[:6] + b"\x01" + OPT[7:]
SENTINEL = ask("facebook.com", id=0xFFFF)


def raw(flags: int = wire.RD, counts: tuple[int, int, int, int] = (1, 0, 0, 0), rest: bytes = QUESTION) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, *counts) + rest


def option(code: int, data: bytes) -> bytes:
    rdata = struct.pack("!HH", code, len(data)) + data
    return OPT[:-2] + struct.pack("!H", len(rdata)) + rdata


SUBNET = option(8, b"\0\1\x18\0\x0a\1\0")

# title, query, rcode (None: silence), has OPT, has the question, extended errors
ROWS = [
    ("shorter than a header", b"\0\x07\x01\0\0\x01\0\0\0\0\0", None, False, False, []),
    ("an answer", raw(wire.QR | wire.RD), None, False, False, []),
    ("truncated query", raw(wire.TC | wire.RD), "FORMERR", False, False, []),
    ("opcode IQUERY", raw(0x0800), "NOTIMP", False, False, []),
    ("opcode STATUS", raw(0x1000), "NOTIMP", False, False, []),
    ("opcode NOTIFY", raw(0x2000), "NOTIMP", False, False, []),
    ("opcode UPDATE", raw(0x2800), "NOTIMP", False, False, []),
    ("opcode 15", raw(0x7800), "NOTIMP", False, False, []),
    ("two questions", raw(counts=(2, 0, 0, 0), rest=QUESTION * 2), "FORMERR", False, False, []),
    ("no question, no cookie", raw(counts=(0, 0, 0, 0), rest=b""), "FORMERR", False, False, []),
    ("no question, a cookie", raw(counts=(0, 0, 0, 1), rest=option(10, b"c" * 8)), "NOERROR", True, False, []),
    ("no question, a bad cookie", raw(counts=(0, 0, 0, 1), rest=option(10, b"c" * 24)), "BADCOOKIE", True, False, []),
    ("ANCOUNT 1", raw(counts=(1, 1, 0, 0)), "FORMERR", False, False, []),
    ("NSCOUNT 1", raw(counts=(1, 0, 1, 0)), "FORMERR", False, False, []),
    ("ARCOUNT 3", raw(counts=(1, 0, 0, 3), rest=QUESTION + OPT * 3), "FORMERR", False, False, []),
    ("pointer forward", raw(rest=b"\xc0\x12\0\x01\0\x01" + QUESTION), "FORMERR", False, False, []),
    ("pointer loop", raw(rest=b"\xc0\x0c\0\x01\0\x01"), "FORMERR", False, False, []),
    ("too long a name", raw(rest=(b"\x3f" + b"a" * 63) * 5 + b"\0\0\x01\0\x01"), "FORMERR", False, False, []),
    ("unknown type", ask("example.com", "TYPE999"), "NOERROR", False, True, []),
    ("Z flag", ask("example.com", flags=wire.RD | 0x40), "NOERROR", False, True, []),
    ("RD=0", ask("example.com", use_edns=0, flags=0), "REFUSED", True, True, [20]),
    ("two OPT", raw(counts=(1, 0, 0, 2), rest=QUESTION + OPT * 2), "FORMERR", None, True, []),
    ("malformed option", raw(counts=(1, 0, 0, 1), rest=QUESTION + OPT[:-1] + b"\x03abc"), "FORMERR", True, True, []),
    ("EDNS version 1", raw(counts=(1, 0, 0, 1), rest=QUESTION + VERSION_1), "BADVERS", True, True, []),
    ("EDNS size below 512", ask("example.com", use_edns=0, payload=100), "NOERROR", True, True, []),
    ("unknown option", raw(counts=(1, 0, 0, 1), rest=QUESTION + option(65001, b"x")), "NOERROR", True, True, []),
    ("client cookie", raw(counts=(1, 0, 0, 1), rest=QUESTION + option(10, b"c" * 8)), "NOERROR", True, True, []),
    ("short cookie", raw(counts=(1, 0, 0, 1), rest=QUESTION + option(10, b"c" * 7)), "FORMERR", True, True, []),
    ("client subnet", raw(counts=(1, 0, 0, 1), rest=QUESTION + SUBNET), "NOERROR", True, True, []),
    ("ANY", ask("example.com", "ANY"), "NOERROR", False, True, []),
    ("class CH", ask("version.bind", "TXT", rdclass="CH"), "REFUSED", False, True, []),
    ("class ANY", ask("example.com", "A", rdclass="ANY"), "REFUSED", False, True, []),
    ("AXFR", ask("example.com", "AXFR"), "REFUSED", False, True, []),
    ("IXFR", ask("example.com", "IXFR"), "REFUSED", False, True, []),
    ("type OPT", ask("example.com", "OPT"), "FORMERR", False, True, []),
    ("type TSIG", ask("example.com", "TSIG"), "FORMERR", False, True, []),
    ("type TKEY", ask("example.com", "TKEY"), "FORMERR", False, True, []),
]  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    def upstream_answers(query: bytes, tcp: bool) -> list[bytes]:
        question = dns.message.from_wire(query).question[0]
        if question.rdtype == 999:
            data = bytearray(query)
            data[2] |= 0x80
            data[7] = 1
            return [bytes(data[:29]) + b"\xc0\x0c\x03\xe7\0\x01\0\0\0\x3c\0\x02\xc0\x0c" + bytes(data[29:])]
        return answers(query, tcp)

    upstream = Upstream(upstream_answers)
    state = tmp_path_factory.mktemp("state")
    with worker(state, lambda _: snapshot(), upstreams=(upstream.endpoint,)) as made:
        yield made
    upstream.close()


def over_udp(running: Worker, query: bytes) -> bytes | None:
    """The reply to `query`; None when only the question behind it is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((running.address, running.port))
        client.send(query)
        if query[2:3] and (len(query) < 12 or query[2] & 0x80):
            client.send(SENTINEL)
            assert client.recv(4096)[:2] == b"\xff\xff"
            return None
        return client.recv(65_535)


def over_tcp(running: Worker, query: bytes) -> bytes | None:
    """The reply to `query`; None when the connection is closed instead."""
    with socket.create_connection((running.address, running.port), timeout=10) as client:
        client.sendall(len(query).to_bytes(2, "big") + query)
        data = client.makefile("rb")
        size = data.read(2)
        return data.read(int.from_bytes(size, "big")) if size else None


@pytest.mark.parametrize("transport", [over_udp, over_tcp])
@pytest.mark.parametrize(("title", "query", "rcode", "opt", "question", "ede"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row(
    running: Worker,
    transport: object,
    title: str,
    query: bytes,
    rcode: str | None,
    opt: bool | None,
    question: bool,
    ede: list[int],
) -> None:
    for _ in range(3):  # from upstream, from the cache, from the memo: the same
        data = transport(running, query)  # type: ignore[operator]
        if rcode is None:
            assert data is None
            continue
        assert data is not None
        assert data[:2] == query[:2]
        message = dns.message.from_wire(data)
        assert message.flags & dns.flags.QR
        assert message.flags & dns.flags.RA
        assert not message.flags & (dns.flags.AA | dns.flags.TC | 0x40)
        assert bool(message.flags & dns.flags.RD) == bool(query[2] & 1)
        assert dns.rcode.to_text(message.rcode()) == rcode
        assert opt is None or (message.opt is not None) is opt
        assert bool(message.question) is question
        assert codes(message) == ede
        if rcode == "NOERROR" and question:
            assert message.answer
        else:
            assert len(data) <= len(query) + len(OPT) + 6 * len(ede) + (16 if "cookie" in title else 0)


def test_a_client_outside_the_allowed_networks_is_refused(tmp_path: Path) -> None:
    with worker(tmp_path, lambda _: snapshot(), allow=("10.0.0.0/8",)) as made:
        for tcp in (False, True):
            found = made.ask(dns.message.make_query("facebook.com", "A", use_edns=0), tcp=tcp)
            assert (dns.rcode.to_text(found.rcode()), codes(found)) == ("REFUSED", [18])


def test_a_worker_survives_every_row_at_once(running: Worker) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((running.address, running.port))
        for row in ROWS * 5:
            client.send(row[1])
        client.send(SENTINEL)
        while client.recv(65_535)[:2] != b"\xff\xff":
            pass
