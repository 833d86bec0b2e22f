"""What is blocked as dated policy: inheritance, drafts, the look ahead, dates that are kept, undo."""

from __future__ import annotations

import pytest

from blocklists.exchange import AskedDay, AskedName
from portal.database import reading, transaction
from portal.errors import Conflict, Forbidden, Invalid
from portal.lists import asked
from portal.models.delivery import Node, Publication
from portal.models.rules import ChangeState
from portal.places import district, setup
from portal.places.district import GroupDraft
from portal.rules import block_rules, changes, look_ahead
from portal.rules.changes import ChangeView
from portal.rules.rule_book import Line
from tests.portal.frontdesk import NOW, Desk

MESSAGING = "category/messaging"


def drafted(desk: Desk, *lines: Line) -> ChangeView:
    with transaction(desk.engine) as session:
        return changes.draft(session, desk.amir, NOW, lines, "The board decided")


def published(desk: Desk, *lines: Line) -> ChangeView:
    draft = drafted(desk, *lines)
    with transaction(desk.engine) as session:
        return changes.publish(session, desk.amir, NOW, draft.id, draft.revision)


def blocked(desk: Desk, group: str) -> frozenset[str]:
    with reading(desk.engine) as session:
        return frozenset(district.group(session, group).group.blocks)


def decides(desk: Desk, group: str, thing: str) -> tuple[str, str]:
    with reading(desk.engine) as session:
        (found,) = [one for one in block_rules.inheritance(session, group) if one.thing == thing]
        return found.scope, found.say


def test_a_draft_changes_nothing_until_it_is_published_and_then_makes_one_version(desk: Desk) -> None:
    before, was = desk.count(Publication), blocked(desk, "edison/students")
    draft = drafted(desk, Line("district/students", MESSAGING, "allow"))
    assert (desk.count(Publication), blocked(desk, "edison/students")) == (before, was)
    with transaction(desk.engine) as session:
        view = changes.publish(session, desk.amir, NOW, draft.id, draft.revision)
    assert (view.state, view.published_by) == (ChangeState.PUBLISHED, desk.amir.name)
    assert desk.count(Publication) == before + 1
    assert blocked(desk, "edison/students") == was - {"messaging"}
    with pytest.raises(Conflict), transaction(desk.engine) as session:
        changes.publish(session, desk.amir, NOW, draft.id, draft.revision)


def test_the_nearest_rule_decides_and_without_it_the_next_one_does(desk: Desk) -> None:
    with reading(desk.engine) as session:
        level = district.site(session, "edison").level
    published(desk, Line("district/students", MESSAGING, "allow"))
    assert decides(desk, "edison/students", MESSAGING) == ("district/students", "allow")
    published(desk, Line(f"level/{level}/students", MESSAGING, "block"))
    assert "messaging" in blocked(desk, "edison/students")
    published(desk, Line("group/edison/students", MESSAGING, "allow"))
    assert decides(desk, "edison/students", MESSAGING) == ("group/edison/students", "allow")
    assert "messaging" not in blocked(desk, "edison/students")
    published(desk, Line("group/edison/students", MESSAGING, "inherit"))
    assert decides(desk, "edison/students", MESSAGING) == (f"level/{level}/students", "block")
    assert "messaging" in blocked(desk, "edison/students")


