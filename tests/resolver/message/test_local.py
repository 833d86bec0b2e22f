"""Records of the district's own on the engine: answered from memory, by the same verdicts as everything else."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from deploy.local_records import parse_records
from resolver.message.local import BadRecords, LocalRecords
from tests.resolver.laboratory import NOW, STAFF, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import SOA, ask, codes, read
from tests.support import brake, grant

LINES = (
    "print.district.example 120 A 10.20.0.9",
    "print.district.example 120 A 10.20.0.10",
    "print.district.example AAAA fd00::9",
    "10.20.0.9 PTR print.district.example",
    'print.district.example TXT "second floor" "room 7"',
    "_ipp._tcp.district.example SRV 0 5 631 print.district.example",
    'portal.district.example HTTPS 1 . alpn="h2" ipv4hint=10.20.0.2',
    "old.district.example CNAME older.district.example",
    "older.district.example CNAME print.district.example",
    "www.district.example 60 CNAME site.hosting.test",
    "lesson.district.example CNAME facebook.com",
    "facebook.com A 10.66.6.6",
)


def laboratory(*lines: str, **fields: Any) -> Laboratory:
    return Laboratory(make_snapshot_of(**fields), local=parse_records(lines or LINES))


def lines(message: dns.message.Message | None) -> list[str]:
    assert message is not None
    return [
        f"{rrset.name} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {one}"
        for rrset in message.answer
        for one in rrset
    ]


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        (
            "Print.District.Example",
            "A",
            ["Print.District.Example. 120 A 10.20.0.9", "Print.District.Example. 120 A 10.20.0.10"],
        ),
        ("print.district.example", "AAAA", ["print.district.example. 300 AAAA fd00::9"]),
        ("print.district.example", "TXT", ['print.district.example. 300 TXT "second floor" "room 7"']),
        ("9.0.20.10.in-addr.arpa", "PTR", ["9.0.20.10.in-addr.arpa. 300 PTR print.district.example."]),
        ("_ipp._tcp.district.example", "SRV", ["_ipp._tcp.district.example. 300 SRV 0 5 631 print.district.example."]),
        ("portal.district.example", "HTTPS", ['portal.district.example. 300 HTTPS 1 . alpn="h2" ipv4hint="10.20.0.2"']),
        (
            "old.district.example",
            "AAAA",
            [
                "old.district.example. 300 CNAME older.district.example.",
                "older.district.example. 300 CNAME print.district.example.",
                "print.district.example. 300 AAAA fd00::9",
            ],
        ),
        ("old.district.example", "CNAME", ["old.district.example. 300 CNAME older.district.example."]),
    ],
)  # fmt: skip
def test_a_record_is_answered_from_memory_whatever_its_type(name: str, qtype: str, expected: list[str]) -> None:
    lab = laboratory()
    for _ in range(3):  # read, remembered, from the first level
        found = lab.ask(name, qtype, use_edns=0)
        assert (lines(found), lab.sent) == (expected, [])
        assert found is not None and (found.rcode(), found.authority, codes(found)) == (dns.rcode.NOERROR, [], [])
        lab.tick(1000)


@pytest.mark.parametrize(
    ("name", "qtype", "chain"),
    [("print.district.example", "MX", 0), ("portal.district.example", "A", 0), ("old.district.example", "HTTPS", 2)],
)
def test_another_type_of_a_name_of_ours_is_no_data_with_a_soa(name: str, qtype: str, chain: int) -> None:
    lab = laboratory()
    found = lab.ask(name, qtype)
    assert found is not None and found.rcode() == dns.rcode.NOERROR
    assert len(found.answer) == chain
    assert [(one.rdtype, one.ttl) for one in found.authority] == [(dns.rdatatype.SOA, 10)]
    assert lab.sent == []


def test_names_below_and_beside_are_asked_for_as_ever() -> None:
    lab = laboratory()
    assert lab.ask("a.print.district.example") is None
    assert lab.ask("district.example") is None
    assert len(lab.sent) == 2


def test_a_cname_of_ours_to_a_public_name_is_followed_and_each_side_keeps_its_own_time() -> None:
    lab = laboratory()
    assert lab.ask("www.district.example") is None
    assert lab.ask("www.district.example", client=STAFF) is None  # one question for both
    assert [read(one[2]).question[0].name.to_text().lower() for one in lab.sent] == ["site.hosting.test."]
    found = lab.answer("site.hosting.test. 3600 CNAME a.cdn.test.", "a.cdn.test. 3600 A 192.0.2.9")
    expected = [
        "www.district.example. {} CNAME site.hosting.test.",
        "site.hosting.test. {} CNAME a.cdn.test.",
        "a.cdn.test. {} A 192.0.2.9",
    ]
    assert lines(found) == [one.format(ttl) for one, ttl in zip(expected, (60, 3600, 3600), strict=True)]
    assert len(lab.late) == 2
    lab.tick(50)
    for _ in range(3):
        found = lab.ask("www.district.example")
        assert lines(found) == [one.format(ttl) for one, ttl in zip(expected, (60, 3550, 3550), strict=True)]
    lab.tick(70)
    found = lab.ask("www.district.example")
    assert lines(found) == [one.format(ttl) for one, ttl in zip(expected, (60, 3480, 3480), strict=True)]
    assert lab.sent == []


def test_where_a_cname_of_ours_leads_may_not_exist_or_not_be_reached() -> None:
    lab = laboratory()
    assert lab.ask("www.district.example", use_edns=0) is None
    found = lab.answer(authority=(SOA.replace("example.com. 3600", "test. 3600", 1),), rcode="NXDOMAIN")
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert lines(found) == ["www.district.example. 60 CNAME site.hosting.test."]
    lab.tick(4000)
    assert lab.ask("www.district.example", "AAAA", use_edns=0) is None
    for _ in range(9):
        lab.tick(2)
    (late,) = lab.late[-1:]
    assert (read(late).rcode(), codes(read(late))) == (dns.rcode.SERVFAIL, [22])


def test_a_public_name_behind_a_cname_of_ours_has_no_business_with_private_addresses() -> None:
    lab = laboratory()
    assert lab.ask("www.district.example") is None
    assert lab.answer("site.hosting.test. 300 A 10.0.0.1").answer == []


def test_a_record_opens_no_door() -> None:
    lab = laboratory()
    for name in ("facebook.com", "lesson.district.example"):
        found = lab.ask(name, client=STUDENT)
        assert found is not None and (found.answer, lab.sent) == ([], [])
    assert lines(lab.ask("facebook.com", client=STAFF)) == ["facebook.com. 300 A 10.66.6.6"]


def test_a_grant_opens_a_name_of_ours_for_a_minute_at_most() -> None:
    lab = laboratory(grants=(grant(1, "facebook.com"),))
    for _ in range(3):
        assert lines(lab.ask("facebook.com")) == ["facebook.com. 60 A 10.66.6.6"]


def test_the_districts_own_names_in_the_policy_take_no_heed_of_lists_but_of_brakes() -> None:
    lab = laboratory(own=("facebook.com",))
    assert lines(lab.ask("facebook.com")) == ["facebook.com. 300 A 10.66.6.6"]
    lab = laboratory(own=("facebook.com",), brakes=(brake(1, "facebook.com"),))
    found = lab.ask("facebook.com")
    assert found is not None and found.answer == []


def test_a_rewritten_name_is_answered_by_its_safe_one_and_that_may_be_ours() -> None:
    from dataclasses import replace

    from tests.support import group

    students = replace(group(networks=("10.1.0.0/16",)), safe_search=True)
    lab = Laboratory(
        make_snapshot_of(groups=(students,)),
        local=parse_records(
            [
                "www.google.com A 10.6.6.6",
                "forcesafesearch.google.com CNAME safe.test",
                "duckduckgo.com A 10.6.6.6",
                "safe.duckduckgo.com A 192.0.2.7",
            ]
        ),
    )
    assert lines(lab.ask("duckduckgo.com"))[1:] == ["safe.duckduckgo.com. 300 A 192.0.2.7"]
    assert lab.ask("www.google.com") is None
    assert lines(lab.answer("safe.test. 300 A 192.0.2.8")) == [
        "www.google.com. 60 CNAME forcesafesearch.google.com.",
        "forcesafesearch.google.com. 300 CNAME safe.test.",
        "safe.test. 300 A 192.0.2.8",
    ]
    lab.now += 1
    assert len(lines(lab.ask("www.google.com"))) == 3


def test_a_name_without_record_costs_no_lookup_when_none_are_set() -> None:
    assert Laboratory().engine._judge._local is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("a.test CNAME b.test", "b.test CNAME a.test"), "come back"),
        (("a.test CNAME a.test",), "come back"),
        (tuple(f"n{at}.test CNAME n{at + 1}.test" for at in range(18)), "more than 16"),
        (("a.test CNAME b.test", "a.test A 192.0.2.1"), "stands alone"),
        (("a.test CNAME b.test", "a.test CNAME c.test"), "stands alone"),
        (("a.test 60 A 192.0.2.1", "a.test 90 A 192.0.2.2"), "different times"),
        (tuple(f'a.test TXT "{at:0200}"' for at in range(100)), "than an answer can hold"),
    ],
)
def test_records_that_cannot_stand_together_are_refused(wrong: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_records(wrong)
    assert issubclass(BadRecords, ValueError)


def test_the_same_record_twice_is_one() -> None:
    found = LocalRecords(parse_records(["a.test A 192.0.2.1", "A.test. A 192.0.2.1"]))
    assert found.lines(b"\1a\4test\0") == [(1, b"\xc0\0\2\1")]


def test_a_query_log_record_says_what_let_the_name_through() -> None:
    lab = laboratory(own=("district.example",))
    lab.feed(ask("print.district.example"))
    assert [(one.action, one.reason, one.entry) for one in lab.log] == [("allow", "own", "district.example")]
    assert lab.now == NOW
