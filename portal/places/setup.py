"""The district's own settings and the first day's check-list.

`save` sets name, zone, contact, colour, terms and own names. The one question that the policy leaves to the district
(may staff networks reach social media for incidental use?) is answered once, on record, and can be answered again;
until then it is no. A point of the check-list is done when the rows say so; nobody ticks it off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from sqlmodel import Session, col, func, select

from blocklists import names
from blocklists.policy import Audience, Switch
from portal import access, audit
from portal.access import Actor
from portal.errors import FieldError, Invalid
from portal.fields import Mistakes
from portal.models.delivery import Node, Publication
from portal.models.district import ClientGroup, District, Site
from portal.models.people import User
from portal.models.words import Role
from portal.nodes import delivery
from portal.outbox import record_change
from portal.places import district
from portal.rules import rule_book
from portal.rules.rule_book import Line

SOCIAL_MEDIA = "social-media"
STAFF_BLOCKS = ("vpn-proxy", "encrypted-dns")  # whatever the answer is
_COLOUR = re.compile(r"#[0-9a-f]{6}\Z")
_CONTACT = re.compile(r"(mailto:[^\s@]+@[^\s@]+|tel:\+?[0-9 ().-]+|https://\S+)\Z")
_MAX_TERMS = 8
_ONLY_ADMINISTRATORS = "Only an administrator changes the district's settings."


@dataclass(frozen=True, slots=True)
class Term:
    name: str
    starts_on: str
    ends_on: str


@dataclass(frozen=True, slots=True)
class SettingsDraft:
    name: str
    zone: str
    contact: str  # an e-mail address, a telephone number, or an https address
    colour: str = ""
    terms: tuple[Term, ...] = ()
    own_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the check-list; `href` is where it is done."""

    id: str
    title: str
    about: str
    done: bool
    href: str


def save(session: Session, actor: Actor, now: float, draft: SettingsDraft) -> District:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = district.get(session)
    mistakes = Mistakes()
    name = mistakes.text("name", draft.name, "write the district's name", 100)
    if draft.zone not in available_timezones():
        mistakes.add("zone", f"{draft.zone[:40]!r} is not a time zone; write it like America/Chicago")
    contact = _contact(mistakes, draft.contact.strip())
    colour = draft.colour.strip().lower()
    if colour and not _COLOUR.match(colour):
        mistakes.add("colour", "write a colour like #1f6feb")
    terms = _terms(mistakes, draft.terms)
    own = _own(mistakes, draft.own_names)
    mistakes.stop()
    ahead = [term["ends_on"] for term in terms if term["ends_on"] >= _today(draft.zone, now)]
    before = {"name": row.name, "zone": row.zone, "contact": row.contact}
    row.name, row.zone, row.contact, row.colour = name, draft.zone, contact, colour
    row.terms, row.own_names, row.settled_at = terms, list(own), int(now)
    if ahead:
        row.term_ends_on = min(ahead)
    session.add(row)
    detail: audit.Detail = {
        "before": before,
        "name": name,
        "zone": row.zone,
        "contact": contact,
        "own_names": row.own_names,
    }
    record_change(session, actor, now, "district.district.update", "district:1", detail)
    return row


def _today(zone: str, now: float) -> str:
    return datetime.fromtimestamp(now, ZoneInfo(zone)).date().isoformat()


def _contact(mistakes: Mistakes, typed: str) -> str:
    if "@" in typed and ":" not in typed:
        typed = f"mailto:{typed}"
    elif typed and typed[0] in "+0123456789(":
        typed = f"tel:{typed}"
    if not typed:
        mistakes.add("contact", "say where people reach the service desk")
    elif not _CONTACT.match(typed) or len(typed) > 200:
        mistakes.add("contact", "write an e-mail address, a telephone number or an https address")
    return typed


