"""Tables of the lists' sources, of services as the district edited them, and of the bases that were built."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, LargeBinary
from sqlmodel import Field, SQLModel

from portal.models.columns import word


class SourceRow(SQLModel, table=True):
    """One list that the district has to do with: of the catalog (then the catalog says what it is), or its own.

    What the last fetch gave is kept beside it; `due_at` None means that nobody fetches it (off, or an uploaded file).
    """

    __tablename__ = "list_source"

    id: str = Field(primary_key=True)
    own: bool
    title: str = ""
    category: str = ""  # empty: as the catalog says
    url: str = ""  # own only; empty: an uploaded file
    format: str = ""  # empty: as the catalog says, or told by the first bytes
    licence: str = ""
    every_hours: int = 24
    enabled: bool = False
    created_by: str = ""
    created_at: int = Field(sa_type=BigInteger)
    due_at: int | None = Field(default=None, index=True, sa_type=BigInteger)
    fetched_at: int | None = Field(default=None, sa_type=BigInteger)  # its bytes came
    checked_at: int | None = Field(default=None, sa_type=BigInteger)  # its keeper last said that this is the list
    asked_at: int | None = Field(default=None, sa_type=BigInteger)  # last attempt
    failures: int = 0  # since it last answered
    error_code: str = ""
    error: str = ""
    digest: str = ""
    size: int = Field(default=0, sa_type=BigInteger)
    found: int = 0
    excepted: int = 0
    rejected: int = 0
    examples: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))


class UploadedList(SQLModel, table=True):
    """A piece of a list that somebody uploaded, packed with zstd. `digest`: SHA-256 of the whole list."""

    __tablename__ = "uploaded_list"

    id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)  # from 0
    digest: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ListCopy(SQLModel, table=True):
    """The same of a list that was fetched, where several portals share a PostgreSQL."""

    __tablename__ = "list_copy"

    id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    digest: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ServiceRow(SQLModel, table=True):
    """One service, as it came from a list's collection or as an administrator wrote it. One that ships with the product
    and was never edited has no row."""

    __tablename__ = "service"

    id: str = Field(primary_key=True)
    title: str
    category: str
    kind: str
    names: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    exceptions: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    origin: str  # the source's id that brought it; empty: an administrator
    revision: int = 1
    edited_by: str = ""
    edited_at: int | None = Field(default=None, sa_type=BigInteger)
    why: str = ""


class BuildState(StrEnum):
    WAITING = "waiting"  # asked for; the job takes it up
    BUILDING = "building"
    HELD = "held"  # a guard tripped: an administrator decides
    CURRENT = "current"
    REPLACED = "replaced"
    REFUSED = "refused"
    FAILED = "failed"


class BaseBuild(SQLModel, table=True):
    """One attempt to make a base: from being asked for to what became of it."""

    __tablename__ = "base_build"

    id: int | None = Field(default=None, primary_key=True)
    state: BuildState = word(BuildState, index=True)
    because: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    started_at: int = Field(sa_type=BigInteger)
    made_at: int | None = Field(default=None, sa_type=BigInteger)
    step: str = ""
    done: int = 0
    total: int = 0
    digest: str = ""
    size: int = Field(default=0, sa_type=BigInteger)
    names: int = 0
    previous: str = ""  # digest of the base that it was compared with
    changes: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # by list
    reasons: list[dict[str, str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # guards
    error: str = ""
    decided_by: str = ""
    decided_at: int | None = Field(default=None, sa_type=BigInteger)
    reason: str = ""  # of the administrator
