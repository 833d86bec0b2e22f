"""Windows over the days on which the clocks change, checked minute by minute against the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklists.policy import FOREVER, Hours, Window
from blocklists.windows import is_open, next_change

CHICAGO = ZoneInfo("America/Chicago")
EVERY_DAY = tuple(range(7))
# Zone, and local noons around which to look: clocks forward, clocks back, an ordinary day. Lord Howe moves by half an
# hour; Santiago and Havana change at midnight; Apia had no 30 December 2011.
DAYS = [
    ("America/Chicago", datetime(2026, 3, 8)),
    ("America/Chicago", datetime(2026, 11, 1)),
    ("Europe/London", datetime(2026, 3, 29)),
    ("Europe/London", datetime(2026, 10, 25)),
    ("Australia/Lord_Howe", datetime(2026, 4, 5)),
    ("Australia/Lord_Howe", datetime(2026, 10, 4)),
    ("America/Santiago", datetime(2026, 4, 4)),
    ("America/Santiago", datetime(2026, 9, 6)),
    ("America/Havana", datetime(2026, 3, 8)),
    ("America/Havana", datetime(2026, 11, 1)),
    ("Pacific/Apia", datetime(2011, 12, 30)),
    ("UTC", datetime(2026, 6, 1)),
]


def at(zone: ZoneInfo, *local: int, fold: int = 0) -> int:
    return int(datetime(*local, tzinfo=zone, fold=fold).timestamp())  # type: ignore[arg-type,misc]


def naively_open(window: Window, moment: int, zone: ZoneInfo) -> bool:
    """What the wall clock shows, asked in another way than the product does."""
    local = datetime.fromtimestamp(moment, UTC).astimezone(zone)
    shown = local.strftime("%H:%M")
    in_hours = any(
        local.isoweekday() - 1 in hours.days
        and f"{hours.start // 60:02}:{hours.start % 60:02}" <= shown < f"{hours.end // 60:02}:{hours.end % 60:02}"
        for hours in window.hours
    )
    ended = window.ends_at is not None and moment >= window.ends_at
    return moment >= window.starts_at and not ended and (in_hours or not window.hours)


quarter = 15
spans = st.lists(
    st.tuples(
        st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True),
        st.integers(0, 95),
        st.integers(1, 96),
    ).filter(lambda one: one[1] < one[2]),
    max_size=3,
)


@given(
    st.sampled_from(DAYS),
    spans,
    st.integers(-200, 200),
    st.one_of(st.none(), st.integers(1, 200)),
    st.integers(-150, 150),
    st.integers(0, quarter * 60 - 1),
)
def test_next_change_is_after_now_and_never_later_than_the_true_one(
    day: tuple[str, datetime],
    found: list[tuple[list[int], int, int]],
    start: int,
    length: int | None,
    asked: int,
    seconds: int,
) -> None:
    zone = ZoneInfo(day[0])
    noon = at(zone, day[1].year, day[1].month, day[1].day, 12)
    step = quarter * 60
    hours = tuple(Hours(tuple(days), first * quarter, last * quarter) for days, first, last in found)
    starts_at = noon + start * step
    window = Window(starts_at, None if length is None else starts_at + length * step, hours)
    now = noon + asked * step + seconds

    change = next_change(window, now, zone)
    assert change > now
    before = is_open(window, now, zone)
    assert before == naively_open(window, now, zone)
    # Every quarter of an hour until then, and for three days at most, the state is the same as now.
    moment = now - seconds + step
    while moment < min(change, now + 3 * 86_400):
        assert naively_open(window, moment, zone) == is_open(window, moment, zone) == before
        moment += step


@given(st.sampled_from(DAYS), spans.filter(bool), st.integers(-100, 0))
def test_following_next_change_reaches_three_days_in_few_steps(
    day: tuple[str, datetime], found: list[tuple[list[int], int, int]], asked: int
) -> None:
    zone = ZoneInfo(day[0])
    now: float = at(zone, day[1].year, day[1].month, day[1].day, 12) + asked * 900
    window = Window(0, None, tuple(Hours(tuple(days), first * 15, last * 15) for days, first, last in found))
    end = now + 3 * 86_400
    for _ in range(4 * (4 * len(found) + 3)):
        now = next_change(window, now, zone)
        if now >= end:
            return
    pytest.fail("next_change creeps")


@given(st.integers(0, 2**32), st.one_of(st.none(), st.integers(1, 2**32)), st.floats(0, 2**33))
def test_without_hours_the_next_change_is_exact(start: int, length: int | None, now: float) -> None:
    window = Window(start, None if length is None else start + length)
    expected = [edge for edge in (window.starts_at, window.ends_at) if edge is not None and edge > now]
    assert next_change(window, now, CHICAGO) == min(expected, default=FOREVER)


def test_a_window_is_half_open() -> None:
    window = Window(100, 200)
    assert [is_open(window, moment, CHICAGO) for moment in (99, 99.999, 100, 199.999, 200)] == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_hours_do_not_open_a_fraction_of_a_microsecond_early() -> None:
    window = Window(0, None, (Hours(EVERY_DAY, 8 * 60, 15 * 60),))
    opens = at(CHICAGO, 2026, 10, 5, 8)
    just_before = opens - 2.0**-22  # the float before it: rounding to microseconds would show 08:00
    assert just_before < opens
    assert not is_open(window, just_before, CHICAGO)
    assert next_change(window, just_before, CHICAGO) == opens


def test_on_the_day_the_clocks_go_forward_school_hours_stay_school_hours() -> None:
    window = Window(0, None, (Hours(EVERY_DAY, 8 * 60, 15 * 60),))
    midnight = at(CHICAGO, 2026, 3, 8)
    opens, closes = at(CHICAGO, 2026, 3, 8, 8), at(CHICAGO, 2026, 3, 8, 15)
    assert opens - midnight == 7 * 3600  # an hour is missing
    assert (is_open(window, opens - 1, CHICAGO), is_open(window, opens, CHICAGO)) == (False, True)
    assert next_change(window, opens, CHICAGO) == closes
    assert (is_open(window, closes - 1, CHICAGO), is_open(window, closes, CHICAGO)) == (True, False)


def test_on_the_day_the_clocks_go_back_school_hours_stay_school_hours() -> None:
    window = Window(0, None, (Hours(EVERY_DAY, 8 * 60, 15 * 60),))
    midnight = at(CHICAGO, 2026, 11, 1)
    opens, closes = at(CHICAGO, 2026, 11, 1, 8), at(CHICAGO, 2026, 11, 1, 15)
    assert opens - midnight == 9 * 3600  # an hour is there twice
    assert (is_open(window, opens - 1, CHICAGO), is_open(window, opens, CHICAGO)) == (False, True)
    assert next_change(window, opens, CHICAGO) == closes


def test_hours_that_begin_in_the_missing_hour_begin_when_the_clock_jumps_over_it() -> None:
    window = Window(0, None, (Hours(EVERY_DAY, 2 * 60 + 30, 4 * 60),))
    jump = at(CHICAGO, 2026, 3, 8, 3)
    assert not is_open(window, jump - 1, CHICAGO)
    assert next_change(window, jump - 1, CHICAGO) == jump
    assert is_open(window, jump, CHICAGO)
    assert next_change(window, jump, CHICAGO) <= at(CHICAGO, 2026, 3, 8, 4)


def test_hours_in_the_repeated_hour_come_twice() -> None:
    window = Window(0, None, (Hours(EVERY_DAY, 60 + 15, 60 + 30),))
    first, second = at(CHICAGO, 2026, 11, 1, 1, 15), at(CHICAGO, 2026, 11, 1, 1, 15, fold=1)
    assert second - first == 3600
    assert [is_open(window, moment, CHICAGO) for moment in (first, first + 900, second, second + 900)] == [
        True,
        False,
        True,
        False,
    ]
    assert next_change(window, second - 60, CHICAGO) == second
    assert next_change(window, second, CHICAGO) == second + 900


def test_hours_until_midnight_end_at_midnight() -> None:
    window = Window(0, None, (Hours((0,), 0, 24 * 60),))
    monday = datetime(2026, 10, 5, tzinfo=CHICAGO)
    assert is_open(window, monday.timestamp(), CHICAGO)
    assert next_change(window, monday.timestamp(), CHICAGO) == (monday + timedelta(days=1)).timestamp()
    assert not is_open(window, (monday + timedelta(days=1)).timestamp(), CHICAGO)
