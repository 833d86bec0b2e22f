"""Tables of what is blocked as dated policy: rules that groups inherit, the changes that made them, the exceptions."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from blocklists.policy import Switch
from portal.models.columns import word


class ChangeState(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    DISCARDED = "discarded"


class ExceptionKind(StrEnum):
    TESTING = "testing"
    SAFETY = "safety"
    COMMUNICATIONS = "communications"
    IMPORTED = "imported"  # an old allowlist


class PolicyChange(SQLModel, table=True):
    """Lines that take effect together: a draft, then scheduled or published; never edited after that."""

    __tablename__ = "policy_change"

    id: int | None = Field(default=None, primary_key=True)
    state: ChangeState = word(ChangeState, index=True)
    lines: list[dict[str, str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    before: list[dict[str, str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # to undo it
    reason: str
    created_by: int | None = Field(default=None, foreign_key="account.id")  # None: the portal itself, at set-up
    created_at: int = Field(sa_type=BigInteger)
    publish_at: int | None = Field(default=None, sa_type=BigInteger)
    published_at: int | None = Field(default=None, sa_type=BigInteger)
    published_by: int | None = Field(default=None, foreign_key="account.id")
    undoes: int | None = Field(default=None, foreign_key="policy_change.id", index=True)
    revision: int = 1


class BlockRule(SQLModel, table=True):
    """What stands now for one scope and one thing. Scopes: `district/AUDIENCE`, `level/LEVEL/AUDIENCE`, `group/ID`."""

    __tablename__ = "block_rule"

    scope: str = Field(primary_key=True)
    thing: str = Field(primary_key=True)  # `category/ID` or `service/ID`
    say: Switch = word(Switch)
    change_id: int = Field(foreign_key="policy_change.id", index=True)


class OperationalException(SQLModel, table=True):
    """What stands beside a grant whose authority is an operational exception."""

    __tablename__ = "operational_exception"

    grant_id: int = Field(foreign_key="grant_.id", primary_key=True)
    kind: ExceptionKind = word(ExceptionKind)
    review_on: str  # ISO date


class Logo(SQLModel, table=True):
    """The district's logo; one row, id 1."""

    __tablename__ = "logo"

    id: int = Field(default=1, primary_key=True)
    digest: str
    png: bytes
