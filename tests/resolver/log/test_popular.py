"""Names that many devices ask for: the share of devices, the least number of them, samples, days, restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocklists import names
from resolver.log import popular
from resolver.log.popular import DAY, Popular

NOON = 20_000 * DAY + DAY / 2


def device(number: int) -> bytes:
    return number.to_bytes(16, "big")


def asked(counted: Popular, name: str, devices: range) -> None:
    for number in devices:
        counted.take(device(number), names.to_wire(name))


def told(counted: Popular) -> dict[str, int]:
    counted.turn(NOON + DAY)
    assert counted.finished is not None
    assert counted.finished["day"] == 20_000 * DAY
    return dict(counted.finished["names"])


@pytest.fixture
def counted(tmp_path: Path) -> Popular:
    found = Popular(tmp_path)
    found.turn(NOON)
    return found


def test_a_name_counts_when_a_hundredth_of_the_devices_and_five_of_them_asked_for_it(counted: Popular) -> None:
    asked(counted, "all.example", range(800))
    asked(counted, "eight.example", range(8))
    asked(counted, "seven.example", range(7))
    asked(counted, "one.example", range(1))
    assert told(counted) == {"all.example": 1000, "eight.example": 10}


def test_few_devices_are_never_told_of_even_where_they_are_all(counted: Popular) -> None:
    asked(counted, "four.example", range(4))
    assert told(counted) == {}


def test_a_name_that_no_list_can_hold_is_left_out(counted: Popular) -> None:
    for number in range(9):
        counted.take(device(number), b"\x03a b\x07example\0")
        counted.take(device(number), b"\0")
    assert told(counted) == {}


def test_of_many_devices_a_sample_tells_the_same_shares(counted: Popular) -> None:
    asked(counted, "all.example", range(5_000))
    asked(counted, "half.example", range(0, 5_000, 2))
    asked(counted, "few.example", range(10))
    found = told(counted)
    assert found["all.example"] == 1000
    assert 420 <= found["half.example"] <= 580
    assert "few.example" not in found


def test_too_many_names_push_out_those_of_one_device(counted: Popular, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MAX_NAMES", 50)
    asked(counted, "known.example", range(20))
    for number in range(200):
        asked(counted, f"random{number}.example", range(1))
    asked(counted, "late.example", range(20))
    assert told(counted) == {"known.example": 1000, "late.example": 1000}


def test_a_restart_goes_on_where_the_day_was(counted: Popular, tmp_path: Path) -> None:
    asked(counted, "all.example", range(20))
    counted.write(at_once=True)
    again = Popular(tmp_path)
    asked(again, "all.example", range(20, 40))
    asked(again, "late.example", range(20, 40))
    assert told(again) == {"all.example": 1000, "late.example": 500}
    again.write(at_once=True)
    assert Popular(tmp_path).finished == {"day": 20_000 * DAY, "names": [["all.example", 1000], ["late.example", 500]]}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"day": "x"}', '{"day": 1, "rarity": 0, "devices": [], "names": {}}'])
def test_a_file_that_cannot_be_read_is_a_new_beginning(tmp_path: Path, text: str) -> None:
    (tmp_path / popular.FILE).write_text(text)
    found = Popular(tmp_path)
    found.turn(NOON)
    asked(found, "all.example", range(6))
    assert told(found) == {"all.example": 1000}


def test_a_clock_that_is_set_back_ends_no_day(counted: Popular) -> None:
    asked(counted, "all.example", range(9))
    counted.turn(NOON - 3 * DAY)
    assert counted.finished is None
    assert told(counted) == {"all.example": 1000}
