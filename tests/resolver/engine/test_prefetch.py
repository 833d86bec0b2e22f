"""Hot names are asked again before they expire, and a flood of others does not throw them out."""

from __future__ import annotations

import dns.rcode

from tests.resolver.laboratory import STAFF, Laboratory
from tests.resolver.messages import ask, codes, read, reply

NAME, RECORD = "hot.example", "hot.example. 100 A 192.0.2.1"
ONE = {"upstream_timeout": 0.5, "upstream_tries": 1}


def hot(**config: object) -> Laboratory:
    laboratory = Laboratory(**config)
    laboratory.resolve(NAME, RECORD)
    for _ in range(4):
        laboratory.ask(NAME)
    laboratory.sent.clear()
    return laboratory


def test_a_hot_name_is_asked_again_in_its_last_tenth_and_nobody_waits() -> None:
    laboratory = hot()
    laboratory.now += 89
    assert laboratory.ask(NAME) is not None
    assert laboratory.sent == []
    laboratory.now += 2
    for _ in range(3):
        found = laboratory.ask(NAME)
        assert found is not None
        assert found.answer[0].ttl == 9
    assert (len(laboratory.sent), laboratory.engine.counters.prefetched) == (1, 1)
    laboratory.late.clear()
    laboratory.feed_upstream(reply(laboratory.sent[-1][2], "hot.example. 100 A 192.0.2.2"))
    for _ in range(4):
        laboratory.now += 1
        found = laboratory.ask(NAME)
        assert found is not None
        assert str(found.answer[0][0]) == "192.0.2.2"
        assert 96 <= found.answer[0].ttl <= 99
    assert laboratory.late == []
    assert laboratory.sent == []


def test_a_name_that_was_asked_once_is_not_asked_again() -> None:
    laboratory = Laboratory()
    laboratory.resolve(NAME, RECORD)
    laboratory.sent.clear()
    laboratory.now += 95
    assert laboratory.ask(NAME) is not None
    assert laboratory.sent == []


def test_an_upstream_that_is_silent_ahead_of_time_changes_nothing() -> None:
    laboratory = hot(**ONE)
    laboratory.now += 95
    assert laboratory.ask(NAME) is not None
    laboratory.tick(1.0)
    found = laboratory.ask(NAME, use_edns=0)
    assert found is not None
    assert (found.rcode(), codes(found), found.answer[0].ttl) == (dns.rcode.NOERROR, [], 4)


def test_who_comes_while_it_is_asked_ahead_and_the_time_ends_waits_for_that_answer() -> None:
    laboratory = hot()
    laboratory.now += 99.5
    assert laboratory.ask(NAME) is not None
    laboratory.now += 0.6
    assert laboratory.ask(NAME) is None
    assert laboratory.ask(NAME, client=STAFF) is None
    assert len(laboratory.sent) == 1
    laboratory.answer("hot.example. 100 A 192.0.2.3")
    assert [str(read(data).answer[0][0]) for data in laboratory.late] == ["192.0.2.3"] * 2


def test_a_flood_of_random_names_asked_once_or_twice_leaves_the_hot_ones_in_cache_and_memo() -> None:
    for times in (1, 2):
        laboratory = Laboratory(cache_bytes=300_000, memo_entries=64, rate_limit=0)
        for number in range(20):
            laboratory.resolve(f"hot{number}.example", f"hot{number}.example. 3600 A 192.0.2.1")
            laboratory.sent.clear()
        for number in range(2_000):
            name = f"r{number}.flood.example"
            laboratory.resolve(name, f"{name}. 3600 A 192.0.2.9")
            laboratory.sent.clear()
            for _ in range(times - 1):
                laboratory.ask(name)  # now and then the newest is the one that had to go, and is asked for again
            laboratory.sent.clear()
            laboratory.ask(f"hot{number % 20}.example")
        cache, memo = laboratory.engine._judge.cache, laboratory.engine._judge._memo
        assert (cache.bytes <= cache.limit, len(memo) <= memo.limit) == (True, True)
        assert len(cache) < 1_000
        assert [number for number in range(20) if not laboratory.feed(ask(f"hot{number}.example"))] == []
