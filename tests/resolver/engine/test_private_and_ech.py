"""What upstream says and a group may not have: private addresses for public names, ECH keys, records off the chain."""

from __future__ import annotations

import ipaddress

import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from blocklists.policy import Answering
from blocklists.private import is_private
from tests.resolver.laboratory import Laboratory, make_snapshot_of
from tests.resolver.messages import codes, reply, texts

BINDING = "1 . alpn=h2 ipv4hint=192.0.2.1 ech=AAT+DQAA ipv6hint=2001:db8::1"


def resolve(lab: Laboratory, name: str, qtype: str, *records: str, **parts: object) -> dns.message.Message:
    assert lab.ask(name, qtype, use_edns=0) is None
    return lab.answer(*records, **parts)


def data(message: dns.message.Message) -> list[str]:
    return [str(one).lower() if "cdn" in str(one).lower() else str(one) for rrset in message.answer for one in rrset]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", True), ("172.16.0.1", True), ("172.32.0.1", False), ("192.168.1.1", True), ("127.0.0.1", True),
        ("169.254.1.1", True), ("100.64.0.1", True), ("0.0.0.0", True), ("192.0.2.1", False), ("8.8.8.8", False),
        ("::", True), ("::1", True), ("fd00::1", True), ("fe80::1", True), ("fec0::1", True), ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False), ("::10.0.0.1", True), ("64:ff9b::a00:1", True), ("64:ff9b::808:808", False),
        ("2002:a00:1::1", True), ("2002:808:808::1", False), ("2001:db8::1", False), ("2600::1", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known_in_both_families(address: str, expected: bool) -> None:
    assert is_private(ipaddress.ip_address(address).packed) is expected


@pytest.mark.parametrize(("qtype", "address"), [("A", "192.168.1.1"), ("AAAA", "fd00::1"), ("AAAA", "::ffff:10.0.0.1")])
def test_a_public_name_with_a_private_address_is_blocked_and_says_so(qtype: str, address: str) -> None:
    lab = Laboratory()
    found = resolve(lab, "rebind.example", qtype, f"rebind.example. 60 {qtype} {address}")
    assert (found.rcode(), found.answer, codes(found)) == (dns.rcode.NOERROR, [], [15])
    assert texts(found) == ["Private address: how to ask: https://filter.district.example/why"]
    assert (lab.log[0].action, lab.log[0].reason, lab.log[0].entry) == ("block", "rebinding", "rebind.example")
    again = lab.ask("rebind.example", qtype)
    assert again is not None and again.answer == []


def test_one_private_address_among_public_ones_is_enough_and_an_alias_does_not_hide_it() -> None:
    records = ("rebind.example. 60 CNAME cdn.example.", "cdn.example. 60 A 192.0.2.1", "cdn.example. 60 A 10.0.0.1")
    assert resolve(Laboratory(), "rebind.example", "A", *records).answer == []


@pytest.mark.parametrize(
    "fields",
    [{"own": ("lab.example",)}, {"answering": Answering(private=("lab.example",))}],
    ids=["the district's own", "an exception"],
)
def test_own_names_and_exceptions_may_have_private_addresses(fields: dict[str, object]) -> None:
    found = resolve(Laboratory(make_snapshot_of(**fields)), "pc.lab.example", "A", "pc.lab.example. 60 A 10.0.0.1")
    assert data(found) == ["10.0.0.1"]
    beside = resolve(Laboratory(make_snapshot_of(**fields)), "notlab.example", "A", "notlab.example. 60 A 10.0.0.1")
    assert data(beside) == []


def test_private_hints_go_and_the_rest_of_the_binding_stays() -> None:
    record = "w.example. 60 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1,10.0.0.1 ipv6hint=2001:db8::1"
    assert data(resolve(Laboratory(), "w.example", "HTTPS", record)) == ['1 . alpn="h2" ipv6hint="2001:db8::1"']


@pytest.mark.parametrize("qtype", ["HTTPS", "SVCB"])
def test_ech_is_taken_out_where_the_policy_says_so_and_only_there(qtype: str) -> None:
    records = (f"w.example. 60 {qtype} {BINDING}",)
    kept = resolve(Laboratory(), "w.example", qtype, *records)
    assert 'ech="AAT+DQAA"' in data(kept)[0]
    stripped = Laboratory(make_snapshot_of(answering=Answering(strip_ech=True)))
    found = resolve(stripped, "w.example", qtype, *records)
    assert data(found) == ['1 . alpn="h2" ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"']
    stripped.now += 10
    again = stripped.ask("w.example", qtype)
    assert again is not None and (data(again), again.answer[0].ttl) == (data(found), 50)


def test_what_is_taken_out_is_no_longer_mandatory() -> None:
    stripped = Laboratory(make_snapshot_of(answering=Answering(strip_ech=True)))
    record = "w.example. 60 HTTPS 1 . mandatory=alpn,ech alpn=h2 ech=AAT+DQAA"
    assert data(resolve(stripped, "w.example", "HTTPS", record)) == ['1 . mandatory="alpn" alpn="h2"']


def test_an_alias_binding_carries_no_parameters() -> None:
    found = resolve(Laboratory(), "w.example", "HTTPS", "w.example. 60 HTTPS 0 cdn.example.")
    assert data(found) == ["0 cdn.example."]


def test_a_binding_that_cannot_be_read_is_left_out() -> None:
    lab = Laboratory()
    assert lab.ask("w.example", "HTTPS") is None
    serial, _, message, _ = lab.sent.pop(0)
    data_of = reply(message, "w.example. 60 HTTPS 1 . alpn=h2", "w.example. 60 HTTPS 2 . alpn=h3")
    alpn, hint = b"\0\1\0\3\2h2", b"\0\4\0\3\2h2"  # a hint that ends within an address
    lab.raw_upstream(data_of.replace(alpn, hint), serial)
    assert data(dns.message.from_wire(lab.late[-1])) == ['2 . alpn="h3"']


def test_the_signature_over_what_was_changed_goes_with_it() -> None:
    stripped = Laboratory(make_snapshot_of(answering=Answering(strip_ech=True)))
    signature = "w.example. 60 RRSIG HTTPS 13 2 60 20300101000000 20200101000000 1 example. AAAA"
    assert stripped.ask("w.example", "HTTPS", want_dnssec=True) is None
    found = stripped.answer(f"w.example. 60 HTTPS {BINDING}", signature)
    assert [dns.rdatatype.to_text(one.rdtype) for one in found.answer] == ["HTTPS"]


def test_additional_records_and_those_off_the_chain_are_not_passed_on() -> None:
    found = resolve(
        Laboratory(),
        "w.example",
        "A",
        "w.example. 60 CNAME cdn.example.",
        "cdn.example. 60 A 192.0.2.1",
        "evil.example. 60 A 192.0.2.9",
        additional=("cdn.example. 60 AAAA 2001:db8::9", "evil.example. 60 A 192.0.2.9"),
    )
    assert data(found) == ["cdn.example.", "192.0.2.1"]
    assert found.additional == []


def test_a_chain_without_an_end_is_no_answer() -> None:
    lab = Laboratory()
    records = [f"a{n}.example. 60 CNAME a{n + 1}.example." for n in range(20)]
    assert lab.ask("a0.example", use_edns=0) is None
    for _ in range(10):
        if lab.sent:
            serial, _, message, _ = lab.sent.pop(0)

            lab.raw_upstream(reply(message, *records), serial)
    assert dns.message.from_wire(lab.late[-1]).rcode() == dns.rcode.SERVFAIL
