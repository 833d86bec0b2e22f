"""Every way around the filter that a school meets in DNS, with the real client's question, on a running resolver with
the seed lists, for a group that blocks what it may. The upstream would answer everything, and is never asked.

A row of the table of ways (Firefox, Apple, discovery, public resolvers, Android, VPN and Tor, copies of sites, service
bindings, DNSSEC) each; literal addresses and foreign ports are no DNS (`deploy/examples/nftables`, tried there).
"""

from __future__ import annotations

from collections.abc import Iterator

import dns.edns
import dns.message
import dns.rcode
import pytest

from blocklists.compile import compile_base, seed_sources
from blocklists.policy import Answering, Category
from blocklists.seed import load_seed
from blocklists.snapshot import Snapshot, make_snapshot
from tests.resolver.messages import codes, reply
from tests.resolver.sockets import Upstream, Worker, worker
from tests.support import group, make_policy, open_base

NX, NODATA = dns.rcode.NXDOMAIN, dns.rcode.NOERROR


ADDRESSES = ("A", "AAAA", "HTTPS")


def snapshot() -> Snapshot:
    """The seed's; everything that can be blocked is, and service bindings lose their `ech`."""
    seed = load_seed()
    base = open_base(compile_base(seed_sources(seed)))
    categories = tuple(Category(one.id, one.title, one.locked) for one in seed.categories)
    everybody = group(networks=("127.0.0.0/8",), blocks=tuple(one.id for one in categories if not one.locked))
    policy = make_policy(base, categories=categories, groups=(everybody,), answering=Answering(strip_ech=True))
    return make_snapshot(policy, "1" * 64, base)


BINDINGS = {
    "tool.example.": '1 . alpn="h2" ipv4hint="192.0.2.1" ech="AAT+DQAA"',
    "www.tool.example.": "0 www.facebook.com.",
    "cdn.tool.example.": '1 edge.facebook.com. alpn="h2" ipv4hint="192.0.2.1"',
    "inside.tool.example.": '1 . alpn="h2" ipv4hint="10.0.0.1"',
}


def answers(query: bytes, tcp: bool) -> list[bytes]:
    name = str(dns.message.from_wire(query).question[0].name).lower()
    kind, data = ("HTTPS", BINDINGS[name]) if name in BINDINGS else ("A", "192.0.2.1")
    return [reply(query, f"{name} 300 {kind} {data}")]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    made = Upstream(answers)
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Worker]:
    made = snapshot()
    with worker(tmp_path_factory.mktemp("bypass"), lambda _: made, upstreams=(upstream.endpoint,)) as one:
        yield one


def rows(text: str, qtypes: tuple[str, ...] = ADDRESSES, rcode: int = NX) -> list[tuple[str, str, int]]:
    return [(name, qtype, rcode) for name in text.split() for qtype in qtypes]


WAYS = [
    *rows("use-application-dns.net", ("A", "AAAA")),  # Firefox's canary
    *rows("mask.icloud.com mask-h2.icloud.com mask-api.icloud.com mask-canary.icloud.com", (*ADDRESSES, "TXT", "SVCB")),
    *rows("_dns.resolver.arpa", ("SVCB",), NODATA),  # Windows and Apple devices: discovery of designated resolvers
    *rows("resolver.arpa", ("A",), NODATA),
    # Public resolvers, by the names that browsers and systems come with
    *rows("dns.google 8888.google dns64.dns.google cloudflare-dns.com chrome.cloudflare-dns.com"),
    *rows("mozilla.cloudflare-dns.com one.one.one.one dns.quad9.net dns10.quad9.net firefox.dns.nextdns.io"),
    *rows("dns.nextdns.io doh.opendns.com dns.adguard.com dns.adguard-dns.com doh.cleanbrowsing.org doh.dns.apple.com"),
    *rows("1dot1dot1dot1.cloudflare-dns.com p2.freedns.controld.com dns.mullvad.net", ("A", "AAAA")),  # Android's
    # VPN, proxies, Tor
    *rows("nordvpn.com api.protonvpn.com engage.cloudflareclient.com psiphon.ca www.croxyproxy.com www.torproject.org"),
    *rows("expyuzz4wqqyqhjn.onion", ("A", "AAAA")),
    # Copies of sites
    *rows("www-facebook-com.translate.goog webcache.googleusercontent.com web.archive.org archive.ph"),
]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(("name", "qtype", "rcode"), WAYS)
def test_a_client_that_asks_for_a_way_around_is_told_at_once_that_there_is_none(
    running: Worker, upstream: Upstream, name: str, qtype: str, rcode: int, tcp: bool
) -> None:
    found = running.ask(dns.message.make_query(name, qtype, use_edns=0), tcp=tcp)
    assert (found.rcode(), found.answer, len(found.authority), codes(found)) == (rcode, [], 1, [15])
    assert name not in [str(dns.message.from_wire(query).question[0].name)[:-1].lower() for query, *_ in upstream.seen]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("tool.example", ['1 . alpn="h2" ipv4hint="192.0.2.1"']),  # without ech
        ("www.tool.example", []),  # a blocked target, as an alias
        ("cdn.tool.example", []),  # and as a service
        ("inside.tool.example", ['1 . alpn="h2"']),  # the hint of a private address
    ],
)
def test_a_service_binding_leads_nowhere_that_an_address_would_not(running: Worker, name: str, seen: list[str]) -> None:
    found = running.ask(dns.message.make_query(name, "HTTPS", use_edns=0))
    assert [one.to_text() for rrset in found.answer for one in rrset] == seen
    assert codes(found) == ([] if seen else [15])


@pytest.mark.parametrize("qtype", ["A", "AAAA", "HTTPS", "DS", "RRSIG", "TXT"])
@pytest.mark.parametrize("name", ["facebook.com", "www.tiktok.com"])
def test_a_signed_blocked_name_is_blocked_with_do_set(running: Worker, name: str, qtype: str) -> None:
    query = dns.message.make_query(name, qtype, want_dnssec=True)
    found = running.ask(query)
    assert (found.answer, codes(found), bool(found.ednsflags & 0x8000)) == ([], [15], True)
    assert found.rcode() in (NX, NODATA)
    assert not found.flags & 0x20  # AD
