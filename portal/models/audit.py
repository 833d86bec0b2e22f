"""The table of events."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel


class AuditEvent(SQLModel, table=True):
    """Append-only, chained: `hash` covers this row's canonical text and the previous row's hash."""

    __tablename__ = "audit_event"

    id: int | None = Field(default=None, primary_key=True)
    at_ms: int = Field(sa_type=BigInteger)
    actor: str  # `user:3`, `token:2`, `node:1`, `system`
    actor_name: str
    tag: str = Field(index=True)  # three parts: request.decision.approve
    subject: str = Field(index=True)  # `request:12`
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    previous: str
    hash: str = Field(unique=True)
