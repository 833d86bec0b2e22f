"""Tables of who is where, and what is blocked for them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column
from sqlmodel import Field, SQLModel

from blocklists.policy import AnswerStyle, Audience, Switch, YouTube
from portal.models.columns import word


class District(SQLModel, table=True):
    """One row, id 1."""

    id: int = Field(default=1, primary_key=True)
    slug: str  # in every policy: a node refuses another district's
    name: str
    zone: str = "America/Chicago"
    portal_url: str
    contact: str = ""  # the service desk: mailto: or tel:
    term_ends_on: str  # ISO date: the prefilled end of a request
    own_names: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    colour: str = ""  # `#1f6feb`, of the pages' head; empty: the product's own
    terms: list[dict[str, str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    staff_social_media: bool | None = None  # incidental use from staff networks; None: not answered yet
    answered_by: str = ""  # who answered that, as the audit names them
    answered_at: int | None = Field(default=None, sa_type=BigInteger)
    settled_at: int | None = Field(default=None, sa_type=BigInteger)  # an administrator saved the settings
    demo: bool = False
    block_page: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # addresses
    strip_ech: bool = False
    private_names: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    structured_errors: bool = False
    created_at: int = Field(sa_type=BigInteger)
    second_factor: bool = False  # reviewers and administrators sign in with a one-time code too
    held_at: int | None = Field(default=None, sa_type=BigInteger)  # restored from a backup: nothing is published yet
    version_floor: int = Field(default=0, sa_type=BigInteger)  # newest version that a node has shown: the next is above


class Site(SQLModel, table=True):
    id: str = Field(primary_key=True)
    name: str
    level: str = ""  # elementary, middle, high, office, away


class ClientGroup(SQLModel, table=True):
    """A site and an audience, and what is blocked for them; id `SITE/AUDIENCE`."""

    __tablename__ = "client_group"

    id: str = Field(primary_key=True)
    site_id: str = Field(foreign_key="site.id", index=True)
    audience: Audience = word(Audience)
    networks: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    asked: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    blocks: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    observe_until: int | None = Field(default=None, sa_type=BigInteger)  # None: enforced
    safe_search: bool = False
    youtube: YouTube = word(YouTube, default=YouTube.OFF)
    revision: int = 1


class GroupService(SQLModel, table=True):
    """A group's switch for one service."""

    __tablename__ = "group_service"

    group_id: str = Field(foreign_key="client_group.id", primary_key=True)
    service: str = Field(primary_key=True)
    switch: Switch = word(Switch)


class CategoryRow(SQLModel, table=True):
    __tablename__ = "category"

    id: str = Field(primary_key=True)
    title: str
    description: str = ""
    locked: bool
    style: AnswerStyle = word(AnswerStyle, default=AnswerStyle.NXDOMAIN)
