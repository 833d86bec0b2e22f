"""The frame around every page: templates, their filters, and what stands beside each page (navigation, district).

Rendering only. Templates escape by themselves and fail on a missing value, so a page that forgot something is an error
of ours, not an empty spot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from sqlmodel import Session, select
from starlette.responses import HTMLResponse, Response

from blocklists.policy import EVERY_SITE, Audience, Entry, Hours, Match
from portal import access, natural
from portal.access import Actor
from portal.desk import queue
from portal.models.district import District
from portal.models.rules import Logo
from portal.models.words import State, Use
from portal.pages import times, words
from portal.people.sessions import SignedIn

HERE = Path(__file__).resolve().parent.parent
STATIC = HERE / "static"
SHOWN_NAMES = 3  # of a grant, where there is no room for all
_NO_DISTRICT = District(slug="", name="School district", portal_url="", term_ends_on="", created_at=0)


@dataclass(frozen=True, slots=True)
class Link:
    href: str
    text: str
    icon: str
    current: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    district: str
    zone: str
    contact: str
    actor: Actor | None
    csrf: str
    nav: tuple[Section, ...]
    logo: str = ""  # address of the district's own
    colour: str = ""
    held: bool = False  # restored from a backup: nothing is published until an administrator says so


@dataclass(frozen=True, slots=True)
class Live:
    """Where a page hears that it is out of date, and what it shows now."""

    url: str
    seen: str


def live(url: str, *shown: object) -> Live:
    """`shown`: frozen values that the page is made of; their text is their state."""
    return Live(url, fingerprint(*shown))


def fingerprint(*shown: object) -> str:
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def page(
    request: Request,
    session: Session,
    signed_in: SignedIn | None,
    template: str,
    status: int = 200,
    /,
    **context: object,
) -> Response:
    district = session.get(District, 1) or _NO_DISTRICT
    actor = None if signed_in is None else signed_in.actor
    frame = Frame(
        district=district.name,
        zone=district.zone,
        contact=district.contact,
        actor=actor,
        csrf=cast(str, context.pop("csrf", "")) or ("" if signed_in is None else signed_in.csrf),
        nav=_nav(session, actor, request.url.path),
        logo=_logo(session),
        colour=district.colour,
        held=actor is not None and district.held_at is not None,
    )
    return HTMLResponse(_render(template, ZoneInfo(district.zone), frame, context), status)


def _logo(session: Session) -> str:
    digest = session.exec(select(Logo.digest)).first()
    return f"/logo.png?v={digest[:10]}" if digest else ""


def bare(template: str, status: int, /, **context: object) -> Response:
    """A page without a database: for errors that could not even ask it."""
    frame = Frame(_NO_DISTRICT.name, _NO_DISTRICT.zone, "", None, "", ())
    return HTMLResponse(_render(template, ZoneInfo(_NO_DISTRICT.zone), frame, context), status)


def _render(template: str, zone: ZoneInfo, frame: Frame, context: Mapping[str, object]) -> str:
    return environment().get_template(template).render(frame=frame, zone=zone, **{"live": None, **context})


def fragment(session: Session, template: str, **context: object) -> Response:
    """Part of a page, for a script that asked for it."""
    district = session.get(District, 1) or _NO_DISTRICT
    frame = Frame(district.name, district.zone, "", None, "", ())
    return HTMLResponse(_render(template, ZoneInfo(district.zone), frame, context))


def _nav(session: Session, actor: Actor | None, path: str) -> tuple[Section, ...]:
    """What this actor may open, by the same predicates that guard the pages."""
    if actor is None:
        return ()

    def link(href: str, text: str, icon: str, count: int = 0) -> Link:
        return Link(href, text, icon, path == href or path.startswith(f"{href}/"), count)

    sections = [Section("", (link("/requests", "My requests", "requests"),))]
    work = []
    if access.may_see_every_request(actor):
        work.append(link("/desk", "Service desk", "desk", queue.waiting(session, actor)))
    work += [link("/grants", "Grants", "open"), link("/explain", "Explain", "search")]
    sections.append(Section("Requests and grants", tuple(work)))
    if access.may_see_district(actor):
        district = [link("/set-up", "Set-up", "done"), link("/district", "Sites and groups", "groups")]
        district += [link("/changes", "What is blocked", "shut"), link("/exceptions", "Exceptions", "open")]
        district += [link("/corrections", "Corrections", "yes"), link("/blocks", "Custom blocks", "lock")]
        district += [link("/lists", "Lists", "policy"), link("/services", "Services", "policy")]
        district += [link("/brakes", "Brakes", "brake"), link("/modes", "Modes", "alert")]
        district += [link("/nodes", "Resolvers", "nodes"), link("/traffic", "Traffic", "traffic")]
        district.append(link("/signals", "Bypass signals", "alert"))
        if access.may_administer(actor):
            district.append(link("/people", "People", "people"))
        sections.append(Section("District", tuple(district)))
    records = [link("/audit", "Audit", "audit")] if access.may_audit(actor) else []
    records += [link("/platforms", "Platforms", "people"), link("/tokens", "API tokens", "lock")]
    sections.append(Section("Records", (*records, link("/about", "Policy", "policy"))))
    return tuple(sections)


# ---- templates ----


@cache
def environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["static"] = static
    found.filters.update(
        when=_when,
        since=_since,
        until=_until,
        day=times.day,
        use=lambda use: words.USES[Use(use)].text,
        audiences=lambda found: words.listed([words.AUDIENCES[Audience(one)].text.lower() for one in found]),
        sites=site_names,
        entries=entries,
        entries_short=entries_short,
        match=lambda match: words.MATCHES[Match(match)].text,
        hours=hours,
        state_words=lambda state: words.STATES[State(state)].text.lower(),
        sentence=words.sentence,
        picked_first=words.picked_first,
    )
    return found


@pass_context
def _when(context: Context, seconds: float | None) -> Markup:
    return times.when(seconds, context["zone"])


@pass_context
def _since(context: Context, seconds: float | None) -> Markup:
    return times.since(seconds, context["zone"])


@pass_context
def _until(context: Context, seconds: float | None) -> Markup:
    return times.until(seconds, context["zone"])


@cache
def static(name: str) -> str:
    """Return the address of a static file, which changes with its content."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]}"


def site_names(sites: Iterable[str], names: Mapping[str, str]) -> str:
    found = ["every site" if one == EVERY_SITE else names.get(one, one) for one in sites]
    return words.listed(sorted(found, key=natural.order))


def entries(found: Iterable[Entry]) -> str:
    """Return the names of a grant; `via` ones last, and said to be so."""
    plain = [
        one.name if one.match is Match.SUBTREE else f"{one.name} only" for one in found if one.match is not Match.VIA
    ]
    via = [one.name for one in found if one.match is Match.VIA]
    return words.listed(plain) + (f" (by way of {words.listed(via)})" if via else "")


def entries_short(found: Sequence[Entry]) -> str:
    """Return the first names, and how many more there are."""
    shown = [one for one in found if one.match is not Match.VIA]
    if len(shown) <= SHOWN_NAMES + 1:
        return entries(found)
    return f"{', '.join(one.name for one in shown[:SHOWN_NAMES])} and {len(shown) - SHOWN_NAMES} more names"


def hours(found: Hours) -> str:
    """Return `Mon, Wed and Fri, 08:00–15:00`."""
    days = words.listed([words.DAYS[day] for day in found.days])
    return f"{days}, {times.clock(found.start)}–{times.clock(found.end)}"
