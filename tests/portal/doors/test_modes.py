"""Modes: prepared, switched on and off, ended by time; custom blocks; what waits while a test is on."""

from __future__ import annotations

import pytest

from blocklists.policy import ModeKind
from portal.database import reading, transaction
from portal.doors import custom_blocks, grants, modes
from portal.doors.custom_blocks import BlockDraft
from portal.doors.modes import ModeDraft
from portal.errors import Conflict, Forbidden, Invalid
from portal.models.delivery import Publication
from tests.portal.frontdesk import LISTS, NOW, Desk

TESTING = ModeDraft("testing", "State test", ("edison",), ("students",), 180, ("vendor.example",))
BLOCK = BlockDraft("games.example", "subtree", ("*",), ("students",), "Lunch is over", "2026-06-01")


def prepared(desk: Desk, draft: ModeDraft = TESTING) -> int:
    with transaction(desk.engine) as session:
        return modes.prepare(session, desk.amir, NOW, draft, LISTS).id


def test_a_mode_that_is_prepared_changes_nothing_and_one_that_is_on_is_in_the_policy_once(desk: Desk) -> None:
    before = desk.count(Publication)
    number = prepared(desk)
    assert desk.count(Publication) == before
    with transaction(desk.engine) as session:
        run = modes.start(session, desk.amir, NOW, number, "State test today").run
        assert run is not None and run.on and (run.starts_at, run.ends_at) == (NOW, NOW + 180 * 60)
    assert desk.count(Publication) == before + 1
    with reading(desk.engine) as session:
        (mode,) = modes.live(session, NOW)
        assert (mode.kind, mode.sites, mode.ends_at) == (ModeKind.TESTING, ("edison",), NOW + 180 * 60)
        (pins,) = grants.live(session, NOW)
        assert (pins.entries[0].name, pins.window.ends_at) == ("vendor.example", NOW + 180 * 60)
        assert modes.holding(session, NOW) and not modes.holding(session, NOW + 180 * 60)
        assert modes.live(session, NOW + 180 * 60) == ()


def test_a_mode_is_on_once_and_switched_off_once_with_what_it_opened(desk: Desk) -> None:
    number = prepared(desk)
    with transaction(desk.engine) as session:
        run = modes.start(session, desk.amir, NOW, number, "now").run
    assert run is not None
    with pytest.raises(Conflict, match="on already"), transaction(desk.engine) as session:
        modes.start(session, desk.amir, NOW + 1, number, "again")
    with transaction(desk.engine) as session:
        modes.end(session, desk.amir, NOW + 60, run.id)
    with reading(desk.engine) as session:
        assert (modes.live(session, NOW + 60), grants.live(session, NOW + 60)) == ((), ())
    with pytest.raises(Conflict, match="off already"), transaction(desk.engine) as session:
        modes.end(session, desk.amir, NOW + 61, run.id)


def test_a_drill_is_said_to_be_one_and_lasts_five_minutes(desk: Desk) -> None:
    number = prepared(desk, ModeDraft("lock-down", "Lock-down", ("*",), ("students", "staff", "guests"), 60))
    with transaction(desk.engine) as session:
        run = modes.start(session, desk.amir, NOW, number, "Drill of March", drill=True).run
    assert run is not None and run.drill and run.ends_at == NOW + 300


def test_every_mistake_of_a_mode_is_told_and_no_mode_pins_what_is_locked(desk: Desk) -> None:
    bad = ModeDraft("lock-down", " ", ("atlantis",), (), 0, ("pornhub.com", "a..b"), (99,))
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        modes.prepare(session, desk.amir, NOW, bad, LISTS)
    found = {error.field for error in refusal.value.errors}
    assert found >= {"title", "sites[0]", "audiences", "minutes", "pins[0]", "pins[1]", "suspended"}


def test_only_a_person_who_administers_touches_modes_and_blocks(desk: Desk) -> None:
    number = prepared(desk)
    for actor in (desk.tess, desk.rosa, desk.ada):
        with pytest.raises(Forbidden), transaction(desk.engine) as session:
            modes.start(session, actor, NOW, number, "please")
        with pytest.raises(Forbidden), transaction(desk.engine) as session:
            custom_blocks.create(session, actor, NOW, BLOCK)


def test_a_custom_block_is_in_the_policy_until_it_is_ended_once(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        number = custom_blocks.create(session, desk.amir, NOW, BLOCK).id
        assert [one.name for one in custom_blocks.live(session)] == ["games.example"]
        custom_blocks.end(session, desk.amir, NOW, number)
        assert custom_blocks.live(session) == ()
        with pytest.raises(Conflict):
            custom_blocks.end(session, desk.amir, NOW, number)
        with pytest.raises(Invalid) as refusal:
            custom_blocks.create(session, desk.amir, NOW, BlockDraft("a..b", "via", (), (), "", "2026-03-04"))
    assert {error.field for error in refusal.value.errors} == {
        "name", "match", "sites", "audiences", "reason", "review_on",
    }  # fmt: skip
