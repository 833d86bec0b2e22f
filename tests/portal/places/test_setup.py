"""The first day: settings, the one question, sites from a file, observing and enforcing."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from portal.access import SYSTEM
from portal.database import reading, transaction
from portal.errors import Forbidden, Invalid
from portal.models.audit import AuditEvent
from portal.models.delivery import Publication
from portal.places import district, setup, site_import
from portal.places.setup import SettingsDraft, Term
from tests.portal.frontdesk import NOW, Desk

DRAFT = SettingsDraft(
    "Riverbend ISD",
    "America/Denver",
    "desk@riverbend.example",
    "#1F6FEB",
    (Term("Fall", "2025-08-18", "2025-12-19"), Term("Spring", "2026-01-05", "2026-05-29")),
    ("riverbend.example",),
)
FILE = """site,name,level,audience,networks
edison,Edison High School,high,students,127.0.0.1 127.0.0.2 ::1
tesla,Tesla Elementary,elementary,students,10.20.0.0/16
tesla,,,guests,10.21.0.0/16
tesla,,,staff,10.20.4.0/24; 2001:db8:20::/48
"""


def test_the_settings_are_kept_and_a_request_ends_with_the_term(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        row = setup.save(session, desk.amir, NOW, DRAFT)
    assert (row.zone, row.contact, row.colour) == ("America/Denver", "mailto:desk@riverbend.example", "#1f6feb")
    assert (row.term_ends_on, row.own_names) == ("2026-05-29", ["riverbend.example"])


def test_a_term_without_a_name_is_called_as_its_field_says(desk: Desk) -> None:
    unnamed = (Term(" ", "2025-08-18", "2025-12-19"), Term("Spring", "2026-01-05", "2026-05-29"))
    with transaction(desk.engine) as session:
        row = setup.save(session, desk.amir, NOW, replace(DRAFT, terms=unnamed))
        assert [one["name"] for one in row.terms] == ["Term 1", "Spring"]


def test_every_mistake_of_the_settings_is_told_at_once(desk: Desk) -> None:
    terms = (Term("Fall", "2025-08-18", "2025-08-18"), Term("x" * 61, "2025-08-01", "x"))
    bad = SettingsDraft(" ", "Mars/Olympus", "ask around", "blue", terms, ("a..b",))
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        setup.save(session, desk.amir, NOW, bad)
    assert {error.field for error in refusal.value.errors} == {
        "name", "zone", "contact", "colour", "terms[0].ends_on", "terms[1].name", "terms[1].ends_on", "own_names[0]",
    }  # fmt: skip
    with pytest.raises(Forbidden), transaction(desk.engine) as session:
        setup.save(session, desk.rosa, NOW, DRAFT)


def test_the_answer_about_staff_is_on_record_and_reaches_every_staff_group(desk: Desk) -> None:
    def staff() -> set[bool]:
        with reading(desk.engine) as session:
            groups = [view.group for view in district.groups(session) if view.group.audience == "staff"]
        return {"social-media" in group.blocks for group in groups}

    assert staff() == {True}
    for allowed in (True, False):
        with transaction(desk.engine) as session:
            row = setup.answer_staff_social_media(session, desk.amir, NOW, allowed)
            assert (row.staff_social_media, row.answered_by, row.answered_at) == (allowed, "Amir Khan", NOW)
        assert staff() == {not allowed}


def test_a_dry_run_says_what_the_import_does_and_leaves_nothing(desk: Desk) -> None:
    before = desk.count(Publication), desk.count(AuditEvent)
    with transaction(desk.engine) as session:
        report = site_import.dry_run(session, desk.amir, NOW, FILE)
    assert (desk.count(Publication), desk.count(AuditEvent)) == before
    with reading(desk.engine) as session:
        assert "tesla" not in {site.id for site in district.sites(session)}
    assert [line.where for line in report.changes] == ["tesla", "tesla/students", "tesla/guests", "tesla/staff"]
    assert report.overlaps == (
        "10.20.4.0/24 (tesla/staff) lies inside 10.20.0.0/16 (tesla/students); the smaller one wins",
    )
    assert not [gap for gap in report.gaps if "tesla" in gap]
    with transaction(desk.engine) as session:
        assert site_import.run(session, desk.amir, NOW, FILE) == report
    with transaction(desk.engine) as session:
        assert site_import.run(session, desk.amir, NOW, FILE).changes == ()
        views = {view.group.id: view for view in district.groups(session)}
    assert views["tesla/guests"].group.blocks == views["tesla/students"].group.blocks != ()
    assert "social-media" in views["tesla/staff"].group.blocks
    assert views["tesla/staff"].group.observe_until == NOW + district.OBSERVE_SECONDS


@pytest.mark.parametrize(
    ("text", "field", "sentence"),
    [
        ("site,networks\n", "line 1", "no column 'audience'"),
        ("site,audience,networks\n", "line 1", "names no group"),
        ("site,audience,networks\nedison,parents,10.9.0.0/16\n", "line 2", "'parents' is not one of"),
        ("site,audience,networks\nnew,staff,127.0.0.13/32\n", "line 2", "'lincoln/staff'"),
        ("site,audience,networks\nA B,staff,10.9.0.0/16\n", "line 2", "small letters"),
        ("site,audience,networks\na,staff,10.9.0.0/16\na,staff,10.8.0.0/16\n", "line 3", "stands in line 2"),
        ("site,level,audience,networks\nb,moon,staff,10.9.0.0/16\n", "line 2", "'moon' is not one of"),
        ('site,audience,networks\nb,staff,"10.9.0.0/16\n', "line 2", "is not CSV"),
    ],
)
def test_a_file_with_a_mistake_imports_nothing_and_names_the_line(
    desk: Desk, text: str, field: str, sentence: str
) -> None:
    before = desk.count(AuditEvent)
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        site_import.run(session, desk.amir, NOW, text)
    assert [one for one in refusal.value.errors if one.field == field and sentence in one.message]
    assert desk.count(AuditEvent) == before


def test_observing_ends_when_it_is_enforced_and_comes_back_only_with_a_reason(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        assert setup.enforce(session, desk.amir, NOW, ("edison/staff",)) == 0
        with pytest.raises(Invalid, match="mend"):
            setup.observe(session, desk.amir, NOW, ("edison/staff",), 7, " ")
        with pytest.raises(Invalid, match="mend"):
            setup.observe(session, desk.amir, NOW, ("edison/staff",), 61, "A new wing")
        with pytest.raises(Invalid, match="list"):
            setup.enforce(session, desk.amir, NOW, ("atlantis/staff",))
        assert setup.observe(session, desk.amir, NOW, ("edison/staff",), 7, "A new wing") == 1
        assert district.group(session, "edison/staff").group.observe_until == NOW + 7 * 86_400
        points = {point.id: point for point in setup.checklist(session, desk.amir, NOW)}
        assert (points["enforce"].done, points["enforce"].about) == (False, "1 of 10 groups only observed")
        assert setup.enforce(session, SYSTEM, NOW, ("edison/staff",)) == 1
        assert all(setup.checklist(session, desk.amir, NOW)[at].done == (at in (0, 3, 4, 6)) for at in range(7))


def test_eighty_sites_come_from_one_file(desk: Desk) -> None:
    lines = [
        f"school-{at},School {at},high,{audience},10.{at}.{third}.0/24"
        for at in range(80)
        for third, audience in enumerate(("students", "staff", "guests"))
    ]
    began = time.perf_counter()
    with transaction(desk.engine) as session:
        report = site_import.run(session, desk.amir, NOW, "\n".join([FILE.splitlines()[0], *lines]))
        assert (report.sites, report.groups, len(report.changes)) == (80, 240, 320)
    print(f"80 sites, 240 groups: {time.perf_counter() - began:.2f} s")
    with reading(desk.engine) as session:
        assert len(district.groups(session)) == 250
