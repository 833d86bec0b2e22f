"""Tables of what was published, and of the nodes that carry it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel


class BaseFile(SQLModel, table=True):
    """A compiled base that this portal can offer; the file lies in the data folder under its digest."""

    __tablename__ = "base_file"

    digest: str = Field(primary_key=True)
    size: int
    names: int
    created_at: int = Field(sa_type=BigInteger)
    current: bool = False


class BaseChunk(SQLModel, table=True):
    """A piece of a base file, where several portals share a PostgreSQL: each writes the file from these once."""

    __tablename__ = "base_chunk"

    digest: str = Field(foreign_key="base_file.digest", primary_key=True)
    number: int = Field(primary_key=True)  # from 0
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class PolicyVersion(SQLModel, table=True):
    """A published policy: the exact signed bytes. Versions only grow."""

    __tablename__ = "policy_version"

    version: int = Field(primary_key=True)
    digest: str = Field(unique=True, index=True)
    base: str = Field(foreign_key="base_file.digest")
    signature: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    decided_at_ms: int = Field(
        sa_type=BigInteger
    )  # commit of the oldest decision in it: the start of the latency that pages show
    published_at_ms: int = Field(sa_type=BigInteger)


class KeySuccession(SQLModel, table=True):
    """A new signing key, named by the one before it."""

    __tablename__ = "key_succession"

    id: int | None = Field(default=None, primary_key=True)
    public_key: str = Field(unique=True)  # hex
    at: int = Field(sa_type=BigInteger)
    old_until: int = Field(sa_type=BigInteger)
    signature: str
    created_by: str


class RecoveredPolicy(SQLModel, table=True):
    """The newest policy that this portal signed before it was restored, as a node sent it back. At most one row."""

    __tablename__ = "recovered_policy"

    version: int = Field(primary_key=True)
    digest: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    node_id: int = Field(foreign_key="node.id")
    at: int = Field(sa_type=BigInteger)


class Publication(SQLModel, table=True):
    """A row that asks for a new policy version, written in the decision's own transaction."""

    __tablename__ = "publication"

    id: int | None = Field(default=None, primary_key=True)
    because: str  # tag and subject of the audit event
    asked_at_ms: int = Field(sa_type=BigInteger)
    version: int | None = Field(default=None, index=True)  # that fulfils it


class Node(SQLModel, table=True):
    """A running resolver, as it enrolled and as it last said it is."""

    __tablename__ = "node"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # empty: every site
    credential_hash: str = Field(unique=True, index=True)
    enrolled_at: int = Field(sa_type=BigInteger)
    retired_at: int | None = Field(default=None, sa_type=BigInteger)
    last_seen_at: int | None = Field(default=None, sa_type=BigInteger)
    skew_ms: int | None = Field(default=None, sa_type=BigInteger)  # node's clock minus ours
    use_since: int | None = Field(default=None, sa_type=BigInteger)  # it says since then which names are in use
    status: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class EnrolmentToken(SQLModel, table=True):
    """A one-time token; good for an hour."""

    __tablename__ = "enrolment_token"

    secret_hash: str = Field(primary_key=True)
    created_by: str
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)
    node_id: int | None = Field(default=None, foreign_key="node.id")


class Delivery(SQLModel, table=True):
    """One version at one node: offered, then acknowledged or refused. Times in ms, on the portal's clock."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("node_id", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    node_id: int = Field(foreign_key="node.id", index=True)
    version: int = Field(foreign_key="policy_version.version", index=True)
    offered_at_ms: int = Field(sa_type=BigInteger)
    acked_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    lost_at_ms: int | None = Field(default=None, sa_type=BigInteger)  # it fell back since: the ack counts no more
    nacked_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    nack_reason: str = ""
