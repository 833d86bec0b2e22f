"""The test plan of RFC 8906 §8, with `dig`, one test per row: with +rec, and without AA, since we are no authority.

Rows are (RFC section, dig's words, wanted in the output, never in it). `$` in a pattern is the zone.
"""

# ruff: noqa: E501
from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import dns.message
import pytest

from tests.resolver.messages import reply
from tests.resolver.processes.test_worker import snapshot
from tests.resolver.sockets import Upstream, Worker, worker

ZONE = "zone.example"
NOERROR, FORMERR = r"status: NOERROR", r"status: FORMERR"
SOA = rf"^{ZONE}\.\s+\d+\s+IN\s+SOA"
OPT = r"EDNS: version: 0"
ECHOED = r"OPT=100|; EDNS: .*MBZ: 0x[1-9]"
ROWS = [
    ("8.1.1 SOA", "+noedns +noad", [NOERROR, SOA, r"flags: qr rd ra;"], [OPT]),
    ("8.1.1 SOA, AD", "+noedns +ad", [NOERROR, SOA], [OPT]),
    ("8.1.2 an unknown type", "+noedns +noad -t TYPE1000", [NOERROR, r"flags: qr rd ra;"], [OPT]),
    ("8.1.3.1 CD=1", "+noedns +noad +cd", [NOERROR, SOA, r"flags: qr rd ra cd;"], [OPT]),
    ("8.1.3.2 AD=1", "+noedns +ad", [NOERROR, SOA], [OPT]),
    ("8.1.3.3 the reserved bit", "+noedns +noad +zflag", [NOERROR, SOA], [r"MBZ: ?0x?4"]),
    ("8.1.3.4 RD=0", "+noedns +noad +norec", [r"status: REFUSED", r"flags: qr ra;"], [OPT]),
    ("8.1.4 an unknown opcode", "+noedns +noad +opcode=15 +header-only", [r"status: NOTIMP", r"opcode: RESERVED15"], [SOA]),
    ("8.1.5 TCP", "+noedns +noad +tcp", [NOERROR, SOA], [OPT]),
    ("8.2.1 EDNS", "+edns=0 +nocookie +noad", [NOERROR, SOA, OPT], []),
    ("8.2.2 EDNS version 1", "+edns=1 +noednsneg +nocookie +noad", [r"status: BADVERS", OPT], [SOA]),
    ("8.2.3 an unknown option", "+edns=0 +nocookie +noad +ednsopt=100", [NOERROR, SOA, OPT], [ECHOED]),
    ("8.2.4 unknown flags", "+edns=0 +nocookie +noad +ednsflags=0x40", [NOERROR, SOA, OPT], [ECHOED]),
    ("8.2.5 version 1, unknown flags", "+edns=1 +noednsneg +nocookie +noad +ednsflags=0x40", [r"status: BADVERS", OPT], [SOA, ECHOED]),
    ("8.2.6 version 1, an unknown option", "+edns=1 +noednsneg +nocookie +noad +ednsopt=100", [r"status: BADVERS", OPT], [SOA, ECHOED]),
    ("8.2.7 a truncated answer", f"+edns=0 +nocookie +noad +bufsize=512 +ignore -t TXT long.{ZONE}", [NOERROR, r"flags: qr tc rd ra;", OPT], []),
    ("8.2.8 DO=1", "+edns=0 +nocookie +noad +dnssec", [NOERROR, SOA, r"EDNS: version: 0, flags: do;"], []),
    ("8.2.9 version 1, DO=1", "+edns=1 +noednsneg +nocookie +noad +dnssec", [r"status: BADVERS", OPT], [SOA]),
    ("8.2.10 several options", "+edns=0 +noad +cookie +nsid +expire +subnet=0.0.0.0/0", [NOERROR, SOA, OPT, r"COOKIE: [0-9a-f]{48} \(good\)"], [r"CLIENT-SUBNET"]),
    ("RFC 7873 only a cookie", "+edns=0 +noad +cookie +header-only", [NOERROR, r"COOKIE: [0-9a-f]{48} \(good\)"], [SOA]),
    ("RFC 7873 a bad cookie is replaced", f"+edns=0 +noad +nobadcookie +cookie={'ab' * 24}", [NOERROR, SOA, r"COOKIE: [0-9a-f]{48} \(good\)"], []),
]  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    def answers(query: bytes, tcp: bool) -> list[bytes]:
        question = dns.message.from_wire(query).question[0]
        soa = f"{ZONE}. 300 SOA ns.{ZONE}. host.{ZONE}. 1 3600 600 86400 120"
        if question.rdtype == 6:
            return [reply(query, soa)]
        if question.rdtype == 16:
            text = " ".join(['"' + "x" * 200 + '"'] * 4)
            return [reply(query, f"{question.name} 300 TXT {text}")]
        return [reply(query, authority=(soa,))]

    upstream = Upstream(answers)
    state = tmp_path_factory.mktemp("state")
    with worker(state, lambda _: snapshot(), upstreams=(upstream.endpoint,)) as made:
        yield made
    upstream.close()


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
@pytest.mark.parametrize(("title", "words", "wanted", "never"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_plan(running: Worker, title: str, words: str, wanted: list[str], never: list[str]) -> None:
    given = words.split()
    given = given if "-t" in given else [*given, "-t", "SOA"]
    name = [] if any("." in word and not word.startswith("+") for word in given) or "+header-only" in given else [ZONE]
    base = ["dig", "-r", f"@{running.address}", "-p", str(running.port), "+rec", "+tries=1", "+time=5", "+qr"]
    for _ in range(2):  # from upstream, then from memory
        done = subprocess.run([*base, *given, *name], capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout.partition("Got answer")[2]
        for pattern in wanted:
            assert re.search(pattern, said, re.M), f"{title}: no {pattern} in\n{said}"
        for pattern in never:
            assert not re.search(pattern, said, re.M), f"{title}: {pattern} in\n{said}"
