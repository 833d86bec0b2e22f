"""The limit per client: who is held back, how they are told, and who is spared."""

from __future__ import annotations

import dns.flags
import dns.rcode
import pytest

from resolver.engine import limits
from tests.resolver.laboratory import STAFF, STRANGER, STUDENT, Laboratory
from tests.resolver.message.test_cookies import CLIENT, cookie_of, with_cookie
from tests.resolver.messages import ask, read

QUERY = ask("facebook.com", use_edns=0)


def limited(**config: object) -> Laboratory:
    return Laboratory(rate_limit=10, rate_burst=20, rate_exempt=("10.99.0.0/16",), **config)


def truncated(replies: list[bytes]) -> int:
    return sum(bool(read(one).flags & dns.flags.TC) for one in replies)


def test_the_burst_is_answered_and_the_first_excess_is_truncated_and_no_longer_than_the_question() -> None:
    laboratory = limited()
    found = laboratory.feed(*[QUERY] * 50)
    assert (len(found), truncated(found)) == (50, 30)
    assert all(len(one) <= len(QUERY) for one in found if read(one).flags & dns.flags.TC)
    assert laboratory.engine.counters.limited == 30


def test_a_flood_is_dropped_but_for_one_in_ten() -> None:
    laboratory = limited()
    found = laboratory.feed(*[QUERY] * (20 + limits.FIRST + 1000))
    assert truncated(found) == limits.FIRST + 1000 // limits.THEN_EVERY


def test_a_client_over_its_limit_is_answered_over_tcp_and_again_later() -> None:
    laboratory = limited()
    laboratory.feed(*[QUERY] * 50)
    assert truncated(laboratory.feed(QUERY)) == 1
    assert truncated(laboratory.feed(QUERY, tcp=True)) == 0
    laboratory.now += 1.0
    assert truncated(laboratory.feed(*[QUERY] * 12)) in (1, 2, 3)  # ten for the second


def test_a_steady_client_at_the_rate_is_never_held_back_and_above_it_gets_the_rate() -> None:
    for each, lost in ((10, False), (30, True)):
        laboratory = limited()
        served = 0
        for _ in range(200):
            found = laboratory.feed(*[QUERY] * (each // 10))
            served += len(found) - truncated(found)
            laboratory.now += 0.1
        assert (served < each * 20) is lost
        assert served >= min(each * 20, 200)
        assert served <= 240


def test_one_client_does_not_spend_what_others_may() -> None:
    laboratory = limited()
    laboratory.feed(*[QUERY] * 500)
    assert truncated(laboratory.feed(*[QUERY] * 15, client=STAFF)) == 0


def test_exempt_networks_are_not_limited() -> None:
    laboratory = limited()
    assert truncated(laboratory.feed(*[QUERY] * 500, client=STRANGER)) == 0


def test_a_network_of_64_bits_is_one_ipv6_client() -> None:
    laboratory = limited()
    laboratory.feed(*[QUERY] * 21, client="fd00::1")
    assert truncated(laboratory.feed(QUERY, client="fd00::2")) == 1
    assert truncated(laboratory.feed(QUERY, client="fd00:0:0:1::2")) == 0


def test_who_returns_our_cookie_is_spared_and_who_does_not_gets_one() -> None:
    laboratory = limited()
    laboratory.feed(*[QUERY] * 50)
    data = laboratory.feed(with_cookie(CLIENT))[0]
    assert (read(data).rcode(), len(cookie_of(data))) == (dns.rcode.BADCOOKIE, 24)
    found = laboratory.feed(*[with_cookie(cookie_of(data))] * 200)
    assert [read(one).rcode() for one in found] == [dns.rcode.NXDOMAIN] * 200
    forged = laboratory.feed(with_cookie(CLIENT + bytes(16)))[0]
    assert read(forged).rcode() == dns.rcode.BADCOOKIE


def test_no_limit_when_the_settings_say_so() -> None:
    laboratory = Laboratory(rate_limit=0)
    assert truncated(laboratory.feed(*[QUERY] * 20_000)) == 0


def test_garbage_beyond_the_limit_is_dropped() -> None:
    laboratory = limited()
    laboratory.feed(*[QUERY] * 50)
    assert laboratory.feed(b"\0" * 5, b"\xff" * 40, b"") == []


def test_many_addresses_do_not_grow_the_table_and_a_busy_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KNOWN", 100)
    laboratory = limited()
    laboratory.feed(*[QUERY] * 50)
    for number in range(1000):
        laboratory.feed(QUERY, client=f"10.1.{2 + number // 250}.{number % 250 + 1}")
        assert truncated(laboratory.feed(QUERY, client=STUDENT)) + 9 * (number >= 0) >= 9
    limiter = laboratory.engine._askers._limiter
    assert len(limiter._known) + len(limiter._known_before) <= 200
    assert limiter._known[STUDENT].beyond > 1000
