"""How long an answer lives: TTLs, denials, what is given when no upstream answers."""

from __future__ import annotations

import dns.rcode
import pytest

from tests.resolver.laboratory import NOW, Laboratory, make_snapshot_of
from tests.resolver.messages import SOA, ask, codes, read
from tests.support import custom_block, grant


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
