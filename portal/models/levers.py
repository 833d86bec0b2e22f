"""Tables of what opens and closes names: grants, brakes, corrections, custom blocks, modes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from blocklists.policy import AuthorityKind, Match, ModeKind
from portal.models.columns import word


class GrantRow(SQLModel, table=True):
    """What opens names. `id` is the grant's number in policies, logs and pages."""

    __tablename__ = "grant_"

    id: int | None = Field(default=None, primary_key=True)
    authority: AuthorityKind = word(AuthorityKind)
    request_id: int | None = Field(default=None, foreign_key="request.id", index=True)
    entries: list[dict[str, str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    audiences: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int | None = Field(default=None, index=True, sa_type=BigInteger)
    hours: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    lifts_rewrites: bool = False
    reason: str = ""
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
    revoked_by: int | None = Field(default=None, foreign_key="account.id")
    revoke_reason: str = ""
    in_version: int | None = None  # first policy version that holds it (or, once revoked, that no longer does)


class BrakeRow(SQLModel, table=True):
    __tablename__ = "brake"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    reason: str
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    released_at: int | None = Field(default=None, sa_type=BigInteger)
    released_by: int | None = Field(default=None, foreign_key="account.id")


class CorrectionRow(SQLModel, table=True):
    __tablename__ = "correction"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    match: Match = word(Match)
    lists: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    reason: str
    review_on: str
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    confirmed_by: int | None = Field(default=None, foreign_key="account.id")  # second person, locked categories
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class CustomBlockRow(SQLModel, table=True):
    """An administrator's ordinary block, scoped like a grant."""

    __tablename__ = "custom_block"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    match: Match = word(Match)
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    audiences: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    reason: str
    review_on: str
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class ModeRow(SQLModel, table=True):
    """A prepared overlay on sites and audiences, to be switched on with two taps."""

    __tablename__ = "mode"

    id: int | None = Field(default=None, primary_key=True)
    kind: ModeKind = word(ModeKind)
    title: str
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    audiences: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    pins: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # names opened meanwhile
    suspended: list[int] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # grants
    minutes: int  # how long it lasts by itself
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    retired_at: int | None = Field(default=None, sa_type=BigInteger)


class ModeRun(SQLModel, table=True):
    """One time that a mode was on. `id` is the mode's number in policies, logs and pages."""

    __tablename__ = "mode_run"

    id: int | None = Field(default=None, primary_key=True)
    mode_id: int = Field(foreign_key="mode.id", index=True)
    drill: bool = False
    reason: str
    started_by: int = Field(foreign_key="account.id")
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int = Field(index=True, sa_type=BigInteger)  # moved forward when it is ended by hand
    ended_by: int | None = Field(default=None, foreign_key="account.id")
    grant_id: int | None = Field(default=None, foreign_key="grant_.id")  # that opens the pins
