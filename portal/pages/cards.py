"""Grants as pages show them: the row's own words, its state, and the gate that says how far it has come.

"Approved" is not "in force": the gate is open only when every resolver that serves the grant's sites has acknowledged
a policy that holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from blocklists.policy import Audience, Entry, Hours
from portal.doors import modes, register_grants
from portal.doors.grants import GrantView
from portal.models.district import CategoryRow
from portal.models.levers import GrantRow
from portal.nodes import delivery
from portal.nodes.delivery import SILENT, InForce, Standing, WaitingFor
from portal.pages import frame, times, words
from portal.pages.words import Tone, Word
from portal.places import district


@dataclass(frozen=True, slots=True)
class Gate:
    tone: Tone
    icon: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """`waiting`: an acknowledgement is still to come, so the page will change by itself."""

    id: int
    entries: tuple[Entry, ...]
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    starts_at: int
    ends_at: int | None
    hours: tuple[Hours, ...]
    lifts_rewrites: bool
    authority: str
    register_year: str  # of the entry that opened it; nothing when that was something else
    request_id: int | None
    reason: str
    created_by: str
    created_at: int
    revoked_by: str | None
    revoked_at: int | None
    revoke_reason: str
    in_version: int | None
    word: Word
    note: str
    gate: Gate
    waiting: bool


def cards(session: Session, views: Iterable[GrantView], now: float) -> tuple[Card, ...]:
    """Return the views as cards, in their order."""
    found = tuple(views)
    rows = session.exec(select(GrantRow).where(col(GrantRow.id).in_([view.id for view in found]))).all()
    standings = delivery.in_force_of(session, rows, now)
    names = site_names(session)
    zone = district.zone(session)
    held = modes.held_until(session, now)
    return tuple(_card(view, standings[view.id], names, zone, now, held) for view in found)


def site_names(session: Session) -> dict[str, str]:
    return {site.id: site.name for site in district.sites(session)}


def category_titles(session: Session) -> dict[str, str]:
    return {row.id: row.title for row in session.exec(select(CategoryRow))}


def _card(
    view: GrantView, standing: InForce, names: Mapping[str, str], zone: ZoneInfo, now: float, held: int | None
) -> Card:
    """`held`: until when a test is on, which holds back what no policy has yet."""
    gate = _gate(view, standing, names, zone, now)
    if held is not None and view.in_version is None and standing.state is Standing.WAITING:
        until = times.until_text(held, zone)
        about = f"A test is on: what is not urgent waits until {until}, or goes out with the next urgent change."
        gate = Gate("wait", "wait", "Approved, waiting for the end of a test", about)
    return Card(
        id=view.id,
        entries=view.scope.entries,
        sites=view.scope.sites,
        audiences=view.scope.audiences,
        starts_at=view.scope.window.starts_at,
        ends_at=view.scope.window.ends_at,
        hours=view.scope.window.hours,
        lifts_rewrites=view.scope.lifts_rewrites,
        register_year=register_grants.year_of(view.register),
        authority=view.register or words.AUTHORITIES[view.authority],
        request_id=view.request_id,
        reason=view.reason,
        created_by=view.created_by,
        created_at=view.created_at,
        revoked_by=view.revoked_by,
        revoked_at=view.revoked_at,
        revoke_reason=view.revoke_reason,
        in_version=view.in_version,
        word=_word(view, standing, gate),
        note=_note(standing),
        gate=gate,
        waiting=not standing.complete and standing.state is not Standing.ENDED,
    )


_STATES: dict[Standing, str] = {
    Standing.WAITING: "On its way",
    Standing.PARTLY: "Partly in force",
    Standing.IN_FORCE: "In force",
    Standing.NO_NODES: "No resolver",
    Standing.SCHEDULED: "Scheduled",
    Standing.ENDED: "Ended",
    Standing.REVOKED: "Revoked",
}


def _word(view: GrantView, standing: InForce, gate: Gate) -> Word:
    if standing.state is Standing.IN_FORCE and not view.open_now:
        return Word("In force, closed now", gate.tone, gate.icon)
    return Word(_STATES[standing.state], gate.tone, gate.icon)


def _note(standing: InForce) -> str:
    if standing.state is Standing.ENDED or standing.expected == 0:
        return ""
    after = f", after {times.lasted(standing.millis)}" if standing.complete and standing.millis is not None else ""
    return f"on {standing.acked} of {standing.expected} resolvers{after}"


def _missing(one: WaitingFor, now: float) -> str:
    if one.last_seen_at is None:
        return f"{one.name}, never seen"
    silent = now - one.last_seen_at
    return one.name if silent <= SILENT else f"{one.name}, last seen {times.age(silent)} ago"


def _gate(view: GrantView, standing: InForce, names: Mapping[str, str], zone: ZoneInfo, now: float) -> Gate:
    scope = view.scope
    audiences = words.listed([words.AUDIENCES[one].text.lower() for one in scope.audiences])
    what = f"{frame.entries_short(scope.entries)} for {audiences} at {frame.site_names(scope.sites, names)}"
    until = f" until {times.until_text(scope.window.ends_at, zone)}" if scope.window.ends_at else ""
    missing = words.listed([_missing(one, now) for one in standing.waiting_for])
    hours = "; ".join(frame.hours(one) for one in scope.window.hours)
    when = f", {hours}{',' if until else ''}{until}" if hours else until
    on = f"on {standing.acked} of {standing.expected} resolvers"
    after = f", after {times.lasted(standing.millis)}" if standing.millis is not None else ""
    match standing.state:
        case Standing.IN_FORCE if view.open_now:
            return Gate("open", "open", f"In force {on}{after}", f"Opens {what}{when}.")
        case Standing.IN_FORCE:
            return Gate("info", "wait", f"In force {on}{after}", f"Closed at this hour. Opens {what}{when}.")
        case Standing.SCHEDULED:
            start = times.since_text(scope.window.starts_at, zone)
            return Gate("info", "wait", f"Opens {start}", f"Scheduled {on}: {what}{when}.")
        case Standing.WAITING:
            return Gate("wait", "wait", "Approved, on its way", f"In force {on} so far; waiting for {missing}.")
        case Standing.PARTLY:
            return Gate("wait", "wait", f"In force {on} so far", f"Waiting for {missing}. Opens {what}{when}.")
        case Standing.NO_NODES:
            return Gate("wait", "alert", "Approved, but no resolver serves these sites", f"It would open {what}{when}.")
        case Standing.ENDED:
            return Gate(
                "done", "shut", f"Ended {times.until_text(scope.window.ends_at or 0, zone)}", f"It opened {what}."
            )
        case Standing.REVOKED if standing.complete or not standing.expected:
            return Gate("shut", "shut", f"Revoked {on}{after}", f"Closed again: {what}.")
        case Standing.REVOKED:
            return Gate("shut", "wait", "Revoked, on its way", f"Closed {on} so far; waiting for {missing}.")
