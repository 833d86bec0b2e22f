"""`/grants`: what is open, and by what authority; revoking it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from sqlmodel import Session, col, select

from blocklists.policy import Audience, AuthorityKind, Hours, Match
from portal.api.dependencies import CHANGES, READS, Answer, Before, Caller, Limit, Message, Moment, Number, Text
from portal.doors import grants
from portal.doors.grants import GrantStatus, GrantView
from portal.models.levers import GrantRow
from portal.nodes import delivery
from portal.nodes.delivery import InForce, Standing

router = APIRouter(prefix="/grants", tags=["grants"])


class EntryOut(Answer):
    name: str
    match: Match


class HoursOut(Answer):
    """Weekly hours in the district's zone; `days` of 0 (Monday) to 6."""

    days: list[int]
    start: str = Field(serialization_alias="from")
    end: str = Field(serialization_alias="to")


class WaitingOut(Answer):
    name: str
    last_seen_at: Moment | None


class InForceOut(Answer):
    """How far the grant, or its revocation, has come: `acked` of `expected` resolvers serve it. `millis`: from the
    decision's commit to the last acknowledgement, on the portal's clock."""

    state: Standing
    acked: int
    expected: int
    waiting_for: list[WaitingOut]
    millis: int | None


class GrantOut(Answer):
    """`status` is by the portal's clock; `in_version` is the first policy that holds it (or that no longer does)."""

    id: int
    authority: AuthorityKind
    request: int | None
    register_entry: str  # `register 2026-27: NAME` when an entry of the register of platforms opened it; else nothing
    entries: list[EntryOut]
    sites: list[str]
    audiences: list[Audience]
    starts_at: Moment
    ends_at: Moment | None
    hours: list[HoursOut]
    lifts_rewrites: bool
    status: GrantStatus
    open_now: bool
    reason: str
    created_by: str
    created_at: Moment
    revoked_by: str | None
    revoked_at: Moment | None
    revoke_reason: str
    in_version: int | None
    in_force: InForceOut


class GrantList(Answer):
    grants: list[GrantOut]


class Revocation(Message):
    reason: Text


def grants_out(session: Session, views: Iterable[GrantView], now: float) -> list[GrantOut]:
    """Return the views in their order, each with how far it has come."""
    found = tuple(views)
    rows = session.exec(select(GrantRow).where(col(GrantRow.id).in_([view.id for view in found]))).all()
    standings = delivery.in_force_of(session, rows, now)
    return [_out(view, standings[view.id]) for view in found]


def _out(view: GrantView, standing: InForce) -> GrantOut:
    scope = view.scope
    return GrantOut.model_validate(
        {
            "id": view.id,
            "authority": view.authority,
            "request": view.request_id,
            "register_entry": view.register,
            "entries": [EntryOut.model_validate(entry) for entry in scope.entries],
            "sites": scope.sites,
            "audiences": scope.audiences,
            "starts_at": scope.window.starts_at,
            "ends_at": scope.window.ends_at,
            "hours": [_hours_out(one) for one in scope.window.hours],
            "lifts_rewrites": scope.lifts_rewrites,
            "status": view.status,
            "open_now": view.open_now,
            "reason": view.reason,
            "created_by": view.created_by,
            "created_at": view.created_at,
            "revoked_by": view.revoked_by,
            "revoked_at": view.revoked_at,
            "revoke_reason": view.revoke_reason,
            "in_version": view.in_version,
            "in_force": standing,
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
        return GrantList(grants=grants_out(session, views, call.now))


@router.get("/{number}", responses=READS)
def get(call: Caller, number: Number) -> GrantOut:
    with call.reading() as session:
        return grants_out(session, [grants.get(session, call.actor, call.now, number)], call.now)[0]


@router.post("/{number}/revoke", responses=CHANGES)
def revoke(call: Caller, number: Number, message: Revocation) -> GrantOut:
    """End a grant now."""
    with call.writing() as session:
        revoked = grants.revoke(session, call.actor, call.now, number, message.reason)
        return grants_out(session, [revoked], call.now)[0]
