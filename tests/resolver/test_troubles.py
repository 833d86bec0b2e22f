"""What is wrong now, by source: logged when it begins and when it is over, gone then."""

from __future__ import annotations

import logging

import pytest

from resolver.troubles import Troubles


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def lines(said: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(one.levelname, one.message) for one in said.records]


def test_a_trouble_is_logged_once_and_stands_until_it_is_over(said: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    troubles = Troubles(clock)
    for seconds, error in ((0, "full"), (1, "full"), (75.4, ""), (80, ""), (90, "full")):
        clock.now = seconds
        troubles.note("disk", error)
    troubles.stands("worker 1", "worker 1 ended")
    assert lines(said) == [
        ("WARNING", "disk: full"),
        ("INFO", "disk: well again after 0:01:15 (it was: full)"),
        ("WARNING", "disk: full"),
    ]
    assert list(troubles.all()) == ["full", "worker 1 ended"]
    clock.now = 95
    troubles.stands("disk", "")
    assert said.records[-1].message == "disk: well again after 0:00:05 (it was: full)"
    assert list(troubles.all()) == ["worker 1 ended"]


def test_what_the_log_has_already_is_over_with_a_line_all_the_same(said: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    troubles = Troubles(clock)
    troubles.stands("worker 1", "worker 1 ended")
    clock.now = 6
    for _ in range(2):
        troubles.stands("worker 1", "")
    assert lines(said) == [("INFO", "worker 1: well again after 0:00:06 (it was: worker 1 ended)")]


def test_a_trouble_that_turns_into_another_lasts_from_its_first_sentence_on(said: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    troubles = Troubles(clock)
    for seconds, error in ((0, "nothing is heard"), (10, "its certificate has expired"), (86_410, "")):
        clock.now = seconds
        troubles.note("upstream 1", error)
    assert lines(said) == [
        ("WARNING", "upstream 1: nothing is heard"),
        ("WARNING", "upstream 1: its certificate has expired"),
        ("INFO", "upstream 1: well again after 1 day, 0:00:10 (it was: its certificate has expired)"),
    ]


def test_sources_of_a_kind_that_are_no_more_take_their_troubles_with_them(said: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(Clock())
    troubles.note("settings", "wrong")
    troubles.note_all("upstream ", {"upstream 1": "", "upstream 2": "loops"})
    assert list(troubles.all()) == ["wrong", "loops"]
    troubles.note_all("upstream ", {"upstream 1": "expired"})
    assert list(troubles.all()) == ["wrong", "expired"]
    assert all(level == "WARNING" for level, _ in lines(said))  # what is gone is not well again
