"""Every way around the filter that a school meets in DNS, with the real client's question, on a running resolver with
the seed lists. The upstream would answer everything."""

from __future__ import annotations

from collections.abc import Iterator

import dns.edns
import dns.message
import dns.rcode
import pytest

from blocklists.compile import compile_base, seed_sources
from blocklists.policy import Category
from blocklists.seed import load_seed
from blocklists.snapshot import Snapshot, make_snapshot
from tests.resolver.messages import codes, reply
from tests.resolver.sockets import Upstream, Worker, worker
from tests.support import group, make_policy, open_base

NX, NODATA = dns.rcode.NXDOMAIN, dns.rcode.NOERROR


def snapshot() -> Snapshot:
    seed = load_seed()
    base = open_base(compile_base(seed_sources(seed)))
    categories = tuple(Category(one.id, one.title, one.locked) for one in seed.categories)
    everybody = group(networks=("127.0.0.0/8",), blocks=tuple(one.id for one in categories if not one.locked))
    return make_snapshot(make_policy(base, categories=categories, groups=(everybody,)), "1" * 64, base)


def answers(query: bytes, tcp: bool) -> list[bytes]:
    return [reply(query, f"{dns.message.from_wire(query).question[0].name} 300 A 192.0.2.1")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    upstream = Upstream(answers)
    made = snapshot()
    with worker(tmp_path_factory.mktemp("bypass"), lambda _: made, upstreams=(upstream.endpoint,)) as one:
        yield one
    upstream.close()


APPLE = [
    (f"{name}.icloud.com", qtype, NX)
    for name in ("mask", "mask-h2", "mask-api", "mask-canary")
    for qtype in ("A", "AAAA", "HTTPS")
]
DOH = "dns.google cloudflare-dns.com mozilla.cloudflare-dns.com one.one.one.one dns.quad9.net dns.nextdns.io"
BOOTSTRAP = [
    (name, qtype, NX)
    for name in (*DOH.split(), "doh.opendns.com", "dns.adguard.com")
    for qtype in ("A", "AAAA", "HTTPS")
]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    ("name", "qtype", "rcode"),
    [
        ("use-application-dns.net", "A", NX),
        ("use-application-dns.net", "AAAA", NX),
        *APPLE,
        ("_dns.resolver.arpa", "SVCB", NODATA),
        ("resolver.arpa", "A", NODATA),
        *BOOTSTRAP,
        ("expyuzz4wqqyqhjn.onion", "A", NX),
    ],
)
def test_a_client_that_asks_for_a_way_around_is_told_at_once_that_there_is_none(
    running: Worker, name: str, qtype: str, rcode: int, tcp: bool
) -> None:
    found = running.ask(dns.message.make_query(name, qtype, use_edns=0), tcp=tcp)
    assert (found.rcode(), found.answer, len(found.authority), codes(found)) == (rcode, [], 1, [15])


@pytest.mark.parametrize("qtype", ["A", "AAAA", "HTTPS", "DS", "RRSIG", "TXT"])
@pytest.mark.parametrize("name", ["facebook.com", "www.tiktok.com"])
def test_a_signed_blocked_name_is_blocked_with_do_set(running: Worker, name: str, qtype: str) -> None:
    query = dns.message.make_query(name, qtype, want_dnssec=True)
    found = running.ask(query)
    assert (found.answer, codes(found), bool(found.ednsflags & 0x8000)) == ([], [15], True)
    assert found.rcode() in (NX, NODATA)
    assert not found.flags & 0x20  # AD
