"""What a grant may open, for whom and when; its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from blocklists.policy import Audience, Entry, Hours, Match
from portal.database import reading, transaction
from portal.doors import grants
from portal.doors.grants import EntryDraft, GrantDraft, GrantStatus, HoursDraft, Scope
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.models.delivery import Publication
from portal.models.words import Role
from tests.portal.frontdesk import LISTS, NOW, Desk, grant

BAD_NAMES = [
    ("com", "public suffix"),
    ("co.uk", "public suffix"),
    ("blogspot.com", "public suffix"),
    ("127.0.0.1", "IP address"),
    ("2001:db8::1", "IP address"),
    ("localhost", "each computer's own name"),
    ("x.localhost", "each computer's own name"),
    ("", "no name here"),
    ("a..b.com", "empty part"),
    ("a" * 64 + ".com", "at most 63"),
    ("pornhub.com", "locked by law or for safety"),
    ("https://pornhub.com/x", "locked by law or for safety"),
]


def checked(desk: Desk, draft: GrantDraft) -> tuple[Scope | None, dict[str, str]]:
    with reading(desk.engine) as session:
        scope, errors = grants.check(session, NOW, draft, LISTS)
    return scope, {error.field: error.message for error in errors}


@pytest.mark.parametrize(("name", "sentence"), BAD_NAMES)
def test_a_name_that_cannot_be_granted_is_refused_with_the_reason(desk: Desk, name: str, sentence: str) -> None:
    scope, errors = checked(desk, grant(name))
    assert scope is None
    assert sentence in errors["entries[0].name"]


def test_every_mistake_of_a_grant_is_told_at_once(desk: Desk) -> None:
    draft = GrantDraft(
        entries=(EntryDraft("flickr.com"), EntryDraft("com", "wild")),
        sites=("nowhere",),
        audiences=(),
        starts_at="yesterday",
        ends_at="",
        hours=(
            HoursDraft((7,), "08:00", "09:00"),
            HoursDraft((0,), "8 o'clock", "09:00"),
            HoursDraft((0,), "9:00", "8:00"),
        ),
    )
    assert set(checked(desk, draft)[1]) == {
        "entries[1].match",
        "entries[1].name",
        "sites[0]",
        "audiences",
        "starts_at",
        "ends_at",
        "hours[0].days",
        "hours[1]",
        "hours[2]",
    }


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "field", "sentence"),
    [
        ("2026-03-05", "2026-03-04", "ends_at", "not after the start"),
        ("2026-03-04T10:00", "2026-03-04T10:00", "ends_at", "not after the start"),
        ("2026-03-01", "2026-03-03", "ends_at", "over already"),
        ("2026-03-04", "2028-03-04", "ends_at", "at most 400 days"),
        ("1999-03-04", "2026-03-05", "starts_at", "year"),
        ("2026-02-30", "2026-03-05", "starts_at", "not a date"),
        ("2026-03-04", "9999-12-31", "ends_at", "year"),
        ("0001-01-01T00:00+14:00", "2026-03-05", "starts_at", "year"),
    ],
)
def test_a_window_must_be_possible(desk: Desk, starts_at: str, ends_at: str, field: str, sentence: str) -> None:
    assert sentence in checked(desk, replace(grant(), starts_at=starts_at, ends_at=ends_at))[1][field]


def test_days_and_times_are_the_districts_and_an_end_day_is_included(desk: Desk) -> None:
    def window(starts_at: str, ends_at: str) -> tuple[datetime, datetime]:
        scope, errors = checked(desk, replace(grant(), starts_at=starts_at, ends_at=ends_at))
        assert scope is not None, errors
        assert scope.window.ends_at is not None
        return datetime.fromtimestamp(scope.window.starts_at, UTC), datetime.fromtimestamp(scope.window.ends_at, UTC)

    # The clocks go forward on 8 March 2026: CST is UTC-6, CDT is UTC-5.
    assert window("2026-03-07", "2026-03-08") == (
        datetime(2026, 3, 7, 6, tzinfo=UTC),
        datetime(2026, 3, 9, 5, tzinfo=UTC),
    )
    assert window("2026-03-04T08:00", "2026-03-04T15:00") == (
        datetime(2026, 3, 4, 14, tzinfo=UTC),
        datetime(2026, 3, 4, 21, tzinfo=UTC),
    )
    assert window("2026-03-04T15:00:00Z", "2026-03-05T10:00:00-06:00")[1] == datetime(2026, 3, 5, 16, tzinfo=UTC)


def test_a_good_grant_is_read_whole(desk: Desk) -> None:
    draft = replace(
        grant("https://WWW.Flickr.com/explore", "exact"),
        sites=("edison", "lincoln", "edison"),
        audiences=("staff", "students"),
    )
    draft = replace(draft, hours=(HoursDraft((4, 0, 0), "08:15", "24:00"),))
    draft = replace(draft, entries=(*draft.entries, *draft.entries, EntryDraft("cdn.example.net", "via")))
    scope, errors = checked(desk, draft)
    assert errors == {}
    assert scope is not None
    assert scope.entries == (Entry("www.flickr.com", Match.EXACT), Entry("cdn.example.net", Match.VIA))
    assert scope.sites == ("edison", "lincoln")
    assert scope.audiences == (Audience.STUDENTS, Audience.STAFF)
    assert scope.window.hours == (Hours((0, 4), 8 * 60 + 15, 24 * 60),)
    assert checked(desk, replace(draft, sites=("edison", "*")))[0] == replace(scope, sites=("*",))


def test_a_grant_of_targets_alone_opens_nothing_and_is_refused(desk: Desk) -> None:
    assert "opened when it is asked for" in checked(desk, grant("cdn.example.net", "via"))[1]["entries"]


def test_a_revocation_is_published_and_told_to_whoever_comes_second(desk: Desk) -> None:
    desk.approve(desk.submit())
    before = desk.count(Publication)
    with transaction(desk.engine) as session:
        view = grants.revoke(session, desk.rosa, NOW, 1, "It was misused.")
    assert (view.status, view.revoked_by, view.revoke_reason) == (GrantStatus.REVOKED, "Rosa Diaz", "It was misused.")
    assert desk.count(Publication) == before + 1
    with transaction(desk.engine) as session:
        assert grants.live(session, NOW) == ()
        with pytest.raises(Conflict, match=r"Rosa Diaz revoked this at 10:42 CST; reload"):
            grants.revoke(session, desk.amir, NOW, 1, "Me too.")


def test_who_revokes_and_why_and_what(desk: Desk) -> None:
    desk.approve(desk.submit())
    robot = desk.machine(Role.ADMINISTRATOR)
    with transaction(desk.engine) as session:
        for who in (desk.tess, desk.ada, robot):
            with pytest.raises(Forbidden):
                grants.revoke(session, who, NOW, 1, "no")
        with pytest.raises(Invalid):
            grants.revoke(session, desk.amir, NOW, 1, "  ")
        with pytest.raises(NotFound):
            grants.revoke(session, desk.amir, NOW, 2, "gone")
        with pytest.raises(Conflict, match="ended on 23 May 2026"):
            grants.revoke(session, desk.amir, NOW + 100 * 86400, 1, "late")


def test_status_follows_the_clock_and_finding_by_it_agrees(desk: Desk) -> None:
    desk.approve(desk.submit("flickr.com"))
    desk.approve(desk.submit("pinterest.com"))
    with transaction(desk.engine) as session:
        grants.revoke(session, desk.rosa, NOW, 2, "enough")
    moments = {
        NOW - 86400: GrantStatus.SCHEDULED,
        NOW: GrantStatus.IN_WINDOW,
        NOW + 100 * 86400: GrantStatus.ENDED,
    }
    with reading(desk.engine) as session:
        for now, expected in moments.items():
            assert grants.get(session, desk.tess, now, 1).status is expected
            for status in GrantStatus:
                found = [view.id for view in grants.find(session, desk.tess, now, status)]
                assert found == ([1] if status is expected else [2] if status is GrantStatus.REVOKED else [])
            assert [one.number for one in grants.live(session, now)] == ([] if expected is GrantStatus.ENDED else [1])
