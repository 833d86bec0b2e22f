"""The yearly register of platforms: who keeps it, what is published, and what an entry opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlmodel import Session, col, select

from blocklists.policy import AuthorityKind, Match
from portal.access import SYSTEM, Actor
from portal.database import reading, transaction
from portal.doors import grants, platforms, register
from portal.doors.platforms import Draft
from portal.doors.register import EntryView, Register
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.models.audit import AuditEvent
from portal.models.levers import GrantRow
from portal.models.platforms import EntryState, Parents
from portal.people import accounts
from portal.people.accounts import UserDraft
from portal.people.sessions import user_actor
from portal.places import district, years
from tests.portal.frontdesk import LISTS, NOW, Desk

YEAR = "2025-26"  # that of NOW
SQUARE = Draft("Messages of the School", "Notes home", "The office reads along", "automatic", names=("square.example",))


@pytest.fixture
def dora(desk: Desk) -> Actor:
    with transaction(desk.engine) as session:
        made = accounts.create_user(
            session, SYSTEM, NOW, UserDraft("dora.lind@riverbend.example", "Dora Lind", ("designee",)), ""
        )
        return user_actor(made)


@contextmanager
def keeping(desk: Desk) -> Iterator[Session]:
    with transaction(desk.engine) as session:
        yield session


def entered(desk: Desk, who: Actor, draft: Draft = SQUARE, year: str = YEAR, now: float = NOW) -> EntryView:
    with keeping(desk) as session:
        return platforms.create(session, who, now, year, draft, LISTS)


def published(desk: Desk, who: Actor, draft: Draft = SQUARE, year: str = YEAR, now: float = NOW) -> EntryView:
    made = entered(desk, who, draft, year, now)
    with keeping(desk) as session:
        return platforms.publish(session, who, now, year, made.id, made.revision, LISTS)


def read(desk: Desk, year: str = YEAR) -> Register:
    with reading(desk.engine) as session:
        return register.published(session, year)


def live(desk: Desk, now: float = NOW) -> dict[str, AuthorityKind]:
    """What is open by which authority."""
    with reading(desk.engine) as session:
        return {entry.name: one.authority.kind for one in grants.live(session, now) for entry in one.entries}


def test_a_school_year_is_july_through_june_and_nothing_else_is_one(desk: Desk) -> None:
    year = years.read("2026-27")
    assert (year.first, year.last, year.before, year.after) == (
        date(2026, 7, 1),
        date(2027, 6, 30),
        "2025-26",
        "2027-28",
    )
    for text in ("2026-28", "2026", "2026-2027", "1999-00", "2099-00", "2026-27\n", "٢٠٢٦-27", ""):
        with pytest.raises(NotFound, match="no school year"):
            years.read(text)
    with reading(desk.engine) as session:
        for day, label in (((2026, 6, 30), "2025-26"), ((2026, 7, 1), "2026-27")):
            assert years.current(session, datetime(*day, 18, tzinfo=UTC).timestamp()).label == label


def test_only_the_designee_keeps_the_register_and_only_the_published_is_public(desk: Desk, dora: Actor) -> None:
    for who in (desk.tess, desk.rosa, desk.amir, desk.ada):
        with pytest.raises(Forbidden, match="designee"):
            entered(desk, who)
    made = entered(desk, dora)
    assert read(desk).entries == () and read(desk).published_on is None
    with reading(desk.engine) as session:
        for who in (dora, desk.amir, desk.ada):
            assert [one.name for one in register.whole(session, who, YEAR).entries] == [SQUARE.name]
        for who in (desk.tess, desk.rosa):
            with pytest.raises(Forbidden):
                register.whole(session, who, YEAR)
    with keeping(desk) as session:
        with pytest.raises(Forbidden):
            platforms.publish(session, desk.amir, NOW, YEAR, made.id, made.revision, LISTS)
        platforms.publish(session, dora, NOW, YEAR, made.id, made.revision, LISTS)
    (one,) = read(desk).entries
    assert (one.state, one.published_by, one.parents) == (EntryState.PUBLISHED, "Dora Lind", Parents.AUTOMATIC)
    assert read(desk).published_on == date(2026, 3, 4)


def test_every_mistake_of_an_entry_is_told_at_once(desk: Desk, dora: Actor) -> None:
    wrong = Draft("", "", " ", "not-feasible", "", ("nowhere",), ("com", "pornhub.com"), ("mars",), ())
    with pytest.raises(Invalid) as told:
        entered(desk, dora, wrong)
    assert {one.field.split("[")[0] for one in told.value.errors} == {
        *("name", "purpose", "leaders", "parents_why", "services", "names", "sites", "audiences"),
    }
    assert any("locked by law" in one.message for one in told.value.errors)
    entered(desk, dora)
    with pytest.raises(Invalid, match="mend"):
        entered(desk, dora, replace(SQUARE, name=SQUARE.name.upper()))


def test_a_published_entry_opens_its_names_by_the_registers_authority_until_the_year_ends(
    desk: Desk, dora: Actor
) -> None:
    made = published(desk, dora, replace(SQUARE, names=("https://Square.Example/login",), services=("instagram",)))
    assert made.names == ("square.example",)
    assert "instagram.com" in made.opens
    with reading(desk.engine) as session:
        (one,) = grants.live(session, NOW)
        zone = district.zone(session)
        view = grants.get(session, desk.tess, NOW, one.number)
    assert {entry.name for entry in one.entries} == set(made.opens)
    assert {entry.match for entry in one.entries} == {Match.SUBTREE}
    assert (one.authority.kind, one.sites, one.audiences) == (AuthorityKind.REGISTER, ("*",), ("students", "staff"))
    assert view.reason == f"register 2025-26: {SQUARE.name}"
    end = datetime(2026, 7, 1, tzinfo=zone).timestamp()
    assert "square.example" in live(desk, end - 1)
    assert live(desk, end) == {}


def test_retiring_closes_the_names_and_says_so(desk: Desk, dora: Actor) -> None:
    made = published(desk, dora)
    with pytest.raises(Invalid), keeping(desk) as session:
        platforms.retire(session, dora, NOW, YEAR, made.id, made.revision, " ")
    with keeping(desk) as session:
        platforms.retire(session, dora, NOW, YEAR, made.id, made.revision, "The vendor sells data")
    assert live(desk) == {}
    (one,) = read(desk).entries
    assert (one.state, one.retired_on, one.retire_reason) == (
        EntryState.RETIRED,
        date(2026, 3, 4),
        "The vendor sells data",
    )
    for deed in (platforms.publish, platforms.retire):
        with pytest.raises(Conflict, match="retired"), keeping(desk) as session:
            deed(session, dora, NOW, YEAR, made.id, one.revision, LISTS)  # type: ignore[operator]


def test_a_change_of_a_published_entry_replaces_its_grant_only_when_it_opens_something_else(
    desk: Desk, dora: Actor
) -> None:
    made = published(desk, dora)

    def saved(draft: Draft, revision: int) -> EntryView:
        with keeping(desk) as session:
            return platforms.edit(session, dora, NOW, YEAR, made.id, revision, draft, LISTS)

    same = saved(replace(SQUARE, purpose="Notes home, and grades"), made.revision)
    assert same.grant == made.grant
    other = saved(replace(SQUARE, names=("circle.example",)), same.revision)
    assert other.grant != made.grant and live(desk) == {"circle.example": AuthorityKind.REGISTER}
    none = saved(replace(SQUARE, names=()), other.revision)
    assert none.grant is None and live(desk) == {}


def test_whoever_read_an_older_revision_is_told_and_changes_nothing(desk: Desk, dora: Actor) -> None:
    made = published(desk, dora)
    with pytest.raises(Conflict, match="meantime"), keeping(desk) as session:
        platforms.edit(session, dora, NOW, YEAR, made.id, made.revision - 1, replace(SQUARE, name="Late"), LISTS)
    with pytest.raises(Conflict, match="meantime"), keeping(desk) as session:
        platforms.retire(session, dora, NOW, YEAR, made.id, made.revision - 1, "late")
    assert [one.name for one in read(desk).entries] == [SQUARE.name]
    assert live(desk) == {"square.example": AuthorityKind.REGISTER}
    with pytest.raises(NotFound), keeping(desk) as session:
        platforms.retire(session, dora, NOW, "2026-27", made.id, made.revision, "another year's")


def test_a_name_that_was_locked_since_is_not_opened_by_publishing(desk: Desk, dora: Actor) -> None:
    made = entered(desk, dora)
    locked = replace(LISTS, locked_names={"square.example": "Adult content"})
    with pytest.raises(Invalid) as told, keeping(desk) as session:
        platforms.publish(session, dora, NOW, YEAR, made.id, made.revision, locked)
    assert "locked by law or for safety" in told.value.errors[0].message
    assert live(desk) == {} and read(desk).entries == ()


def test_a_year_that_is_over_opens_nothing_more_and_a_coming_one_waits_for_its_start(desk: Desk, dora: Actor) -> None:
    with pytest.raises(Conflict, match="is over"):
        published(desk, dora, year="2024-25")
    made = published(desk, dora, year="2026-27")
    with reading(desk.engine) as session:
        view = grants.get(session, desk.tess, NOW, made.grant or 0)
        assert view.status is grants.GrantStatus.SCHEDULED
        assert view.scope.window.starts_at == datetime(2026, 7, 1, tzinfo=district.zone(session)).timestamp()


def test_last_years_entries_are_carried_over_once_as_drafts_and_published_together(desk: Desk, dora: Actor) -> None:
    kept = published(desk, dora, replace(SQUARE, parents="not-feasible", parents_why="It is a loudspeaker"))
    gone = published(desk, dora, replace(SQUARE, name="Old", names=()))
    entered(desk, dora, replace(SQUARE, name="Never published"))
    with keeping(desk) as session:
        platforms.retire(session, dora, NOW, YEAR, gone.id, gone.revision, "x")
        assert platforms.carry_over(session, dora, NOW, "2026-27") == 1
        with pytest.raises(Conflict):
            platforms.carry_over(session, dora, NOW, "2026-27")
    with reading(desk.engine) as session:
        (draft,) = register.whole(session, dora, "2026-27").entries
    assert (draft.state, draft.carried, draft.grant) == (EntryState.DRAFT, True, None)
    assert (draft.name, draft.names, draft.parents, draft.parents_why) == (
        kept.name,
        kept.names,
        kept.parents,
        "It is a loudspeaker",
    )
    with keeping(desk) as session:
        assert platforms.publish_all(session, dora, NOW, "2026-27", LISTS) == 1
        with pytest.raises(Conflict):
            platforms.publish_all(session, dora, NOW, "2026-27", LISTS)
    assert [one.name for one in read(desk, "2026-27").entries] == [kept.name]


def test_the_list_is_handed_on_once_it_is_published_and_says_whether_it_was_late(desk: Desk, dora: Actor) -> None:
    with pytest.raises(Conflict, match="not published"), keeping(desk) as session:
        platforms.distribute(session, dora, NOW, YEAR, "2026-03-04", "all employees", "by e-mail")
    published(desk, dora)
    with keeping(desk) as session:
        for day in ("2026-03-03", "2026-03-05", "soon"):
            with pytest.raises(Invalid):
                platforms.distribute(session, dora, NOW, YEAR, day, "all employees", "by e-mail")
        platforms.distribute(session, dora, NOW, YEAR, "2026-03-04", "all employees", "by e-mail")
        row = district.get(session)
        row.terms = [{"name": "Autumn", "starts_on": "2025-08-18", "ends_on": "2025-12-19"}]
        session.add(row)
    (handed,) = read(desk).distributed
    assert (handed.day, handed.recipients, handed.how) == (date(2026, 3, 4), "all employees", "by e-mail")
    assert read(desk).begins == date(2025, 8, 18) and read(desk).late


def test_an_entry_whose_grant_somebody_revoked_says_that_it_is_closed(desk: Desk, dora: Actor) -> None:
    made = published(desk, dora)
    with keeping(desk) as session:
        grants.revoke(session, desk.rosa, NOW, made.grant or 0, "abuse")
    assert read(desk).entries[0].closed
    with keeping(desk) as session:
        again = platforms.edit(session, dora, NOW, YEAR, made.id, made.revision, SQUARE, LISTS)
    assert again.closed and live(desk) == {}  # saving it does not undo a reviewer's word


def test_every_change_leaves_an_event_and_what_opens_asks_for_a_policy(desk: Desk, dora: Actor) -> None:
    made = published(desk, dora)
    with keeping(desk) as session:
        platforms.distribute(session, dora, NOW, YEAR, "2026-03-04", "staff", "by e-mail")
        changed = replace(SQUARE, names=("b.example",))
        other = platforms.edit(session, dora, NOW, YEAR, made.id, made.revision, changed, LISTS)
        platforms.retire(session, dora, NOW, YEAR, made.id, other.revision, "x")
    with reading(desk.engine) as session:
        mine = select(AuditEvent).where(col(AuditEvent.tag).startswith("register.")).order_by(col(AuditEvent.id))
        rows = session.exec(mine).all()
        ends = [row.in_version for row in session.exec(select(GrantRow))]
    assert [row.tag.removeprefix("register.") for row in rows] == [
        *("entry.create", "grant.open", "entry.publish", "list.distribute"),
        *("grant.end", "grant.open", "entry.update", "grant.end", "entry.retire"),
    ]
    assert {row.actor for row in rows} == {dora.reference} and ends == [None, None]
