"""What is wrong now, by source: logged when it begins, gone when it is over."""

from __future__ import annotations

import logging

import pytest

from resolver.troubles import Troubles


def test_a_trouble_is_logged_once_and_stands_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    with caplog.at_level(logging.WARNING):
        for error in ("full", "full", "", "full"):
            troubles.note("disk", error)
        troubles.stands("worker 1", "worker 1 ended")
        assert [one.message for one in caplog.records] == ["disk: full", "disk: full"]
    assert list(troubles.all()) == ["full", "worker 1 ended"]
    troubles.stands("disk", "")
    assert list(troubles.all()) == ["worker 1 ended"]


def test_sources_of_a_kind_that_are_no_more_take_their_troubles_with_them() -> None:
    troubles = Troubles()
    troubles.note("settings", "wrong")
    troubles.note_all("upstream ", {"upstream 1": "", "upstream 2": "loops"})
    assert list(troubles.all()) == ["wrong", "loops"]
    troubles.note_all("upstream ", {"upstream 1": "expired"})
    assert list(troubles.all()) == ["wrong", "expired"]
