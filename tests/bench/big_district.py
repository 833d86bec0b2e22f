"""A big district in rows: 97 sites and the demo's in 300 groups, 2,000 accounts, 5,000 grants, 200,000 audit events.

Beside them what such a district has gathered of everything else, so that no page of the bench is an empty one.
"""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, select

from blocklists.policy import AuthorityKind, Match
from portal import audit
from portal.access import SYSTEM, Actor
from portal.catalogue import Catalogue
from portal.desk.tools import Tool, store
from portal.doors import modes
from portal.lists.bases import require_base
from portal.models.audit import AuditEvent
from portal.models.delivery import Node
from portal.models.levers import BrakeRow, CorrectionRow, CustomBlockRow, GrantRow
from portal.models.lists import BaseBuild, BuildState
from portal.models.people import ApiToken, User
from portal.models.platforms import EntryState, Parents, Platform
from portal.models.requests import Request
from portal.models.rules import ExceptionKind, OperationalException
from portal.models.sight import GroupHourRow
from portal.models.words import Role, State, Use
from portal.places import site_import
from portal.rules import changes
from portal.rules.rule_book import Line

SITES, ACCOUNTS, GRANTS, EVENTS = 97, 2_000, 5_000, 200_000
REQUESTS, EXCEPTIONS, LEVERS, NODES, HOURS = 3_000, 200, 300, 20, 24 * 30
PLATFORMS, YEAR = 40, "2026-27"
AUDIENCES = ("students", "staff", "guests")
NOW = int(time.time())
_DAY = 86_400
_AHEAD = (date.today() + timedelta(days=90)).isoformat()


def fill(session: Session, chief: Actor, catalogue: Catalogue) -> None:
    """Write it all. `chief`: the administrator, whose doings some of it are."""
    lines = [
        f"school-{at},School {at},high,{audience},10.{at}.{third}.0/24"
        for at in range(SITES)
        for third, audience in enumerate(AUDIENCES)
    ]
    site_import.run(session, SYSTEM, NOW, "\n".join(["site,name,level,audience,networks", *lines]))
    accounts = [
        {"email": f"p{at}@x.example", "name": f"Person {at}", "roles": ["requester"], "created_at": NOW}
        for at in range(ACCOUNTS)
    ]
    session.execute(insert(User), accounts)
    session.execute(insert(Request), [_request(at) for at in range(REQUESTS)])
    session.execute(insert(GrantRow), [_grant(at) for at in range(GRANTS)])
    exceptions = [{"grant_id": at + 1, "kind": ExceptionKind.SAFETY, "review_on": _AHEAD} for at in range(EXCEPTIONS)]
    session.execute(insert(OperationalException), exceptions)
    _levers(session)
    _nodes(session)
    mode = modes.ModeDraft("lock-down", "Lock-down", ("*",), ("students",), 60)
    modes.prepare(session, chief, NOW, mode, catalogue)
    for at in range(60):
        line = Line(f"group/school-{at}/students", "service/instagram", "block")
        changes.draft(session, chief, NOW, [line], "A trial at one school.")
    _platforms(session, chief)
    _events(session)


def _platforms(session: Session, chief: Actor) -> None:
    """Some drafts, most published, each with a grant of its own; and what was handed on."""
    for at in range(PLATFORMS):
        grant = GrantRow(
            authority=AuthorityKind.REGISTER,
            entries=[{"name": f"platform{at}.example", "match": str(Match.SUBTREE)}],
            sites=["*"],
            audiences=["students", "staff"],
            starts_at=NOW,
            ends_at=NOW + 90 * _DAY,
            reason=f"register {YEAR}: Platform {at}",
            created_by=chief.user_id or 0,
            created_at=NOW,
        )
        session.add(grant)
        session.flush()
        session.add(
            Platform(
                year=YEAR,
                name=f"Platform {at}",
                purpose="Notes home, and questions about what was taught.",
                leaders="The office of each school reads along.",
                parents=Parents.OPT_IN,
                names=[f"platform{at}.example"],
                sites=["*"],
                audiences=["students", "staff"],
                state=EntryState.PUBLISHED if at % 8 else EntryState.DRAFT,
                published_at=NOW if at % 8 else None,
                published_by=chief.user_id if at % 8 else None,
                grant_id=grant.id,
                created_by=chief.user_id or 0,
                created_at=NOW,
            )
        )


