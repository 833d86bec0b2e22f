"""Safe search and YouTube's modes on the engine: the other name is asked, and its addresses are given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from blocklists.policy import YouTube
from resolver.log.querylog import decode, encode
from tests.resolver.laboratory import STAFF, STRANGER, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import SOA, codes, reply, texts
from tests.support import brake, grant, group

SAFE = "forcesafesearch.google.com"
GIVEN = f"{SAFE}. 300 A 216.239.38.120"


def laboratory(youtube: YouTube = YouTube.STRICT, *, safe: bool = True, **fields: Any) -> Laboratory:
    students = group(networks=("10.1.0.0/16",))
    staff = group("north-staff", audience=_staff(), networks=("10.2.0.0/16",), blocks=())
    students = replace(students, safe_search=safe, youtube=youtube)
    return Laboratory(make_snapshot_of(groups=(students, staff), **fields))


def _staff() -> Any:
    from blocklists.policy import Audience

    return Audience.STAFF


def asked(lab: Laboratory) -> list[str]:
    """What waits for upstream."""
    return [str(dns.message.from_wire(one[2]).question[0].name).lower() for one in lab.sent]


def lines(message: dns.message.Message) -> list[str]:
    return [
        f"{rrset.name} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {one}".lower()
        for rrset in message.answer
        for one in rrset
    ]


def test_a_rewritten_name_is_a_cname_to_the_safe_one_and_its_addresses() -> None:
    lab = laboratory()
    assert lab.ask("www.Google.de", use_edns=0) is None
    assert asked(lab) == [f"{SAFE}."]
    found = lab.answer(GIVEN)
    assert lines(found) == [f"www.google.de. 60 cname {SAFE}.", f"{SAFE}. 300 a 216.239.38.120"]
    assert (codes(found), texts(found)) == ([4], ["Safe search: https://filter.district.example/why"])
    (record,) = lab.log
    assert (record.action, record.reason, record.entry) == ("rewrite", "rewrite", "www.google.de")
    assert list(decode(encode([record]))) == [record]


def test_all_domains_of_the_search_engine_share_one_question_and_its_cached_answer() -> None:
    lab = laboratory()
    for name in ("www.google.com", "www.google.co.uk", "www.google.com.au"):
        assert lab.ask(name) is None
    assert asked(lab) == [f"{SAFE}."]
    lab.answer(GIVEN)
    assert len(lab.late) == 3
    known = lab.ask("www.google.ca")
    assert known is not None and lines(known)[1] == f"{SAFE}. 300 a 216.239.38.120"
    lab.now += 100
    known = lab.ask("www.google.ca")
    assert known is not None and lines(known) == [f"www.google.ca. 0 cname {SAFE}.", f"{SAFE}. 200 a 216.239.38.120"]


@pytest.mark.parametrize("qtype", ["HTTPS", "SVCB", "TXT", "MX", "NS"])
def test_a_rewritten_name_has_no_data_of_another_type(qtype: str) -> None:
    lab = laboratory()
    found = lab.ask("www.google.com", qtype, use_edns=0)
    assert found is not None
    assert (found.rcode(), found.answer, len(found.authority), codes(found)) == (dns.rcode.NOERROR, [], 1, [4])
    assert lab.sent == []


def test_who_asks_for_the_cname_gets_it() -> None:
    found = laboratory().ask("www.bing.com", "CNAME")
    assert found is not None and lines(found) == ["www.bing.com. 60 cname strict.bing.com."]


@pytest.mark.parametrize(
    ("mode", "target"),
    [
        (YouTube.STRICT, "restrict.youtube.com."),
        (YouTube.MODERATE, "restrictmoderate.youtube.com."),
        (YouTube.OFF, "m.youtube.com."),
    ],
)
def test_youtube_has_three_modes(mode: YouTube, target: str) -> None:
    lab = laboratory(mode)
    assert lab.ask("m.youtube.com", "AAAA") is None
    assert asked(lab) == [target]


def test_a_group_without_the_setting_gets_the_name_itself_and_unassigned_clients_the_strictest() -> None:
    lab = laboratory()
    for client in (STAFF, STUDENT, STRANGER):
        assert lab.ask("www.youtube.com", client=client) is None
    assert asked(lab) == ["www.youtube.com.", "restrict.youtube.com."]


def test_a_grant_lifts_the_block_and_not_the_rewrite_unless_it_says_so() -> None:
    lists = {"social-media": ["youtube.com"]}
    plain = grant(7, "youtube.com")
    lab = laboratory(lists=lists, grants=(plain,))
    assert lab.ask("www.youtube.com") is None
    assert asked(lab) == ["restrict.youtube.com."]
    found = lab.answer("restrict.youtube.com. 300 A 216.239.38.120")
    assert [line.split()[1] for line in lines(found)] == ["60", "60"]
    assert (lab.log[0].action, lab.log[0].reason, lab.log[0].number) == ("rewrite", "grant", 7)
    lab = laboratory(lists=lists, grants=(replace(plain, lifts_rewrites=True),))
    assert lab.ask("www.youtube.com") is None
    assert asked(lab) == ["www.youtube.com."]


def test_a_grant_that_lifts_only_a_rewrite_is_felt_within_a_minute_too() -> None:
    lab = laboratory(grants=(replace(grant(7, "www.google.com"), lifts_rewrites=True),))
    found = lab.resolve("www.google.com", "www.google.com. 300 A 192.0.2.1")
    assert lines(found) == ["www.google.com. 60 a 192.0.2.1"]


def test_an_alias_to_a_rewritten_name_is_rewritten_too() -> None:
    lab = laboratory()
    assert lab.ask("search.example", use_edns=0) is None
    serial, _, message, _ = lab.sent.pop(0)
    lab.raw_upstream(
        reply(message, "search.example. 0 CNAME www.google.com.", "www.google.com. 300 A 192.0.2.1"), serial
    )
    assert (lab.late, asked(lab)) == ([], [f"{SAFE}."])
    found = lab.answer(GIVEN)
    assert lines(found) == [f"search.example. 60 cname {SAFE}.", f"{SAFE}. 300 a 216.239.38.120"]
    assert codes(found) == [4]


def test_an_https_alias_to_a_rewritten_name_has_no_data() -> None:
    lab = laboratory()
    assert lab.ask("search.example", "HTTPS") is None
    found = lab.answer("search.example. 60 CNAME www.google.com.", "www.google.com. 60 HTTPS 1 . ipv4hint=192.0.2.1")
    assert (found.rcode(), found.answer) == (dns.rcode.NOERROR, [])


def test_a_service_binding_to_a_rewritten_name_loses_its_hints() -> None:
    lab = laboratory()
    assert lab.ask("search.example", "HTTPS") is None
    hints = "ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"
    found = lab.answer(f"search.example. 60 HTTPS 1 www.google.com. alpn=h2 {hints}")
    assert lines(found) == ['search.example. 60 https 1 www.google.com. alpn="h2"']


def test_a_brake_on_the_safe_name_stops_what_is_rewritten_to_it() -> None:
    lab = laboratory(brakes=(brake(3, SAFE),))
    assert lab.ask("www.google.com", use_edns=0) is None
    found = lab.answer(GIVEN)
    assert (found.rcode(), found.answer, codes(found)) == (dns.rcode.NOERROR, [], [15])
    assert (lab.log[0].reason, lab.log[0].number) == ("brake", 3)


def test_what_the_safe_name_leads_to_is_judged() -> None:
    lab = laboratory()
    assert lab.ask("www.google.com") is None
    found = lab.answer(f"{SAFE}. 60 CNAME facebook.com.", "facebook.com. 60 A 192.0.2.1")
    assert (found.answer, lab.log[0].reason) == ([], "category")


def test_a_safe_name_without_an_answer_is_told_as_it_is() -> None:
    lab = laboratory()
    assert lab.ask("www.google.com", "AAAA") is None
    soa = SOA.replace("example.com.", "google.com.", 1)
    found = lab.answer(authority=(soa,))
    assert (lines(found), len(found.authority)) == ([f"www.google.com. 60 cname {SAFE}."], 1)
    assert lab.ask("www.bing.com") is None
    for _ in range(20):
        lab.tick(5)
    assert dns.message.from_wire(lab.late[-1]).rcode() == dns.rcode.SERVFAIL


def test_a_policy_that_arrives_meanwhile_is_the_one_that_counts() -> None:
    lab = laboratory(YouTube.STRICT)
    assert lab.ask("www.youtube.com") is None
    lab.engine.install(laboratory(YouTube.OFF, safe=False).engine.snapshot or make_snapshot_of())
    serial, _, message, _ = lab.sent.pop(0)
    lab.raw_upstream(reply(message, "restrict.youtube.com. 300 A 216.239.38.120"), serial)
    assert (lab.late, asked(lab)) == ([], ["www.youtube.com."])
    found = lab.answer("www.youtube.com. 300 A 192.0.2.1")
    assert lines(found) == ["www.youtube.com. 300 a 192.0.2.1"]
