"""Device profiles: made once, known by their digest, ended for good."""

from __future__ import annotations

import pytest
from sqlmodel import select

from blocklists.clients import ClientTable, parse_address, profile_digest
from blocklists.policy import UNASSIGNED
from portal.database import transaction
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.models.audit import AuditEvent
from portal.places import district, profiles
from tests.portal.frontdesk import NOW, Desk

ELSEWHERE = parse_address("203.0.113.9")


def group_of(desk: Desk, token: str) -> str:
    with transaction(desk.engine) as session:
        table = ClientTable(view.group for view in district.groups(session))
    return table.find(ELSEWHERE, profile=profile_digest(token)).group


def test_a_device_is_in_its_profile_s_group_until_the_profile_ends(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        token = profiles.create(session, desk.amir, NOW, "edison/staff", "staff laptops")
    assert token.isalnum() and token == token.lower() and len(token) == 20
    assert group_of(desk, token) == group_of(desk, token.upper()) == "edison/staff"
    assert group_of(desk, "another") == UNASSIGNED
    with transaction(desk.engine) as session:
        (view,) = profiles.find(session)
        assert (view.group, view.name, view.created_by) == ("edison/staff", "staff laptops", desk.amir.name)
        profiles.end(session, desk.amir, NOW + 1, view.id)
    assert group_of(desk, token) == UNASSIGNED
    with transaction(desk.engine) as session, pytest.raises(Conflict):
        profiles.end(session, desk.amir, NOW + 2, view.id)
    with transaction(desk.engine) as session:
        events = session.exec(select(AuditEvent).where(AuditEvent.subject == f"profile:{view.id}")).all()
        assert [one.tag for one in events] == ["district.profile.create", "district.profile.end"]
        assert token not in str([one.detail for one in events])


def test_a_change_of_the_group_leaves_its_profiles_alone(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        token = profiles.create(session, desk.amir, NOW, "edison/staff", "staff laptops")
        view = district.group(session, "edison/staff")
        draft = district.GroupDraft("edison", "staff", ("10.77.0.0/16",), (), (), {})
        district.update_group(session, desk.amir, NOW, "edison/staff", view.revision, draft)
    assert group_of(desk, token) == "edison/staff"


def test_what_cannot_be_is_refused(desk: Desk) -> None:
    with transaction(desk.engine) as session, pytest.raises(Invalid) as caught:
        profiles.create(session, desk.amir, NOW, "edison/nobody", " ")
    assert [one.field for one in caught.value.errors] == ["group", "name"]
    with transaction(desk.engine) as session, pytest.raises(Forbidden):
        profiles.create(session, desk.rosa, NOW, "edison/staff", "mine")
    with transaction(desk.engine) as session, pytest.raises(NotFound):
        profiles.end(session, desk.amir, NOW, 9)