def _request(at: int) -> dict[str, Any]:
    waits = at % 20 == 0
    return {
        "uuid": f"{at:032x}",
        "requester_id": 1 + at % 3,
        "state": State.SUBMITTED if waits else State.APPROVED,
        "tools": [store(Tool(f"tool{at}.example", None, (), (f"tool{at}.example",), False))],
        "use": Use.VIEW,
        "purpose": "Students compare how three museums show the same painting.",
        "audiences": ["students"],
        "sites": [f"school-{at % SITES}"],
        "starts_on": date.today().isoformat(),
        "ends_on": _AHEAD,
        "created_at": NOW - at * 60,
        "updated_at": NOW - at * 60,
        "decided_by": None if waits else 2,
        "decided_at": None if waits else NOW,
    }


def _grant(at: int) -> dict[str, Any]:
    by_request = at >= GRANTS - REQUESTS
    return {
        "authority": AuthorityKind.REQUEST if by_request else AuthorityKind.EXCEPTION,
        "request_id": at - (GRANTS - REQUESTS) + 1 if by_request else None,
        "entries": [{"name": f"tool{at}.example", "match": "subtree"}],
        "sites": [f"school-{at % SITES}"],
        "audiences": ["students"],
        "starts_at": NOW - _DAY,
        "ends_at": NOW + _DAY * (1 + at % 90),
        "hours": [],
        "created_by": 1 + at % 3,
        "created_at": NOW,
    }


def _levers(session: Session) -> None:
    made = {"created_by": 1, "created_at": NOW, "reason": "Seen in a lesson."}
    names = [f"n{at}.example" for at in range(LEVERS)]
    session.execute(insert(BrakeRow), [{**made, "name": one} for one in names])
    wide = {**made, "match": Match.SUBTREE, "review_on": _AHEAD}
    session.execute(insert(CorrectionRow), [{**wide, "name": one, "lists": ["v2fly-doh"]} for one in names])
    scope = {"sites": ["*"], "audiences": ["students"]}
    session.execute(insert(CustomBlockRow), [{**wide, **scope, "name": one} for one in names])
    session.add_all(
        ApiToken(name=f"token {at}", secret_hash=f"{at:064x}", role=Role.AUDITOR, created_by="x", created_at=NOW)
        for at in range(LEVERS)
    )


def _nodes(session: Session) -> None:
    session.execute(
        insert(Node),
        [
            {"name": f"node-{at}", "credential_hash": f"{at:064x}", "enrolled_at": NOW, "sites": [], "status": {}}
            for at in range(NODES)
        ],
    )
    hour = NOW - NOW % 3600
    groups = [f"school-{at}/{audience}" for at in range(SITES) for audience in AUDIENCES]
    counted = {"queries": 1_000, "blocked": 40, "bypass": 3, "devices": 5, "bypass_devices": 5, "forwarder": False}
    categories = [{"category": "social-media", "blocked": 40, "devices": 5}]
    session.execute(
        insert(GroupHourRow),
        [
            {"node_id": 1, "hour": hour - back * 3600, "group": group, "categories": categories, **counted}
            for back in range(HOURS)
            for group in groups
        ],
    )
    base = require_base(session)
    session.add(BaseBuild(state=BuildState.REFUSED, started_at=NOW, made_at=NOW, digest=base.digest))
    session.flush()


def _events(session: Session) -> None:
    head = session.exec(select(AuditEvent).order_by(AuditEvent.id.desc())).first()  # type: ignore[union-attr]
    assert head is not None and head.id is not None
    events = []
    previous = head.hash
    for at in range(head.id + 1, EVENTS + 1):
        row = AuditEvent(
            id=at,
            at_ms=NOW * 1000,
            actor="system",
            actor_name="Schoolgate",
            tag="grant.grant.create",
            subject=f"grant:{at % GRANTS}",
            detail={},
            previous=previous,
            hash="",
        )
        previous = row.hash = audit._hash(row)
        events.append(row.model_dump())
    session.execute(insert(AuditEvent), events)
