"""Tables of the yearly register of platforms for communication between employees and students."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from portal.models.columns import word


class Parents(StrEnum):
    """How parents and guardians take part in what is said on a platform."""

    AUTOMATIC = "automatic"  # they are included without anybody's doing
    OPT_IN = "opt-in"
    NOT_FEASIBLE = "not-feasible"


class EntryState(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    RETIRED = "retired"


class Platform(SQLModel, table=True):
    """An entry of one school year's register. `revision` is for compare-and-set."""

    __tablename__ = "platform"

    id: int | None = Field(default=None, primary_key=True)
    year: str = Field(index=True)  # `2026-27`
    name: str
    purpose: str
    services: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    names: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # beside the services' own
    leaders: str  # how school and district leaders have access
    parents: Parents = word(Parents)
    parents_why: str = ""  # why it is not feasible
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    audiences: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    state: EntryState = word(EntryState, default=EntryState.DRAFT)
    revision: int = 1
    carried_from: int | None = Field(default=None, foreign_key="platform.id")
    grant_id: int | None = Field(default=None, foreign_key="grant_.id", index=True)  # that opens its names
    created_by: int = Field(foreign_key="account.id")
    created_at: int = Field(sa_type=BigInteger)
    published_by: int | None = Field(default=None, foreign_key="account.id")
    published_at: int | None = Field(default=None, sa_type=BigInteger)
    retired_by: int | None = Field(default=None, foreign_key="account.id")
    retired_at: int | None = Field(default=None, sa_type=BigInteger)
    retire_reason: str = ""


class Distribution(SQLModel, table=True):
    """The year's list was handed on: when, to whom, how."""

    __tablename__ = "platform_distribution"

    id: int | None = Field(default=None, primary_key=True)
    year: str = Field(index=True)
    day: str  # ISO date
    recipients: str
    how: str
    recorded_by: int = Field(foreign_key="account.id")
    recorded_at: int = Field(sa_type=BigInteger)
