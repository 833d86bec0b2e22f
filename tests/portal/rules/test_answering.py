"""What answers hold: set by an administrator, told in the policy."""

from __future__ import annotations

import pytest

from blocklists.policy import YouTube
from portal.database import transaction
from portal.errors import Invalid
from portal.places import district
from portal.places.district import GroupDraft
from portal.rules import answering
from portal.rules.answering import AnsweringDraft
from tests.portal.frontdesk import NOW, Desk

DRAFT = AnsweringDraft(("10.20.0.80", "2001:DB8::80"), True, ("Lab.Example.", "lab.example"), True)


def test_what_an_administrator_sets_is_what_the_policy_says(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        answering.update(session, desk.amir, NOW, DRAFT)
    with transaction(desk.engine) as session:
        found = answering.of(district.get(session))
    assert found.page == ("10.20.0.80", "2001:db8::80")
    assert (found.strip_ech, found.private, found.structured) == (True, ("lab.example",), True)
    assert (found.organisation, found.contact) != ("", "")


def test_what_is_no_address_and_no_name_is_said_beside_its_field(desk: Desk) -> None:
    draft = AnsweringDraft(("10.20.0.80", "blockpage"), False, ("a..b",), False)
    with pytest.raises(Invalid) as caught, transaction(desk.engine) as session:
        answering.update(session, desk.amir, NOW, draft)
    assert [one.field for one in caught.value.errors] == ["block_page[1]", "private_names[0]"]


def test_a_groups_safe_search_and_youtube_mode_are_previewed_audited_and_in_its_policy(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        old = district.group(session, "edison/students")
        draft = GroupDraft(
            "edison",
            "students",
            old.group.networks,
            old.group.asked,
            old.group.blocks,
            {one.service: one.switch for one in old.group.services},
            safe_search=True,
            youtube="strict",
        )
        changes = district.preview(session, {"edison/students": draft}).changes
        told = {(one.group, one.what, one.before, one.after) for one in changes}
        assert ("edison/students", "safe search", "off", "on") in told
        assert ("edison/students", "YouTube mode", "off", "strict") in told
        view = district.update_group(session, desk.amir, NOW, "edison/students", old.revision, draft)
        assert (view.group.safe_search, view.group.youtube) == (True, YouTube.STRICT)


def test_an_unknown_youtube_mode_is_refused(desk: Desk) -> None:
    with pytest.raises(Invalid) as caught, transaction(desk.engine) as session:
        district.preview(session, {"edison/staff": GroupDraft("edison", "staff", youtube="harsh")})
    assert [one.field for one in caught.value.errors] == ["edison/staff.youtube"]
