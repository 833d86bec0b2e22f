"""The engine: who gets which answer, from where, for how long."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from blocklists.policy import Action, Audience, ReasonKind, Window
from blocklists.snapshot import make_snapshot
from resolver.message import wire
from tests.resolver.laboratory import NOW, STAFF, STRANGER, STUDENT, Laboratory, make_snapshot_of
from tests.resolver.messages import SOA, ask, codes, read, texts
from tests.support import CATEGORIES, brake, custom_block, grant, group, make_base, make_policy


def style(name: str) -> dict[str, object]:
    return {"categories": tuple(_styled(one, name) for one in CATEGORIES)}


def _styled(category: object, name: str) -> object:
    from dataclasses import replace

    from blocklists.policy import AnswerStyle

    return replace(category, style=AnswerStyle(name))  # type: ignore[type-var]


# --- what is blocked, and how it is said


def test_a_blocked_name_is_denied_with_our_soa_and_the_way_to_ask() -> None:
    found = Laboratory().ask("www.Facebook.com", use_edns=0)
    assert found is not None
    assert found.rcode() == dns.rcode.NXDOMAIN
    soa = found.authority[0]
    assert (str(soa.name).lower(), soa.ttl, soa[0].minimum) == ("facebook.com.", 10, 10)
    assert codes(found) == [15]
    assert texts(found) == ["Social media: how to ask: https://filter.district.example/why"]
    assert str(found.question[0].name) == "www.Facebook.com."


def test_a_locked_name_is_censored_and_no_way_to_ask_is_promised() -> None:
    found = Laboratory().ask("porn.example", use_edns=0)
    assert found is not None
    assert codes(found) == [16]
    assert "ask" not in texts(found)[0]


def test_without_edns_there_is_no_opt_in_the_answer() -> None:
    found = Laboratory().ask("facebook.com")
    assert found is not None
    assert (found.opt, found.rcode()) == (None, dns.rcode.NXDOMAIN)


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "records"),
    [
        ("nxdomain", "A", "NXDOMAIN", 0),
        ("nodata", "A", "NOERROR", 0),
        ("null", "A", "NOERROR", 1),
        ("null", "AAAA", "NOERROR", 1),
        ("null", "MX", "NOERROR", 0),
        ("refused", "A", "REFUSED", 0),
    ],
)
def test_every_style_of_a_block(name: str, qtype: str, rcode: str, records: int) -> None:
    found = Laboratory(make_snapshot_of(**style(name))).ask("facebook.com", qtype, use_edns=0)
    assert found is not None
    assert (dns.rcode.to_text(found.rcode()), len(found.answer)) == (rcode, records)
    assert len(found.authority) == (0 if records or name == "refused" else 1)
    assert codes(found) == [4 if records else 15]
    if records:
        assert (str(found.answer[0][0]), found.answer[0].ttl) == ({"A": "0.0.0.0", "AAAA": "::"}[qtype], 10)


@pytest.mark.parametrize(("qtype", "do"), [("A", False), ("AAAA", True), ("HTTPS", False), ("ANY", True), ("DS", True)])
def test_every_type_of_a_blocked_name_is_blocked_with_do_too(qtype: str, do: bool) -> None:
    found = Laboratory().ask("facebook.com", qtype, use_edns=0, want_dnssec=do)
    assert found is not None
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert not found.flags & dns.flags.AD


@pytest.mark.parametrize("name", ["use-application-dns.net", "mask.icloud.com", "x.onion", "_dns.resolver.arpa"])
def test_bypass_signals_are_answered_and_never_forwarded(name: str) -> None:
    laboratory = Laboratory()
    found = laboratory.ask(name, use_edns=0)
    assert found is not None
    assert laboratory.sent == []
    assert found.rcode() == (dns.rcode.NOERROR if "resolver" in name else dns.rcode.NXDOMAIN)


def test_a_block_with_an_exception_below_is_nodata() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(1, "edu.facebook.com"),)))
    blocked = laboratory.ask("facebook.com")
    assert blocked is not None
    assert (blocked.rcode(), len(blocked.authority)) == (dns.rcode.NOERROR, 1)
    assert laboratory.ask("edu.facebook.com") is None


def test_any_of_an_allowed_name_is_one_hinfo() -> None:
    found = Laboratory().ask("example.com", "ANY")
    assert found is not None
    assert [str(one[0]) for one in found.answer] == ['"RFC8482" ""']


# --- who asks


def test_each_group_is_answered_by_its_own_policy_and_shares_the_cache() -> None:
    laboratory = Laboratory()
    assert laboratory.ask("facebook.com", client=STUDENT).rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]
    found = laboratory.resolve("facebook.com", "facebook.com. 300 A 192.0.2.1", client=STAFF)
    assert found.rcode() == dns.rcode.NOERROR
    assert laboratory.ask("facebook.com", client=STUDENT).rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]
    assert laboratory.ask("facebook.com", client=STRANGER).rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]


def test_a_mapped_address_is_the_ipv4_client() -> None:
    laboratory = Laboratory()
    assert laboratory.ask("facebook.com", client="::ffff:10.2.0.7") is None


def test_the_asked_address_can_name_the_group() -> None:
    staff = group("line", audience=Audience.STAFF, asked=("192.0.2.53",), blocks=())
    laboratory = Laboratory(make_snapshot_of(groups=(staff,)))
    assert laboratory.ask("facebook.com", client=STRANGER) is None


# --- grants


def test_a_granted_answer_lives_at_most_a_minute_and_names_its_grant() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com"),)))
    found = laboratory.resolve("facebook.com", "facebook.com. 3600 A 192.0.2.1")
    assert found.answer[0].ttl == 60
    record = laboratory.log[-1]
    assert (record.action, record.reason, record.number) == (Action.ALLOW, ReasonKind.GRANT, 7)
    open_answer = laboratory.resolve("example.com", "example.com. 3600 A 192.0.2.1")
    assert open_answer.answer[0].ttl == 3600


def test_a_grant_that_ends_is_over_at_that_second_and_ttls_lead_up_to_it() -> None:
    snapshot = make_snapshot_of(grants=(grant(7, "facebook.com", window=Window(0, int(NOW) + 30)),))
    laboratory = Laboratory(snapshot)
    assert laboratory.resolve("facebook.com", "facebook.com. 3600 A 192.0.2.1").answer[0].ttl == 30
    for _ in range(4):
        laboratory.now += 5
        found = laboratory.ask("facebook.com")
        assert found is not None
        assert found.answer[0].ttl == NOW + 30 - laboratory.now
    laboratory.now = NOW + 30
    assert laboratory.ask("facebook.com").rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]


def test_a_grant_that_starts_opens_at_that_second_and_a_block_before_it_is_short() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com", window=Window(int(NOW) + 5, None)),)))
    for _ in range(3):
        found = laboratory.ask("facebook.com")
        assert found is not None
        assert found.authority[0].ttl == 5
    laboratory.now += 5
    assert laboratory.ask("facebook.com") is None


def test_a_brake_beats_a_grant() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com"),), brakes=(brake(3, "facebook.com"),)))
    assert texts(laboratory.ask("facebook.com", use_edns=0))[0].startswith("Emergency block")  # type: ignore[arg-type]


# --- where an answer leads


CHAIN = ("tool.example. 300 CNAME scontent.fbcdn.net.", "scontent.fbcdn.net. 300 A 192.0.2.1")


def test_an_alias_to_a_blocked_name_is_blocked_for_its_reason() -> None:
    laboratory = Laboratory()
    found = laboratory.resolve("tool.example", *CHAIN)
    assert (found.rcode(), found.answer) == (dns.rcode.NOERROR, [])  # NXDOMAIN would deny what lies below
    assert str(found.authority[0].name) == "tool.example."
    assert laboratory.log[-1].entry == "fbcdn.net"
    staff = laboratory.ask("tool.example", client=STAFF)
    assert staff is not None
    assert len(staff.answer) == 2


@pytest.mark.parametrize(
    ("entries", "opened"),
    [
        (("facebook.com",), False),
        (("facebook.com", "~fbcdn.net"), True),
        (("facebook.com", "fbcdn.net"), True),
    ],
)
def test_a_grant_opens_a_target_only_when_it_says_so(entries: tuple[str, ...], opened: bool) -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, *entries),)))
    found = laboratory.resolve("facebook.com", "facebook.com. 300 CNAME x.fbcdn.net.", "x.fbcdn.net. 300 A 192.0.2.1")
    assert bool(found.answer) is opened
    direct = laboratory.ask("x.fbcdn.net")
    assert (direct is None) is (opened and "fbcdn.net" in entries)


def test_via_never_passes_a_locked_category() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "facebook.com", "~porn.example"),)))
    found = laboratory.resolve("facebook.com", "facebook.com. 300 CNAME porn.example.", "porn.example. 9 A 192.0.2.1")
    assert found.answer == []


def test_an_open_name_whose_target_only_a_grant_opens_lives_a_minute() -> None:
    laboratory = Laboratory(make_snapshot_of(grants=(grant(7, "fbcdn.net"),)))
    assert laboratory.resolve("tool.example", *CHAIN).answer[0].ttl == 60


@pytest.mark.parametrize("data", ["0 www.facebook.com.", "1 www.facebook.com. alpn=h2"])
def test_a_service_binding_to_a_blocked_name_is_blocked(data: str) -> None:
    laboratory = Laboratory()
    assert laboratory.ask("tool.example", "HTTPS") is None
    found = laboratory.answer(f"tool.example. 300 HTTPS {data}")
    assert (found.answer, len(found.authority)) == ([], 1)


def test_a_dname_to_a_blocked_name_is_blocked() -> None:
    found = Laboratory().resolve(
        "www.tool.example",
        "tool.example. 300 DNAME facebook.com.",
        "www.tool.example. 300 CNAME www.facebook.com.",
        "www.facebook.com. 300 A 192.0.2.1",
    )
    assert found.answer == []


# --- cache and time


def test_ttls_count_down_and_the_answer_ends() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 100 A 192.0.2.1")
    for age in (0, 1, 1, 40):
        laboratory.now += age
        for _ in range(3):
            found = laboratory.ask("example.com")
            assert found is not None
            assert found.answer[0].ttl == 100 - int(laboratory.now - NOW)
    laboratory.now = NOW + 100
    assert laboratory.ask("example.com") is None


def test_the_first_level_is_used_and_says_the_same() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 100 A 192.0.2.1")
    seen = [laboratory.feed(ask("example.com", id=number))[0][2:] for number in range(6)]
    assert len(set(seen)) == 1
    assert laboratory.engine.counters.memo_hits >= 3
    assert laboratory.log[-1].name == b"\x07example\x03com\0"


@pytest.mark.parametrize(
    ("parts", "ttl"),
    [
        ({"authority": (SOA,), "rcode": "NXDOMAIN"}, 120),
        ({"authority": (SOA,)}, 120),
        ({"authority": ("example.com. 50 SOA a. b. 1 1 1 1 9000",)}, 50),
        ({"authority": ("example.com. 99999 SOA a. b. 1 1 1 1 99999",)}, 3600),
    ],
)
def test_a_denial_is_kept_by_its_soa_and_capped(parts: dict[str, object], ttl: int) -> None:
    laboratory = Laboratory()
    assert laboratory.resolve("www.example.com", **parts).authority[0].ttl == ttl  # type: ignore[arg-type]
    laboratory.now += ttl - 1
    assert laboratory.ask("www.example.com") is not None
    laboratory.now += 1
    assert laboratory.ask("www.example.com") is None


def test_a_denial_without_a_soa_is_given_but_not_kept() -> None:
    laboratory = Laboratory()
    assert laboratory.resolve("www.example.com", rcode="NXDOMAIN").rcode() == dns.rcode.NXDOMAIN
    assert laboratory.ask("www.example.com") is None


def test_a_ttl_of_zero_is_given_but_not_kept() -> None:
    laboratory = Laboratory()
    assert laboratory.resolve("example.com", "example.com. 0 A 192.0.2.1").answer[0].ttl == 0
    assert laboratory.ask("example.com") is None


def test_a_ttl_above_the_setting_is_cut() -> None:
    laboratory = Laboratory(max_ttl=1000)
    assert laboratory.resolve("example.com", "example.com. 99999 A 192.0.2.1").answer[0].ttl == 1000


@pytest.mark.parametrize(("rcode", "ede"), [("NOERROR", 3), ("NXDOMAIN", 19)])
def test_when_no_upstream_answers_a_stale_answer_is_better_than_none(rcode: str, ede: int) -> None:
    laboratory = Laboratory(upstream_tries=1)
    parts = {"authority": (SOA,), "rcode": rcode} if rcode == "NXDOMAIN" else {}
    records = () if parts else ("www.example.com. 100 A 192.0.2.1",)
    laboratory.resolve("www.example.com", *records, **parts)  # type: ignore[arg-type]
    laboratory.now += 3600
    for _ in range(2):
        laboratory.sent.clear()
        assert laboratory.ask("www.example.com", use_edns=0) is None
        laboratory.tick(2)
        for found in (read(laboratory.late[-1]), laboratory.ask("www.example.com", use_edns=0)):
            assert found is not None
            assert (dns.rcode.to_text(found.rcode()), codes(found)) == (rcode, [ede])
            assert (found.answer or found.authority)[0].ttl == 30
        laboratory.now += 30
    laboratory.sent.clear()
    assert laboratory.ask("www.example.com") is None
    assert laboratory.answer("www.example.com. 100 A 192.0.2.2").answer[0].ttl == 100


def test_a_stale_answer_is_judged_by_the_policy_of_now_and_ends_after_a_day() -> None:
    laboratory = Laboratory(upstream_tries=1)
    laboratory.resolve("tool.example", "tool.example. 100 A 192.0.2.1")
    laboratory.now += 200
    laboratory.engine.install(make_snapshot_of(version=2, blocks=(custom_block(1, "tool.example"),)))
    assert laboratory.ask("tool.example").rcode() == dns.rcode.NXDOMAIN  # type: ignore[union-attr]
    laboratory.engine.install(make_snapshot_of(version=3))
    laboratory.now += 86_400
    assert laboratory.ask("tool.example") is None
    laboratory.tick(2)
    assert read(laboratory.late[-1]).rcode() == dns.rcode.SERVFAIL


def test_a_stale_answer_that_is_asked_for_again_and_again_still_goes_after_its_half_minute() -> None:
    laboratory = Laboratory(upstream_tries=1)
    laboratory.resolve("www.example.com", "www.example.com. 100 A 192.0.2.1")
    laboratory.now += 3600
    assert laboratory.ask("www.example.com") is None
    laboratory.tick(2)
    for _ in range(5):  # remembered by its bytes from the second or third time on
        assert laboratory.ask("www.example.com") is not None
    laboratory.now += 31
    assert laboratory.ask("www.example.com") is None


def test_a_name_that_only_a_grant_takes_out_of_a_custom_block_lives_a_minute_at_most() -> None:
    laboratory = Laboratory(
        make_snapshot_of(grants=(grant(1, "lesson.tool.example"),), blocks=(custom_block(1, "tool.example"),))
    )
    blocked = laboratory.ask("tool.example")
    assert blocked is not None
    assert blocked.authority  # NODATA: an exception lies below
    laboratory.resolve("lesson.tool.example", "lesson.tool.example. 3600 A 192.0.2.1")
    found = laboratory.ask("lesson.tool.example")
    assert found is not None
    assert found.answer[0].ttl <= 60


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


# --- sizes


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


# --- the message table's rows that need a client


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


def test_the_first_level_counts_ttls_down_by_itself_until_it_is_time_to_ask_again() -> None:
    laboratory = Laboratory()
    laboratory.resolve("example.com", "example.com. 100 A 192.0.2.1")
    for _ in range(3):
        assert laboratory.ask("example.com", use_edns=0)
    (fast,) = next(iter(laboratory.udp.clients.values())).fast.values()
    seen = []
    for _ in range(12):
        laboratory.now += 8
        found = laboratory.ask("example.com", use_edns=0)
        seen.append((found.answer[0].ttl, str(found.answer[0][0]), found.edns) if found else None)
    assert seen == [(100 - 8 * turn, "192.0.2.1", 0) for turn in range(1, 13)]
    assert fast.hits > 8
    assert len(laboratory.sent) == 1  # in the last tenth of its time it was asked for again
