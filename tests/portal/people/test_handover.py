"""What a leaver had passes on, whole and on record."""

from __future__ import annotations

import pytest
from sqlmodel import col, desc, select

from portal.database import reading, transaction
from portal.desk import queue, requests
from portal.desk.workflow import Event
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.models.audit import AuditEvent
from portal.people import handover
from portal.people.accounts import UserDraft, create_user, disable
from portal.people.directory import Wanted, find
from tests.portal.frontdesk import LISTS, NOW, Desk


def test_requests_and_their_grants_pass_to_a_co_owner_who_can_go_on_with_them(desk: Desk) -> None:
    number = desk.submit()
    with transaction(desk.engine) as session:
        requests.decide(session, desk.rosa, NOW, number, 1, Event.ASK, "For which class?", None, LISTS)
        to = create_user(session, desk.amir, NOW, UserDraft("cora@riverbend.example", "Cora", ("requester",)), "")
        passed = handover.hand_over(session, desk.amir, NOW, desk.tess.id, " Cora@riverbend.example ")
        assert (passed.requests, passed.to.id) == ((number,), to.id)
    with reading(desk.engine) as session:
        event = session.exec(select(AuditEvent).order_by(desc(col(AuditEvent.id)))).first()
        assert event is not None
        assert (event.tag, event.subject) == ("people.user.hand-over", f"user:{desk.tess.id}")
        assert event.detail == {"from": f"user:{desk.tess.id}", "to": f"user:{to.id}", "requests": [number]}
        with pytest.raises(NotFound):
            queue.get(session, desk.tess, NOW, number)


def test_without_a_name_they_pass_to_a_reviewer_who_then_cannot_decide_them(desk: Desk) -> None:
    number = desk.submit()
    with transaction(desk.engine) as session:
        to = handover.hand_over(session, desk.amir, NOW, desk.tess.id, "").to
        reviewer = {desk.rosa.id: desk.rosa, desk.ben.id: desk.ben}[to.id or 0]
        with pytest.raises(Forbidden, match="own request"):
            requests.decide(session, reviewer, NOW, number, 2, Event.DENY, "No", None, LISTS)


def test_a_page_that_was_open_before_the_hand_over_is_stale(desk: Desk) -> None:
    number = desk.submit()
    with transaction(desk.engine) as session:
        handover.hand_over(session, desk.amir, NOW, desk.tess.id, "ben.ode@riverbend.example")
        with pytest.raises(Conflict):
            requests.decide(session, desk.rosa, NOW, number, 1, Event.DENY, "No", None, LISTS)


@pytest.mark.parametrize("who", ["nobody", "tess.okafor", "ada.li"])
def test_nobody_the_leaver_and_an_auditor_get_nothing(desk: Desk, who: str) -> None:
    desk.submit()
    with transaction(desk.engine) as session, pytest.raises(Invalid):
        handover.hand_over(session, desk.amir, NOW, desk.tess.id, f"{who}@riverbend.example")


def test_a_disabled_colleague_gets_nothing_and_a_teacher_hands_nothing_over(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        disable(session, desk.amir, NOW, desk.ben.id)
        with pytest.raises(Invalid, match="Nothing"):
            handover.hand_over(session, desk.amir, NOW, desk.tess.id, "ben.ode@riverbend.example")
        with pytest.raises(Forbidden):
            handover.hand_over(session, desk.tess, NOW, desk.tess.id, "")


def test_accounts_are_found_by_word_role_site_and_state_a_page_at_a_time(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        for number in range(25):
            draft = UserDraft(f"t{number}@riverbend.example", f"Teacher {number:02}", ("requester",), "edison")
            create_user(session, desk.amir, NOW, draft, "")
        disable(session, desk.amir, NOW, desk.ben.id)
    with reading(desk.engine) as session:

        def names(wanted: Wanted, page: int = 1) -> list[str]:
            return [user.name for user in find(session, desk.amir, wanted, page, 10).users]

        assert names(Wanted("teacher"), 3) == [f"Teacher {number}" for number in range(20, 25)]
        assert find(session, desk.amir, Wanted("teacher 1"), 1, 10).total == 12  # 01, 10 to 19, 21
        assert names(Wanted(role="reviewer", state="active")) == ["Rosa Diaz"]
        assert names(Wanted(state="disabled")) == ["Ben Ode"]
        assert names(Wanted("100%")) == []
        assert names(Wanted("teacher", site="edison", descending=True))[0] == "Teacher 24"
        with pytest.raises(Forbidden):
            find(session, desk.rosa, Wanted(), 1, 10)