def _terms(mistakes: Mistakes, typed: tuple[Term, ...]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    if len(typed) > _MAX_TERMS:
        mistakes.add("terms", f"a school year has at most {_MAX_TERMS} terms here")
    for at, term in enumerate(typed[:_MAX_TERMS]):
        # The field says "Term 1": who leaves it empty has named it.
        name = mistakes.text(f"terms[{at}].name", term.name.strip() or f"Term {at + 1}", "name the term", 60)
        starts = mistakes.date(f"terms[{at}].starts_on", term.starts_on)
        ends = mistakes.date(f"terms[{at}].ends_on", term.ends_on)
        if starts is None or ends is None:
            continue
        if ends <= starts:
            mistakes.add(f"terms[{at}].ends_on", "this is not after the start")
        elif found and starts.isoformat() <= found[-1]["ends_on"]:
            mistakes.add(f"terms[{at}].starts_on", "this begins before the term above ends")
        found.append({"name": name, "starts_on": starts.isoformat(), "ends_on": ends.isoformat()})
    return found


def _own(mistakes: Mistakes, typed: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for at, text in enumerate(typed):
        try:
            found[names.understand(text).name] = None
        except names.BadName as error:
            mistakes.add(f"own_names[{at}]", error.reason)
    return tuple(sorted(found))


def answer_staff_social_media(session: Session, actor: Actor, now: float, allowed: bool) -> District:
    """Put the answer on record and give it to every staff group; a group that an administrator sets otherwise
    afterwards keeps what it was given."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = district.get(session)
    row.staff_social_media, row.answered_by, row.answered_at = allowed, actor.name, int(now)
    session.add(row)
    changed = []
    for group in session.exec(select(ClientGroup).where(ClientGroup.audience == Audience.STAFF)):
        blocks = [one for one in group.blocks if one != SOCIAL_MEDIA] + ([] if allowed else [SOCIAL_MEDIA])
        if set(blocks) != set(group.blocks):
            group.blocks, group.revision = blocks, group.revision + 1
            session.add(group)
            changed.append(group.id)
    thing = f"category/{SOCIAL_MEDIA}"
    own = [one for one, what in rule_book.standing(session) if what == thing and one.startswith("group/")]
    lines = [Line(one, thing, rule_book.INHERIT) for one in own if one.endswith("/staff")]
    lines.append(Line("district/staff", thing, str(Switch.ALLOW if allowed else Switch.BLOCK)))
    rule_book.record(session, actor.user_id, now, lines, "The answer about incidental use by staff.")
    detail: audit.Detail = {"staff_social_media": allowed, "groups": changed}
    record_change(session, actor, now, "district.staff-social-media.answer", "district:1", detail)
    return row


def usual_blocks(session: Session, audience: Audience, local: tuple[str, ...]) -> tuple[str, ...]:
    """What a new group of this audience blocks: students all that is local policy, staff what the answer says."""
    if audience is not Audience.STAFF:
        return local
    open_to_staff = bool(district.get(session).staff_social_media)
    wanted = STAFF_BLOCKS if open_to_staff else (SOCIAL_MEDIA, *STAFF_BLOCKS)
    return tuple(one for one in wanted if one in local)


def checklist(session: Session, actor: Actor, now: float) -> tuple[Point, ...]:
    """Return the points in the order in which they are best done."""
    access.require(access.may_see_district(actor), "The set-up is for the desk and administrators.")
    row = district.get(session)
    groups = session.exec(select(ClientGroup)).all()
    sites = session.exec(select(func.count()).select_from(Site).where(Site.level != "away")).one()
    nodes = session.exec(select(func.count()).select_from(Node).where(col(Node.retired_at).is_(None))).one()
    # The roles alone: a district has thousands of accounts.
    roles = session.exec(select(User.roles).where(col(User.disabled_at).is_(None))).all()
    reviewers = sum(Role.REVIEWER in one for one in roles)
    administrators = any(Role.ADMINISTRATOR in one for one in roles)
    observed = sum(group.observe_until is not None and group.observe_until > now for group in groups)
    answer = {None: "Not answered: no.", True: "Answered: yes.", False: "Answered: no."}[row.staff_social_media]
    return (
        Point("administrator", "The first administrator", "", administrators, "/people"),
        Point("settings", "Name, time zone, service desk, terms", "", row.settled_at is not None, "/set-up#settings"),
        Point(
            "staff",
            "May staff networks reach social media for incidental use?",
            answer,
            row.staff_social_media is not None,
            "/set-up#staff",
        ),
        Point(
            "sites",
            "Sites and their networks",
            f"{_count(sites, 'site')}, {_count(len(groups), 'group')}",
            bool(groups),
            "/set-up/sites",
        ),
        Point(
            "desk",
            "Somebody who decides requests",
            _count(reviewers, "reviewer"),
            reviewers > 0,
            f"/people/new?role={Role.REVIEWER}",
        ),
        Point("resolver", "A resolver that is enrolled", _count(nodes, "resolver"), nodes > 0, "/nodes"),
        Point(
            "enforce",
            "Every group enforced",
            f"{observed} of {_count(len(groups), 'group')} only observed" if groups else "no group yet",
            bool(groups) and not observed,
            "/set-up#observed",
        ),
        Point("in-force", "In force on every resolver", *_in_force(session), "/nodes"),
    )


def is_set_up(session: Session, actor: Actor, now: float) -> bool:
    """True once every point was done that stays done; whether the newest policy is everywhere is asked every day."""
    return district.get(session).demo or all(
        point.done for point in checklist(session, actor, now) if point.id != "in-force"
    )


def _in_force(session: Session) -> tuple[str, bool]:
    """How far the newest policy has come, in words, and whether it is everywhere and nothing waits behind it."""
    nodes = [view for view in delivery.node_views(session) if view.retired_at is None]
    waits = session.exec(select(Publication.id).where(col(Publication.version).is_(None)).limit(1)).first()
    there = sum(not view.behind for view in nodes)
    said = f"on {there} of {_count(len(nodes), 'resolver')}" + ("; a change is on its way" if waits else "")
    return said, bool(nodes) and there == len(nodes) and waits is None


def observe(session: Session, actor: Actor, now: float, group_ids: tuple[str, ...], days: int, reason: str) -> int:
    """Put groups (back) into observing, for 1 to 60 days; said with a reason, never silently. Returns how many."""
    mistakes = Mistakes()
    reason = mistakes.text("reason", reason, "say why: until then nothing but locked categories is blocked", 2000)
    if not 1 <= days <= 60:
        mistakes.add("days", "a group is observed for 1 to 60 days")
    mistakes.stop()
    return _switch(session, actor, now, group_ids, int(now) + days * 86_400, "district.group.observe")


def enforce(session: Session, actor: Actor, now: float, group_ids: tuple[str, ...]) -> int:
    """End observing for these groups, now. Returns how many changed."""
    return _switch(session, actor, now, group_ids, None, "district.group.enforce")


def _switch(session: Session, actor: Actor, now: float, group_ids: tuple[str, ...], until: int | None, tag: str) -> int:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    rows = session.exec(select(ClientGroup).where(col(ClientGroup.id).in_(group_ids))).all()
    if missing := set(group_ids) - {row.id for row in rows}:
        raise Invalid(
            "Please choose from the list.", (FieldError("groups", f"there is no group {min(missing)[:80]!r}"),)
        )
    changed = [row for row in rows if row.observe_until != until]
    for row in changed:
        row.observe_until, row.revision = until, row.revision + 1
        session.add(row)
    if changed:
        detail = {"groups": [row.id for row in changed], "until": until}
        record_change(session, actor, now, tag, "district:1", detail)
    return len(changed)


def _count(number: int, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"
