"""The reviewer's form: rows of names with a tick each, scope, window, weekly hours; to a `GrantDraft` and back. Pure.

Rows keep their places: an unticked row is shown again as it was. A service's mistakes name entries of the draft
(`grant.entries[1].name`); they are led back to the rows that these came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from blocklists.names import is_at_or_below
from blocklists.policy import EVERY_SITE, Match
from portal.desk.evidence import Finding
from portal.doors.grants import EntryDraft, GrantDraft, HoursDraft
from portal.errors import FieldError, Refused
from portal.models.district import Site
from portal.pages import forms, words
from portal.pages.forms import Form, Typed
from portal.pages.words import Option

HOURS_ROWS = 2
_ENTRY = re.compile(r"entries\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class EntryRow:
    name: str
    match: str = Match.SUBTREE
    on: bool = False
    about: str = ""
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HoursRow:
    index: int
    days: tuple[int, ...]
    start: str
    end: str


def rows(typed: Typed) -> list[EntryRow]:
    """Return the rows as they were sent."""
    names, matches, ticked = typed.get("entry_name", ()), typed.get("entry_match", ()), typed.get("entry_on", ())
    return [
        EntryRow(name, matches[at] if at < len(matches) else Match.SUBTREE, str(at) in ticked)
        for at, name in enumerate(names)
    ]


def proposed(
    draft: GrantDraft, found: Sequence[Finding], locked: Callable[[str], str | None] = lambda name: None
) -> list[EntryRow]:
    """Return what the request asks for, ticked; then names of the same services that it does not cover, unticked.

    `locked`: the title of the locked category that holds a name. Such a name is unticked and says why: ticked, it would
    have the whole approval refused.
    """
    asked = [_asked(entry, locked(entry.name)) for entry in draft.entries]
    offered = {
        name: f"also {finding.service_title}"
        for finding in found
        for name in finding.entries
        if not any(is_at_or_below(name, row.name) for row in asked)
    }
    return [*asked, *(EntryRow(name, about=about) for name, about in offered.items())]


def _asked(entry: EntryDraft, category: str | None) -> EntryRow:
    if category is None:
        return EntryRow(entry.name, entry.match, on=True)
    why = f"locked: in “{category}”, by law or for safety; no request opens it"
    return EntryRow(entry.name, entry.match, about=why)


def draft(typed: Typed) -> GrantDraft:
    """Return the grant that the form describes; the service says what is wrong with it."""
    return GrantDraft(
        entries=tuple(EntryDraft(row.name.strip(), row.match) for _, row in _kept(typed)),
        sites=tuple(typed.get("sites", ())),
        audiences=tuple(typed.get("audiences", ())),
        starts_at=_moment(typed, "starts_at", "starts_time"),
        ends_at=_moment(typed, "ends_at", "ends_time"),
        hours=tuple(HoursDraft(row.days, row.start, row.end) for row in _filled_hours(typed)),
        lifts_rewrites="yes" in typed.get("lifts_rewrites", ()),
    )


def _kept(typed: Typed) -> list[tuple[int, EntryRow]]:
    return [(at, row) for at, row in enumerate(rows(typed)) if row.on and row.name.strip()]


def _moment(typed: Typed, day: str, clock: str) -> str:
    date, time = (next(iter(typed.get(name, ())), "").strip() for name in (day, clock))
    return f"{date}T{time}" if date and time else date


def refused(typed: Typed, error: Refused) -> Form:
    kept = [at for at, _ in _kept(typed)]
    errors = []
    for one in error.errors:
        field = one.field.removeprefix("grant.")
        found = _ENTRY.match(field)
        if found and int(found[1]) < len(kept):
            field = f"entries[{kept[int(found[1])]}]{field[found.end() :]}"
        errors.append(FieldError(field, one.message))
    return forms.refused(typed, type(error)(error.detail, tuple(errors)))


def typed(proposal: GrantDraft) -> dict[str, list[str]]:
    """Return the fields beside the rows as the proposal fills them."""
    starts, _, starts_time = proposal.starts_at.partition("T")
    ends, _, ends_time = proposal.ends_at.partition("T")
    found = forms.of(
        sites=proposal.sites,
        audiences=proposal.audiences,
        starts_at=starts,
        starts_time=starts_time[:5],
        ends_at=ends,
        ends_time=ends_time[:5],
    )
    for at, hours in enumerate(proposal.hours[:HOURS_ROWS]):
        found |= forms.of(**{f"hours{at}_days": [str(day) for day in hours.days]})
        found |= forms.of(**{f"hours{at}_start": hours.start, f"hours{at}_end": hours.end})
    return found


def hours_rows(typed: Typed) -> list[HoursRow]:
    return [
        HoursRow(
            at,
            tuple(int(day) for day in typed.get(f"hours{at}_days", ()) if day in "0123456" and len(day) == 1),
            next(iter(typed.get(f"hours{at}_start", ())), ""),
            next(iter(typed.get(f"hours{at}_end", ())), ""),
        )
        for at in range(HOURS_ROWS)
    ]


def _filled_hours(typed: Typed) -> list[HoursRow]:
    return [row for row in hours_rows(typed) if row.days or row.start or row.end]


def has_hours(typed: Typed) -> bool:
    return bool(_filled_hours(typed))


def hours_summary(typed: Typed) -> str:
    found = [
        f"{words.listed([words.DAYS[day] for day in row.days])} {row.start}–{row.end}" for row in _filled_hours(typed)
    ]
    return words.listed(found) or "the whole day, every day"


def site_options(sites: Iterable[Site]) -> list[Option]:
    return [Option(EVERY_SITE, "Every site")] + [Option(site.id, site.name) for site in sites]
