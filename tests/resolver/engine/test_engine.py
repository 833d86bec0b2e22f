"""The engine: which questions share an answer, what outlives a swap, what does not fit, what is refused."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from blocklists.snapshot import make_snapshot
from resolver.message import wire
from tests.resolver.laboratory import STAFF, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import ask, codes, read
from tests.support import custom_block, grant, group, make_base, make_policy


def test_case_cookie_and_options_find_the_same_answer_and_case_is_kept() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 100 A 192.0.2.1")
    cookie = [dns.edns.GenericOption(10, b"12345678"), dns.edns.GenericOption(65001, b"?")]
    for name in ("EXAMPLE.com", "eXaMpLe.CoM", "example.COM"):
        found = laboratory.ask(name, use_edns=0, options=cookie)
        assert found is not None
        assert str(found.question[0].name) == f"{name}."
    assert laboratory.sent == []


def test_do_and_cd_have_answers_of_their_own_and_go_upstream() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 100 A 192.0.2.1")
    assert laboratory.ask("example.com", use_edns=0, want_dnssec=True) is None
    assert laboratory.ask("example.com", flags=wire.RD | wire.CD) is None
    sent = [read(message) for _, _, message, _ in laboratory.sent]
    assert [bool(one.ednsflags & dns.flags.DO) for one in sent] == [True, False]
    assert [bool(one.flags & dns.flags.CD) for one in sent] == [False, True]


def test_ad_is_given_to_those_who_asked_and_only_from_an_upstream_on_this_machine() -> None:
    from resolver.config import Endpoint

    for upstream, expected in (("127.0.0.1", True), ("9.9.9.9", False)):
        laboratory = Laboratory(upstreams=(Endpoint(upstream, 53),))
        laboratory.resolve("example.com", "example.com. 100 A 192.0.2.1", flags=int(dns.flags.AD))
        with_ad = laboratory.ask("example.com", flags=wire.RD | wire.AD)
        without = laboratory.ask("example.com")
        assert with_ad is not None
        assert without is not None
        assert bool(with_ad.flags & dns.flags.AD) is expected
        assert not without.flags & dns.flags.AD


def test_nothing_of_the_client_goes_upstream() -> None:
    laboratory = Laboratory()
    subnet = dns.edns.ECSOption("10.1.0.0", 24)
    laboratory.ask("example.com", use_edns=0, payload=4096, options=[subnet, dns.edns.GenericOption(10, b"12345678")])
    message = read(laboratory.sent[0][2])
    assert (message.options, message.payload, message.flags & dns.flags.RD) == ((), 1232, dns.flags.RD)


def test_the_upstream_cache_survives_a_swap_and_finished_answers_do_not() -> None:
    laboratory = Laboratory()
    laboratory.resolve("tool.example", "tool.example. 300 A 192.0.2.1")
    for _ in range(3):
        laboratory.ask("tool.example")
    laboratory.engine.install(make_snapshot_of(version=2, blocks=(custom_block(1, "tool.example"),)))
    assert laboratory.ask("tool.example").rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]
    laboratory.engine.install(make_snapshot_of(version=3))
    assert laboratory.ask("tool.example") is not None
    assert laboratory.log[-1].version == 3


def test_a_grant_that_lands_opens_at_once() -> None:
    laboratory = Laboratory()
    for _ in range(4):
        assert laboratory.ask("facebook.com") is not None
    laboratory.engine.install(make_snapshot_of(version=2, grants=(grant(1, "facebook.com"),)))
    assert laboratory.ask("facebook.com") is None


def test_an_answer_that_comes_after_a_swap_is_judged_by_the_new_policy() -> None:
    laboratory = Laboratory()
    assert laboratory.ask("tool.example") is None
    laboratory.engine.install(make_snapshot_of(version=2, blocks=(custom_block(1, "tool.example"),)))
    assert laboratory.answer("tool.example. 300 A 192.0.2.1").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(("subtree", "left"), [(False, 1), (True, 0)])
def test_flush_forgets_a_name_or_all_below_it(subtree: bool, left: int) -> None:
    laboratory = Laboratory()
    for name in ("example.com", "www.example.com"):
        laboratory.resolve(name, f"{name}. 300 A 192.0.2.1")
    assert laboratory.engine.flush(b"\x07example\x03com\0", subtree) == 2 - left
    assert (laboratory.ask("www.example.com") is not None) is bool(left)
    assert laboratory.ask("example.com") is None


def test_a_clock_that_is_set_back_lets_nothing_live_longer() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 300 A 192.0.2.1")
    laboratory.ask("example.com")
    laboratory.now -= 3600
    assert laboratory.ask("example.com") is None


def test_random_names_neither_grow_the_memo_nor_throw_hot_names_out() -> None:
    laboratory = Laboratory(memo_entries=32, cache_bytes=64 * 1024)
    laboratory.resolve("hot.example", "hot.example. 30000 A 192.0.2.1")
    for number in range(3000):
        laboratory.ask(f"r{number}.facebook.com")
        if number % 3 == 0:
            laboratory.resolve(f"r{number}.example", authority=("example. 900 SOA a. b. 1 1 1 1 900",))
        if number % 10 == 0:
            assert laboratory.ask("hot.example") is not None
            assert laboratory.ask("facebook.com") is not None
    judge = laboratory.engine._judge
    assert len(judge._memo) <= 32
    assert judge.cache.bytes <= 64 * 1024
    assert sum(len(view.fast) for view in judge._views.values()) <= 4 * 32


def big(laboratory: Laboratory, count: int, **options: object) -> dns.message.Message:
    records = [f"example.com. 300 TXT {'x' * 200}{number}" for number in range(count)]
    if laboratory.ask("example.com", "TXT", **options) is None:
        laboratory.answer(*records)
    found = laboratory.ask("example.com", "TXT", **options)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("records", "options", "truncated"),
    [
        (2, {}, False),
        (3, {}, True),
        (3, {"use_edns": 0, "payload": 1232}, False),
        (3, {"use_edns": 0, "payload": 512}, True),
        (9, {"use_edns": 0, "payload": 65535}, True),
        (9, {"tcp": True}, False),
        (200, {"tcp": True, "use_edns": 0}, False),
    ],
)
def test_what_does_not_fit_is_truncated_with_question_and_opt(
    records: int, options: dict[str, object], truncated: bool
) -> None:
    found = big(Laboratory(), records, **options)
    assert bool(found.flags & dns.flags.TC) is truncated
    assert len(found.question) == 1
    assert (found.opt is not None) is ("use_edns" in options)
    assert bool(found.answer) is not truncated


def test_the_extended_error_goes_before_anything_else() -> None:
    laboratory = Laboratory(udp_size=150)
    name = "a-rather-long-label-to-fill-the-message.facebook.com"
    found = laboratory.ask(name, use_edns=0)
    assert found is not None
    assert (codes(found), len(found.authority), found.flags & dns.flags.TC) == ([], 1, 0)


@pytest.mark.parametrize(
    ("query", "client", "rcode", "ede"),
    [
        (ask("example.com", "AXFR"), STUDENT, "REFUSED", []),
        (ask("example.com", "IXFR"), STUDENT, "REFUSED", []),
        (ask("example.com", rdclass="CH", use_edns=0), STUDENT, "REFUSED", []),
        (ask("example.com", "OPT"), STUDENT, "FORMERR", []),
        (ask("example.com", "TSIG"), STUDENT, "FORMERR", []),
        (ask("example.com", "TKEY"), STUDENT, "FORMERR", []),
        (ask("example.com", use_edns=0), "203.0.113.5", "REFUSED", [18]),
        (ask("example.com", use_edns=0, flags=0), "203.0.113.5", "REFUSED", [18]),
        (ask("example.com", use_edns=0, flags=0), STUDENT, "REFUSED", [20]),
        (ask("facebook.com", use_edns=0, flags=0), STUDENT, "REFUSED", [20]),
    ],
)
def test_refusals(query: bytes, client: str, rcode: str, ede: list[int]) -> None:
    laboratory = Laboratory()
    for _ in range(3):
        found = read(laboratory.feed(query, client=client)[0])
        assert (dns.rcode.to_text(found.rcode()), codes(found), found.answer) == (rcode, ede, [])


def test_before_a_policy_is_loaded_nothing_is_answered_but_not_ready() -> None:
    laboratory = Laboratory(empty=True)
    found = laboratory.ask("example.com", use_edns=0)
    assert found is not None
    assert (found.rcode(), codes(found)) == (dns.rcode.SERVFAIL, [14])


def test_source_port_zero_is_dropped() -> None:
    laboratory = Laboratory()
    assert laboratory.feed(ask("facebook.com"), port=0) == []
    assert laboratory.engine.counters.dropped == 1


def test_z_is_not_echoed_and_cd_is() -> None:
    found = read(Laboratory().feed(ask("facebook.com", flags=wire.RD | 0x40 | wire.CD))[0])
    assert found.flags & 0x40 == 0
    assert found.flags & dns.flags.CD


def test_an_unknown_type_is_forwarded() -> None:
    laboratory = Laboratory()
    assert laboratory.ask("example.com", "TYPE65280") is None
    found = laboratory.answer(r"example.com. 300 TYPE65280 \# 3 010203")
    assert str(found.answer[0][0]) == r"\# 3 010203"


def test_the_counters_add_up() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 300 A 192.0.2.1")
    for _ in range(5):
        laboratory.ask("example.com")
        laboratory.ask("facebook.com")
    counters = laboratory.engine.counters
    assert (counters.queries, counters.allowed, counters.blocked) == (11, 6, 5)
    assert len(laboratory.log) == 11


def test_the_same_rules_share_one_view() -> None:
    base = make_base({"social-media": ["facebook.com"]})
    groups = (group("a", networks=("10.1.0.0/16",)), group("b", networks=("10.2.0.0/16",)))
    snapshot = make_snapshot(make_policy(base, groups=groups), "0" * 64, base)
    laboratory = Laboratory(snapshot)
    for client in (STUDENT, STAFF, STUDENT):
        laboratory.ask("facebook.com", client=client)
    assert laboratory.engine.counters.memo_hits == 1
    assert {record.group for record in laboratory.log} == {"a", "b"}


def test_the_idle_time_is_told_to_those_that_ask_over_tcp_and_to_nobody_else() -> None:
    laboratory = Laboratory(tcp_idle=7.5)
    for tcp, options, expected in (
        (True, [dns.edns.GenericOption(11, b"")], [b"\0\x4b"]),
        (True, [], []),
        (False, [dns.edns.GenericOption(11, b"")], []),
    ):
        for _ in range(3):
            found = laboratory.ask("facebook.com", tcp=tcp, use_edns=0, options=options)
            assert found is not None
            assert [one.to_wire() for one in found.options if one.otype == 11] == expected


def test_an_answer_that_was_too_long_for_udp_is_whole_over_tcp_however_often_it_was_asked_before() -> None:
    laboratory = Laboratory()
    laboratory.resolve("long.example", *(f"long.example. 60 A 9.9.{one >> 8}.{one & 255}" for one in range(200)))
    for _ in range(4):
        over_udp, over_tcp = laboratory.ask("long.example"), laboratory.ask("long.example", tcp=True)
        assert over_udp is not None and over_tcp is not None
        assert (bool(over_udp.flags & dns.flags.TC), len(over_udp.answer)) == (True, 0)
        assert (bool(over_tcp.flags & dns.flags.TC), len(over_tcp.answer[0])) == (False, 200)