def test_what_a_groups_own_page_says_outlasts_the_districts_rule(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        view = district.group(session, "edison/staff")
        group = view.group
        blocks = tuple(set(group.blocks) | {"messaging"})
        draft = GroupDraft("edison", "staff", group.networks, group.asked, blocks)
        district.update_group(session, desk.amir, NOW, "edison/staff", view.revision, draft)
    published(desk, Line("district/staff", MESSAGING, "allow"))
    assert "messaging" in blocked(desk, "edison/staff")
    assert decides(desk, "edison/staff", MESSAGING) == ("group/edison/staff", "block")


def test_the_answer_about_staff_is_a_rule_of_the_district(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        setup.answer_staff_social_media(session, desk.amir, NOW, True)
    assert decides(desk, "edison/staff", "category/social-media") == ("district/staff", "allow")
    assert "social-media" not in blocked(desk, "edison/staff")


def test_a_scheduled_change_is_carried_out_once_when_its_time_has_come(desk: Desk) -> None:
    draft = drafted(desk, Line("district/students", MESSAGING, "allow"))
    with transaction(desk.engine) as session:
        view = changes.schedule(session, desk.amir, NOW, draft.id, draft.revision, "2026-03-05T07:00")
    at = view.publish_at or 0
    with transaction(desk.engine) as session:
        assert (changes.publish_due(session, at - 1), changes.is_due(session, at - 1)) == (0, False)
        assert "messaging" in district.group(session, "edison/students").group.blocks
    with transaction(desk.engine) as session:
        assert (changes.publish_due(session, at), changes.publish_due(session, at)) == (1, 0)
    assert "messaging" not in blocked(desk, "edison/students")


def test_an_undo_puts_back_what_stood_as_a_new_change_and_only_once(desk: Desk) -> None:
    was = blocked(desk, "edison/students")
    change = published(desk, Line("district/students", MESSAGING, "allow"))
    with transaction(desk.engine) as session:
        undone = changes.undo(session, desk.amir, NOW, change.id, "It was too loud")
    assert (undone.undoes, undone.id > change.id) == (change.id, True)
    assert blocked(desk, "edison/students") == was
    with pytest.raises(Conflict, match="undone already"), transaction(desk.engine) as session:
        changes.undo(session, desk.amir, NOW, change.id, "again")


def test_the_look_ahead_says_what_publishing_then_does(desk: Desk) -> None:
    lines = (Line("district/students", "service/instagram", "allow"),)
    with reading(desk.engine) as session:
        ahead = look_ahead.look(session, NOW, lines)
        before = {view.group.id: view.group.services for view in district.groups(session)}
    assert {one.group for one in ahead.effects} and ahead.asked is None
    assert "instagram.com" in ahead.things[0].examples
    published(desk, *lines)
    with reading(desk.engine) as session:
        after = {view.group.id: view.group.services for view in district.groups(session) if view.follows is None}
    changed = {one for one in after if after[one] != before[one]}
    assert changed == {one.group for one in ahead.effects}


def test_the_look_ahead_names_what_many_devices_asked_for_lately(desk: Desk) -> None:
    told = (("i.instagram.com", 40), ("instagram.com", 200), ("notinstagram.com", 900))
    with transaction(desk.engine) as session:
        session.add(Node(name="edison-1", credential_hash="x", enrolled_at=NOW))
        session.flush()
        day = NOW - NOW % 86_400 - 86_400
        names = [AskedName(name=name, permille=share) for name, share in told]
        asked.keep(session, 1, AskedDay(day=day, names=names))
    lines = (Line("district/staff", "service/instagram", "block"),)
    with reading(desk.engine) as session:
        assert look_ahead.look(session, NOW, lines).asked == ("instagram.com", "i.instagram.com")
        assert look_ahead.look(session, NOW + 9 * 86_400, lines).asked is None


def test_a_change_of_a_locked_category_of_guests_or_of_nothing_is_refused(desk: Desk) -> None:
    for line, what in (
        (Line("district/students", "category/adult", "allow"), "locked"),
        (Line("district/guests", MESSAGING, "allow"), "students"),
        (Line("level/moon/staff", MESSAGING, "allow"), "no level"),
        (Line("group/nowhere/staff", MESSAGING, "allow"), "no site"),
        (Line("district/staff", "service/nothing", "allow"), "no category or service"),
        (Line("district/staff", MESSAGING, "perhaps"), "not one of"),
    ):
        with pytest.raises(Invalid) as refused:
            drafted(desk, line)
        assert any(what in one.message for one in refused.value.errors), line
    with pytest.raises(Forbidden), transaction(desk.engine) as session:
        changes.draft(session, desk.rosa, NOW, [Line("district/staff", MESSAGING, "block")], "x")
