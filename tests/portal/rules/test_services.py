"""Services as administrators edit them and as collections bring them: tools for requesters, and audited edits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlmodel import select

from portal.database import transaction
from portal.desk import requests, tools
from portal.desk.tools import ToolDraft
from portal.errors import Conflict, Forbidden, Invalid
from portal.lists import builds
from portal.models.audit import AuditEvent
from portal.rules import services
from portal.rules.blocking import known_services
from portal.rules.services import Draft
from tests.portal.frontdesk import NOW, Desk

CLUB = Draft("book-club", "Book Club", "social-media", "blog", ("bookclub.example",), (), "A new site of readers")


def test_a_new_service_is_a_tool_that_a_request_can_name_and_asks_for_a_base(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        services.create(session, desk.amir, NOW, CLUB)
    with transaction(desk.engine) as session:
        row = requests.submit(session, desk.tess, NOW, requests.Draft((ToolDraft("Book Club"),), "Reading together"))
        assert tools.stored(row.tools[0]).names == ("bookclub.example",)
        assert builds.under_way(session) is not None
        event = session.exec(select(AuditEvent).where(AuditEvent.tag == "district.service.edit")).one()
        assert (event.subject, event.detail["added"]) == ("service:book-club", ["bookclub.example"])


def test_an_edit_keeps_who_when_and_why_and_a_stale_one_is_refused(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        old = services.known(session)["instagram"].service
        more = Draft(
            "instagram", old.title, old.category, old.kind, (*old.names, "insta.example"), old.exceptions, "Seen"
        )
        edited = services.edit(session, desk.amir, NOW, 0, more)
        assert (edited.edited_by, edited.edited_at, edited.why, edited.revision) == (desk.amir.name, NOW, "Seen", 1)
        assert "insta.example" in known_services(session)["instagram"].names
    with transaction(desk.engine) as session, pytest.raises(Conflict, match=desk.amir.name):
        services.edit(session, desk.amir, NOW, 0, more)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "instagram"}, "id"),
        ({"names": ()}, "names"),
        ({"names": ("co.uk",)}, "names[0]"),
        ({"exceptions": ("elsewhere.example",)}, "exceptions[0]"),
        ({"kind": "game"}, "kind"),
        ({"category": "nothing"}, "category"),
        ({"why": " "}, "why"),
    ],
)
def test_a_service_that_cannot_be_is_refused_beside_its_field(
    desk: Desk, change: dict[str, object], field: str
) -> None:
    with transaction(desk.engine) as session, pytest.raises(Invalid) as refusal:
        services.create(session, desk.amir, NOW, replace(CLUB, **change))  # type: ignore[arg-type]
    assert field in {one.field for one in refusal.value.errors}


def test_only_an_administrator_edits_services(desk: Desk) -> None:
    with transaction(desk.engine) as session, pytest.raises(Forbidden):
        services.create(session, desk.rosa, NOW, CLUB)


def test_what_a_collection_brings_joins_the_seed_and_leaves_a_persons_edit_alone(desk: Desk) -> None:
    def brought(id: str, name: str) -> dict[str, object]:
        plain = {"id": id, "title": id.title(), "category": "social-media", "kind": "social-network"}
        return {**plain, "names": [name], "exceptions": [], "origin": "v2fly-social-media"}

    with transaction(desk.engine) as session:
        services.create(session, desk.amir, NOW, CLUB)
        found = [brought("instagram", "ig.example"), brought("pixies", "pixies.example"), brought("book-club", "x.net")]
        services.brought(session, found)
        known = services.known(session)
    assert {"ig.example", "instagram.com"} <= set(known["instagram"].service.names)
    assert known["instagram"].service.title == "Instagram"
    assert known["pixies"].origin == "v2fly-social-media"
    assert known["book-club"].service.names == ("bookclub.example",)
