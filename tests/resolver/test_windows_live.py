"""Grants on a running engine whose clock the test moves: open and shut at the exact moment, whatever the clocks do."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dns.message
import pytest

from blocklists.policy import Hours, Window
from tests.resolver.laboratory import Laboratory, make_snapshot_of
from tests.resolver.messages import read, reply
from tests.resolver.sockets import Clock, Upstream, worker
from tests.support import ZONE, grant, group

HOURS = (("07:59:59", False), ("08:00", True), ("14:59:59", True), ("15:00", False))
SCHOOL = (Hours((0, 1, 2, 3, 4, 5, 6), 8 * 60, 15 * 60),)  # every day, 08:00 to 15:00


def at(text: str, fold: int = 0) -> float:
    """Chicago's wall clock; `fold` 1: the second time that it shows this hour."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE), fold=fold).timestamp()


def laboratory(window: Window, **fields: Any) -> Laboratory:
    return Laboratory(make_snapshot_of(grants=(grant(1, "facebook.com", window=window),), **fields))


def is_open(lab: Laboratory, now: float) -> bool:
    """Ask at `now` as a device does, several times, so that the memo and its first level answer too."""
    lab.now = now
    seen = set()
    for _ in range(4):
        found = lab.ask("facebook.com")
        if found is None:
            found = lab.answer("facebook.com. 3600 A 192.0.2.1")
        assert not found.answer or found.answer[0].ttl <= 60
        seen.add(bool(found.answer))
    (one,) = seen
    return one


def test_a_grant_starts_and_ends_at_its_exact_second() -> None:
    start, end = int(at("2026-10-05T08:00")), int(at("2026-10-05T15:00"))
    lab = laboratory(Window(start, end))
    moments = [start - 1, start - 0.001, start, start + 1, end - 1, end - 0.001, end, end + 1]
    assert [is_open(lab, now) for now in moments] == [False, False, True, True, True, True, False, False]


def test_a_ttl_never_reaches_beyond_the_end_and_a_block_never_beyond_the_start() -> None:
    start, end = int(at("2026-10-05T08:00")), int(at("2026-10-05T15:00"))
    lab = laboratory(Window(start, end))
    for left in (30, 5, 1):
        lab.now = end - left
        found = lab.ask("facebook.com") or lab.answer("facebook.com. 3600 A 192.0.2.1")
        assert found.answer[0].ttl <= left
    for left in (9, 3, 1):
        lab.now = start - left
        blocked = lab.ask("facebook.com")
        assert blocked is not None and blocked.authority[0].ttl <= left


@pytest.mark.parametrize(
    "day", ["2026-03-07", "2026-03-08", "2026-03-09", "2026-10-31", "2026-11-01", "2026-11-02"]
)  # the clocks go forward on 8 March, back on 1 November
def test_weekly_hours_are_the_wall_clocks_on_the_days_that_the_clocks_change(day: str) -> None:
    lab = laboratory(Window(0, None, SCHOOL))
    opens, shuts = at(f"{day}T08:00"), at(f"{day}T15:00")
    found = [is_open(lab, now) for now in (opens - 1, opens, shuts - 1, shuts)]
    assert found == [False, True, True, False]
    assert shuts - opens == 7 * 3600


def test_hours_within_the_hour_that_is_left_out_are_not_open_that_day() -> None:
    lab = laboratory(Window(0, None, (Hours((6,), 2 * 60, 3 * 60),)))  # Sunday, 02:00 to 03:00
    skipped = at("2026-03-08T03:00")  # the minute after 01:59
    assert [is_open(lab, now) for now in (skipped - 1, skipped, skipped + 1)] == [False, False, False]
    week_before = at("2026-03-01T02:30")
    lab = laboratory(Window(0, None, (Hours((6,), 2 * 60, 3 * 60),)))
    assert is_open(lab, week_before)


def test_hours_within_the_hour_that_comes_twice_are_open_both_times() -> None:
    lab = laboratory(Window(0, None, (Hours((6,), 60, 2 * 60),)))  # Sunday, 01:00 to 02:00
    first, second, over = at("2026-11-01T01:30"), at("2026-11-01T01:30", fold=1), at("2026-11-01T02:00")
    assert second - first == 3600
    assert [is_open(lab, now) for now in (first, second, over - 1, over)] == [True, True, True, False]


def test_a_clock_set_back_cannot_reopen_what_had_ended_before_the_policy_was_made() -> None:
    end = int(at("2026-10-05T15:00"))
    lab = laboratory(Window(0, end), created_at=end + 60)
    assert [is_open(lab, now) for now in (end + 120, end - 3600, 1000.0)] == [False, False, False]


def test_a_clock_set_back_within_the_window_opens_it_and_forward_shuts_it_at_once() -> None:
    start, end = int(at("2026-10-05T08:00")), int(at("2026-10-05T15:00"))
    lab = laboratory(Window(start, end))
    moments = [end + 10, end - 3600, end + 86_400, start - 5, start + 5]
    assert [is_open(lab, now) for now in moments] == [False, True, False, False, True]


def test_a_running_worker_follows_its_wall_clock_over_the_change_of_the_hour_and_back(tmp_path: Path) -> None:
    """Over sockets: every morning from 08:00 until 15:00, until the end of the term, whose last second counts."""
    term_ends = int(at("2026-11-03T12:00"))
    snapshot = make_snapshot_of(
        groups=(group(networks=("127.0.0.0/8",)),),
        grants=(grant(1, "facebook.com", window=Window(0, term_ends, SCHOOL)),),
    )
    moments = [
        *(
            (at(f"{day}T{hour}"), is_open)
            for day in ("2026-10-31", "2026-11-01", "2026-11-02")
            for hour, is_open in HOURS
        ),
        (term_ends - 0.001, True),
        (float(term_ends), False),
        (at("2026-10-31T09:00"), True),  # set back into the term: the policy was made before
        (at("2026-11-05T09:00"), False),  # and forward
    ]
    upstream = Upstream(lambda query, _: [reply(query, f"{read(query).question[0].name} 3600 A 192.0.2.1")])
    clock = Clock(at("2026-10-31T00:00"))
    with worker(tmp_path, lambda _: snapshot, clock=clock, upstreams=(upstream.endpoint,)) as one:
        for moment, is_open in moments:
            clock.set(moment)
            found = [one.ask(dns.message.make_query("facebook.com", "A"), tcp=tcp) for tcp in (False, False, True)]
            assert [bool(answer.answer) for answer in found] == [is_open] * 3, moment
    upstream.close()
