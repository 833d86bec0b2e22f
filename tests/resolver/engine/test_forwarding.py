"""Conditional forwarding on the engine: whose servers are asked, what they may say, what happens when they do not."""

from __future__ import annotations

from dataclasses import replace

import dns.rcode
import pytest

from blocklists import names
from deploy.endpoints import parse_forward
from deploy.local_records import parse_records
from resolver.config import Endpoint
from resolver.upstreams.routes import Routes
from tests.resolver.laboratory import CONFIG, STAFF, Laboratory, make_snapshot_of
from tests.resolver.messages import SOA, codes, read

FORWARD = {
    "corp.district.example": ["10.0.0.10", "10.0.0.11"],
    "lab.corp.district.example": ["10.0.0.20"],
    "10.0.0.0/8": ["10.0.0.11", "10.0.0.10"],
    "fd00::/8": ["10.0.0.10"],
}
PUBLIC, DC1, DC2, LAB = {0, 1}, 2, 3, 4  # numbers of upstreams: the ordinary ones, then in the order of the settings


def laboratory(*records: str, **fields: object) -> Laboratory:
    return Laboratory(make_snapshot_of(**fields), forward=parse_forward(FORWARD), local=parse_records(records))


def test_a_server_that_several_zones_name_is_one_upstream() -> None:
    routes = Routes(replace(CONFIG, forward=parse_forward(FORWARD)))
    assert [str(one) for one in routes.servers[2:]] == ["10.0.0.10:53", "10.0.0.11:53", "10.0.0.20:53"]
    assert [(one.title, one.servers) for one in routes.all()] == [
        ("", (0, 1)),
        ("corp.district.example", (DC1, DC2)),
        ("lab.corp.district.example", (LAB,)),
        ("10.in-addr.arpa", (DC2, DC1)),
        ("d.f.ip6.arpa", (DC1,)),
    ]
    assert Routes(replace(CONFIG, upstreams=(Endpoint("192.0.2.1", 53),) * 2)).ordinary.servers == (0,)


@pytest.mark.parametrize(
    ("name", "servers"),
    [
        ("corp.district.example", {DC1}),
        ("dc1.corp.district.example", {DC1}),
        ("x.lab.corp.district.example", {LAB}),
        ("notcorp.district.example", PUBLIC),
        ("district.example", PUBLIC),
        ("7.0.0.10.in-addr.arpa", {DC2}),
        ("1.2.0.192.in-addr.arpa", PUBLIC),
        ("1.0.0.d.f.ip6.arpa", {DC1}),
    ],
)
def test_the_longest_zone_above_a_name_says_who_is_asked(name: str, servers: set[int]) -> None:
    lab = laboratory()
    assert lab.ask(name) is None
    assert {one[1] for one in lab.sent} <= servers


def test_the_locator_records_of_active_directory_are_answered_with_private_addresses() -> None:
    lab = laboratory()
    assert lab.ask("_ldap._tcp.dc._msdcs.corp.district.example", "SRV") is None
    found = lab.answer("_ldap._tcp.dc._msdcs.corp.district.example. 600 SRV 0 100 389 dc1.corp.district.example.")
    assert str(found.answer[0][0]) == "0 100 389 dc1.corp.district.example."
    found = lab.resolve("dc1.corp.district.example", "dc1.corp.district.example. 600 A 10.0.0.10")
    assert str(found.answer[0][0]) == "10.0.0.10"
    assert str(lab.resolve("www.example.com", "www.example.com. 600 A 10.0.0.10").answer) == "[]"


def test_a_second_server_answers_when_the_first_does_not_and_nobody_else_is_asked_when_both_do_not() -> None:
    lab = laboratory()
    assert lab.ask("dc1.corp.district.example", use_edns=0) is None
    lab.sent.clear()
    lab.tick(0.5)
    assert [one[1] for one in lab.sent] == [DC2]
    assert str(lab.answer("dc1.corp.district.example. 600 A 10.0.0.10").answer[0][0]) == "10.0.0.10"
    assert lab.ask("dc2.corp.district.example", use_edns=0) is None
    lab.late.clear()
    asked = set()
    for _ in range(20):
        asked |= {one[1] for one in lab.sent}
        lab.sent.clear()
        lab.tick(0.5)
    assert asked == {DC1, DC2}
    failed = read(lab.late[0])
    assert (failed.rcode(), codes(failed)) == (dns.rcode.SERVFAIL, [22])


def test_a_refused_port_of_one_server_goes_to_the_next_at_once() -> None:
    lab = laboratory()
    assert lab.ask("dc1.corp.district.example") is None
    serial = lab.sent.pop()[0]
    lab._take(lab.engine.unreachable([serial], lab.now))
    assert [one[1] for one in lab.sent] == [DC2]


def test_silent_servers_of_a_zone_do_not_harm_the_ordinary_ones() -> None:
    lab = laboratory()
    for number in range(9):
        lab.ask(f"n{number}.corp.district.example")
        for _ in range(9):
            lab.tick(0.5)
    lab.sent.clear()
    assert str(lab.resolve("www.example.com", "www.example.com. 60 A 192.0.2.1").answer[0][0]) == "192.0.2.1"


def test_a_forwarded_name_is_judged_like_every_other() -> None:
    lab = Laboratory(make_snapshot_of(), forward=parse_forward({"facebook.com": ["10.0.0.10"]}))
    found = lab.ask("www.facebook.com", use_edns=0)
    assert found is not None and codes(found) == [15]
    assert lab.ask("www.facebook.com", client=STAFF) is None


def test_where_a_record_of_ours_leads_into_a_forwarded_zone_its_servers_are_asked() -> None:
    lab = laboratory("files.district.example CNAME fs1.corp.district.example", "fs2.corp.district.example A 10.9.9.9")
    assert lab.ask("files.district.example") is None
    assert [one[1] for one in lab.sent] == [DC1]
    assert str(lab.answer("fs1.corp.district.example. 60 A 10.0.0.12").answer[1][0]) == "10.0.0.12"
    assert lab.ask("fs2.corp.district.example") is not None  # a record of ours comes first


def test_what_a_zones_server_says_of_validation_is_believed_over_loopback_or_tls_only() -> None:
    lab = laboratory()
    assert lab.ask("a.corp.district.example", want_dnssec=True) is None
    assert not lab.answer("a.corp.district.example. 60 A 10.0.0.1", flags=0x20).flags & 0x20
    assert lab.ask("example.com", want_dnssec=True) is None
    assert lab.answer("example.com. 60 A 192.0.2.1", flags=0x20).flags & 0x20  # over loopback


def test_a_denial_of_a_zones_server_is_kept_like_any_other() -> None:
    lab = laboratory()
    soa = SOA.replace("example.com. 3600", "corp.district.example. 3600", 1)
    assert lab.resolve("no.corp.district.example", authority=(soa,), rcode="NXDOMAIN").rcode() == dns.rcode.NXDOMAIN
    assert lab.ask("no.corp.district.example") is not None
    assert names.to_wire("corp.district.example") == parse_forward(FORWARD)[0].zone
