"""Tables of the written request and of what was said on it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from portal.models.columns import word
from portal.models.words import State, Use


class Request(SQLModel, table=True):
    """The written request. `id` is its number, `uuid` travels to other desks, `revision` is for compare-and-set."""

    __tablename__ = "request"

    id: int | None = Field(default=None, primary_key=True)
    uuid: str = Field(unique=True, index=True)
    requester_id: int = Field(foreign_key="account.id", index=True)
    state: State = word(State, index=True, default=State.SUBMITTED)
    revision: int = 1
    tools: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    purpose: str
    use: Use = word(Use, default=Use.VIEW)
    audiences: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    starts_on: str
    ends_on: str
    renews_id: int | None = Field(default=None, foreign_key="request.id")
    created_at: int = Field(sa_type=BigInteger)
    updated_at: int = Field(sa_type=BigInteger)
    decided_by: int | None = Field(default=None, foreign_key="account.id")
    decided_at: int | None = Field(default=None, sa_type=BigInteger)


class RequestNote(SQLModel, table=True):
    """What was said on a request: the desk's question, the answer, the reason of a decision, an appeal."""

    __tablename__ = "request_note"

    id: int | None = Field(default=None, primary_key=True)
    request_id: int = Field(foreign_key="request.id", index=True)
    author_id: int = Field(foreign_key="account.id")
    event: str  # of workflow.Event
    text: str
    at: int = Field(sa_type=BigInteger)
