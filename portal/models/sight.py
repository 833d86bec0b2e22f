"""Tables of what resolvers counted, and of the short codes that the page "Why was this blocked?" gives."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index
from sqlmodel import Field, SQLModel


class GroupHourRow(SQLModel, table=True):
    """One group in one clock hour at one node, counts only. Devices are counted up to five."""

    __tablename__ = "group_hour"
    __table_args__ = (  # all that a sum by building reads: the rows with their categories stay untouched
        Index(
            "ix_group_hour_sums",
            *("group", "hour", "queries", "blocked", "bypass", "devices", "bypass_devices", "forwarder"),
        ),
    )

    node_id: int = Field(foreign_key="node.id", primary_key=True)
    hour: int = Field(sa_type=BigInteger, primary_key=True)  # its start
    group: str = Field(primary_key=True)
    queries: int = Field(default=0, sa_type=BigInteger)
    blocked: int = Field(default=0, sa_type=BigInteger)
    bypass: int = Field(default=0, sa_type=BigInteger)
    devices: int = 0
    bypass_devices: int = 0
    forwarder: bool = False
    categories: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))


class AskedNameRow(SQLModel, table=True):
    """A name that many devices of one node asked for in its newest whole day."""

    __tablename__ = "asked_name"

    node_id: int = Field(foreign_key="node.id", primary_key=True)
    name: str = Field(primary_key=True)
    day: int = Field(sa_type=BigInteger)  # its start
    permille: int  # of the node's devices


class GrantUseRow(SQLModel, table=True):
    """The last day on which somebody asked for a name of a grant, as any resolver said."""

    __tablename__ = "grant_use"

    grant_id: int = Field(foreign_key="grant_.id", primary_key=True)
    entry: str = Field(primary_key=True)
    day: int = Field(sa_type=BigInteger)  # its start in UTC


class BlockedCode(SQLModel, table=True):
    """A short code for a blocked name and the place where it is blocked, to be read out or typed into a request."""

    __tablename__ = "blocked_code"

    code: str = Field(primary_key=True)
    name: str
    group: str  # empty: the address was in none
    made_at: int = Field(sa_type=BigInteger, index=True)
