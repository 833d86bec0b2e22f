"""Brakes and corrections: what an administrator pulls when a block must come at once, or a list is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from blocklists import policy
from portal.access import Actor
from portal.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class BrakeView:
    id: int
    name: str
    reason: str
    created_by: str
    created_at: int
    released_by: str | None
    released_at: int | None


@dataclass(frozen=True, slots=True)
class CorrectionDraft:
    """ "List L is wrong about name N". `lists`: list ids, or `*` alone. `review_on`: ISO date."""

    name: str
    match: str
    lists: tuple[str, ...]
    reason: str
    review_on: str


@dataclass(frozen=True, slots=True)
class CorrectionView:
    """`waits`: it concerns a locked category and has no second person yet, so no policy holds it."""

    id: int
    name: str
    match: policy.Match
    lists: tuple[str, ...]
    reason: str
    review_on: str
    created_by: str
    created_at: int
    confirmed_by: str | None
    waits: bool
    ended_at: int | None


def set_brake(session: Session, actor: Actor, now: float, name: str, reason: str) -> BrakeView:
    """Block a name and all below it for everybody, over every grant."""
    raise NotImplementedError


def release_brake(session: Session, actor: Actor, now: float, brake_id: int) -> BrakeView:
    raise NotImplementedError


def brakes(session: Session, released: bool = False) -> tuple[BrakeView, ...]:
    """Return the brakes that are set (with `released`: all), newest first."""
    raise NotImplementedError


def policy_brakes(session: Session) -> tuple[policy.Brake, ...]:
    raise NotImplementedError


def create_correction(
    session: Session, actor: Actor, now: float, draft: CorrectionDraft, catalogue: Catalogue
) -> CorrectionView:
    raise NotImplementedError


def confirm_correction(session: Session, actor: Actor, now: float, correction_id: int) -> CorrectionView:
    """The second person says yes; never the author."""
    raise NotImplementedError


def end_correction(session: Session, actor: Actor, now: float, correction_id: int) -> CorrectionView:
    raise NotImplementedError


def corrections(session: Session, ended: bool = False) -> tuple[CorrectionView, ...]:
    raise NotImplementedError


def policy_corrections(session: Session) -> tuple[policy.Correction, ...]:
    """Return those in force: neither ended nor waiting."""
    raise NotImplementedError
