"""Grants: scope, windows, the end of them. What an approval creates and a revocation ends.

A draft holds what a person typed; `check` turns it into a `Scope` or says everything that is wrong with it at once.
Moments are typed in the district's zone; what is stored are seconds since 1970. A request's grant always ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session

from blocklists.policy import Audience, AuthorityKind, Entry, Grant, Window
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.errors import FieldError
from portal.models import GrantRow, Request


@dataclass(frozen=True, slots=True)
class EntryDraft:
    name: str
    match: str = "subtree"  # subtree | exact | via


@dataclass(frozen=True, slots=True)
class HoursDraft:
    """Weekly hours: `days` of 0 (Monday) to 6, from `start` until `end` as `HH:MM`; `24:00` is the end of the day."""

    days: tuple[int, ...]
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class GrantDraft:
    """What a reviewer grants. `starts_at` and `ends_at`: `2026-03-04` (a day: from its first minute; as an end,
    through its last), `2026-03-04T08:00` in the district's zone, or with an offset (RFC 3339). `sites`: ids, or `*`."""

    entries: tuple[EntryDraft, ...]
    sites: tuple[str, ...]
    audiences: tuple[str, ...]
    starts_at: str
    ends_at: str
    hours: tuple[HoursDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """A draft that was found in order."""

    entries: tuple[Entry, ...]
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]
    window: Window


class GrantStatus(StrEnum):
    """By the portal's clock. "In force" is more: every node has acknowledged (see delivery)."""

    SCHEDULED = "scheduled"
    IN_WINDOW = "in window"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class GrantView:
    id: int
    authority: AuthorityKind
    request_id: int | None
    scope: Scope
    status: GrantStatus
    reason: str
    created_by: str  # a person's name
    created_at: int
    revoked_by: str | None
    revoked_at: int | None
    revoke_reason: str
    in_version: int | None


def check(
    session: Session, now: float, draft: GrantDraft, catalogue: Catalogue, where: str = ""
) -> tuple[Scope | None, list[FieldError]]:
    """Return the scope, or every mistake of the draft; `where` goes before each field's path."""
    raise NotImplementedError


def create_for_request(
    session: Session, actor: Actor, now: float, request: Request, scope: Scope, reason: str
) -> GrantRow:
    """Create the grant that an approval gives. The caller records and publishes."""
    raise NotImplementedError


def revoke(session: Session, actor: Actor, now: float, grant_id: int, reason: str) -> GrantView:
    """End a grant now: audited, and published at once."""
    raise NotImplementedError


def get(session: Session, actor: Actor, now: float, grant_id: int) -> GrantView:
    raise NotImplementedError


def find(
    session: Session,
    actor: Actor,
    now: float,
    status: GrantStatus | None = None,
    request_ids: Iterable[int] | None = None,
    before: int | None = None,
    limit: int = 200,
) -> tuple[GrantView, ...]:
    """Return grants, newest first; `before` a grant's number, to page on."""
    raise NotImplementedError


def live(session: Session, now: float) -> tuple[Grant, ...]:
    """Return what belongs into a policy made now: every grant neither revoked nor ended, by number."""
    raise NotImplementedError
