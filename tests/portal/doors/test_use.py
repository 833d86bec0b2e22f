"""An old allowlist, a month later: what resolvers said of its names, which are unused, and closing those."""

from __future__ import annotations

import pytest

from blocklists.exchange import GrantUse
from portal.database import reading, transaction
from portal.doors import exceptions, grants, use
from portal.doors.exceptions import ExceptionDraft
from portal.errors import Invalid
from portal.models.delivery import Node, Publication
from tests.portal.frontdesk import LISTS, NOW, Desk

LATER = NOW + use.MONTH + 2 * use.DAY
OLD = "maps.example\nquiz.example\nforgotten.example\n"


def imported(desk: Desk) -> int:
    """The allowlist, and one resolver that has been there since."""
    draft = ExceptionDraft("imported", (), ("*",), ("staff",), "The old filter's list", "2026-06-01")
    with transaction(desk.engine) as session:
        session.add(Node(name="edison-1", credential_hash="x", enrolled_at=NOW))
        return exceptions.import_allowlist(session, desk.amir, NOW, OLD, draft, LISTS).id


def said(desk: Desk, number: int, name: str, day: int, at: int) -> None:
    with transaction(desk.engine) as session:
        use.keep(session, 1, [GrantUse(grant=number, entry=name, day=day // use.DAY * use.DAY)], at)


def unused(desk: Desk, now: float = LATER) -> tuple[str, ...] | None:
    with reading(desk.engine) as session:
        (view,) = exceptions.find(session, now)
        return view.unused


def test_names_that_nobody_asked_for_in_a_month_are_marked_and_closed_in_one_step(desk: Desk) -> None:
    number = imported(desk)
    said(desk, number, "quiz.example", NOW, NOW)
    said(desk, number, "maps.example", LATER, LATER)
    said(desk, number, "maps.example", NOW, LATER)  # another resolver's older word changes nothing
    said(desk, number + 999, "maps.example", LATER, LATER)  # of no grant
    assert unused(desk) == ("quiz.example", "forgotten.example")
    before = desk.count(Publication)
    with transaction(desk.engine) as session:
        view = exceptions.narrow(session, desk.amir, LATER, number)
    assert ([one.name for one in view.entries], view.unused) == (["maps.example"], ())
    assert desk.count(Publication) == before + 1
    with reading(desk.engine) as session:
        (grant,) = grants.live(session, LATER)
        assert [one.name for one in grant.entries] == ["maps.example"]
    with pytest.raises(Invalid, match="Nothing is closed"), transaction(desk.engine) as session:
        exceptions.narrow(session, desk.amir, LATER, number)


def test_nothing_is_marked_before_every_resolver_has_looked_for_a_month(desk: Desk) -> None:
    number = imported(desk)
    assert unused(desk) is None, "the resolver has not said anything"
    said(desk, number, "maps.example", LATER, LATER - use.DAY)
    assert unused(desk) is None, "it looks since yesterday only, and is older than that"
    with transaction(desk.engine) as session:
        session.get_one(Node, 1).use_since = NOW
    assert unused(desk, NOW + use.DAY) is None, "the list is a day old"
    assert unused(desk) == ("quiz.example", "forgotten.example")


def test_a_list_of_which_nobody_asked_for_anything_is_revoked_as_a_whole(desk: Desk) -> None:
    number = imported(desk)
    with transaction(desk.engine) as session:
        use.keep(session, 1, [], NOW)
    assert len(unused(desk) or ()) == 3
    with pytest.raises(Invalid, match="revoke the grant"), transaction(desk.engine) as session:
        exceptions.narrow(session, desk.amir, LATER, number)
