"""`/grants`: what is open, and by what authority; revoking it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from blocklists.policy import Audience, AuthorityKind, Hours, Match
from portal import grants
from portal.api.dependencies import CHANGES, READS, Answer, Before, Caller, Limit, Message, Moment, Number, Text
from portal.grants import GrantStatus, GrantView

router = APIRouter(prefix="/grants", tags=["grants"])


class EntryOut(Answer):
    name: str
    match: Match


class HoursOut(Answer):
    """Weekly hours in the district's zone; `days` of 0 (Monday) to 6."""

    days: list[int]
    start: str = Field(serialization_alias="from")
    end: str = Field(serialization_alias="to")


class GrantOut(Answer):
    """`status` is by the portal's clock; `in_version` is the first policy that holds it (or that no longer does)."""

    id: int
    authority: AuthorityKind
    request: int | None
    entries: list[EntryOut]
    sites: list[str]
    audiences: list[Audience]
    starts_at: Moment
    ends_at: Moment | None
    hours: list[HoursOut]
    status: GrantStatus
    open_now: bool
    reason: str
    created_by: str
    created_at: Moment
    revoked_by: str | None
    revoked_at: Moment | None
    revoke_reason: str
    in_version: int | None


class GrantList(Answer):
    grants: list[GrantOut]


class Revocation(Message):
    reason: Text


def grant_out(view: GrantView) -> GrantOut:
    scope = view.scope
    return GrantOut.model_validate(
        {
            "id": view.id,
            "authority": view.authority,
            "request": view.request_id,
            "entries": [EntryOut.model_validate(entry) for entry in scope.entries],
            "sites": scope.sites,
            "audiences": scope.audiences,
            "starts_at": scope.window.starts_at,
            "ends_at": scope.window.ends_at,
            "hours": [_hours_out(one) for one in scope.window.hours],
            "status": view.status,
            "open_now": view.open_now,
            "reason": view.reason,
            "created_by": view.created_by,
            "created_at": view.created_at,
            "revoked_by": view.revoked_by,
            "revoked_at": view.revoked_at,
            "revoke_reason": view.revoke_reason,
            "in_version": view.in_version,
        }
    )


def _hours_out(hours: Hours) -> HoursOut:
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (hours.start, hours.end))
    return HoursOut(days=list(hours.days), start=start, end=end)


@router.get("", responses=READS)
def find(
    call: Caller, status: Annotated[GrantStatus | None, Query()] = None, before: Before = None, limit: Limit = 100
) -> GrantList:
    """Grants, newest first."""
    with call.reading() as session:
        views = grants.find(session, call.actor, call.now, status, before=before, limit=limit)
    return GrantList(grants=[grant_out(view) for view in views])


@router.get("/{number}", responses=READS)
def get(call: Caller, number: Number) -> GrantOut:
    with call.reading() as session:
        return grant_out(grants.get(session, call.actor, call.now, number))


@router.post("/{number}/revoke", responses=CHANGES)
def revoke(call: Caller, number: Number, message: Revocation) -> GrantOut:
    """End a grant now."""
    with call.writing() as session:
        return grant_out(grants.revoke(session, call.actor, call.now, number, message.reason))
