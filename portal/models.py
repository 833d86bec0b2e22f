"""SQLModel tables only: what is stored, and how rows hang together. No behaviour.

Times are whole seconds since 1970 UTC (the pages show them in the district's zone); dates of lessons are ISO dates in
the district's zone. Lists of plain strings and small objects are JSON columns: they are read and written whole.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Enum, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from blocklists.policy import AnswerStyle, Audience, AuthorityKind, Match, ModeKind, Switch

# Constraints have names, so that a later migration can change them on every database.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Role(StrEnum):
    """A closed set. An administrator does not thereby decide requests."""

    REQUESTER = "requester"  # any employee
    REVIEWER = "reviewer"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    DESIGNEE = "designee"  # keeps the yearly register of platforms


class State(StrEnum):
    """Of a request. `approved` is not "in force": that is said of the grant, from the nodes' acknowledgements."""

    SUBMITTED = "submitted"
    ASKED = "asked"  # the desk asked a question; it is the requester's turn
    APPROVED = "approved"
    DENIED = "denied"
    NOT_OUR_BLOCK = "not-our-block"  # answered: the filter does not block this
    WITHDRAWN = "withdrawn"


class Use(StrEnum):
    VIEW = "view"
    STUDENTS_POST = "students-post"
    CLASS_POST = "class-post"
    MESSAGES = "messages"


def _values(kind: type[StrEnum]) -> list[str]:
    return [word.value for word in kind]


def _word(kind: type[StrEnum], index: bool = False, default: StrEnum | None = None) -> Any:
    """A column of one of the enum's words, stored as the word itself: a new word needs no change of the database."""
    stored = Enum(kind, values_callable=_values, native_enum=False, create_constraint=False, length=32)
    column: Column[StrEnum] = Column(stored, nullable=False, index=index)
    return Field(sa_column=column) if default is None else Field(default=default, sa_column=column)


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
    created_at: int = Field(sa_type=BigInteger)


class Site(SQLModel, table=True):
    id: str = Field(primary_key=True)
    name: str
    level: str = ""  # elementary, middle, high, office, away


class ClientGroup(SQLModel, table=True):
    """A site and an audience, and what is blocked for them; id `SITE/AUDIENCE`."""

    __tablename__ = "client_group"

    id: str = Field(primary_key=True)
    site_id: str = Field(foreign_key="site.id", index=True)
    audience: Audience = _word(Audience)
    networks: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    asked: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    blocks: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    observe_until: int | None = Field(default=None, sa_type=BigInteger)  # None: enforced
    revision: int = 1


class GroupService(SQLModel, table=True):
    """A group's switch for one service."""

    __tablename__ = "group_service"

    group_id: str = Field(foreign_key="client_group.id", primary_key=True)
    service: str = Field(primary_key=True)
    switch: Switch = _word(Switch)


class CategoryRow(SQLModel, table=True):
    __tablename__ = "category"

    id: str = Field(primary_key=True)
    title: str
    description: str = ""
    locked: bool
    style: AnswerStyle = _word(AnswerStyle, default=AnswerStyle.NXDOMAIN)


class User(SQLModel, table=True):
    __tablename__ = "account"

    id: int | None = Field(default=None, primary_key=True)
    email: str = Field(unique=True, index=True)  # lower case
    name: str
    password_hash: str = ""  # argon2id; empty: cannot sign in with a password
    roles: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    site_id: str | None = Field(default=None, foreign_key="site.id")
    demo: bool = False  # signs in with one click, on a demo portal only
    disabled_at: int | None = Field(default=None, sa_type=BigInteger)
    created_at: int = Field(sa_type=BigInteger)


class WebSession(SQLModel, table=True):
    """A signed-in browser. The cookie holds the secret, the row only its hash."""

    __tablename__ = "web_session"

    secret_hash: str = Field(primary_key=True)
    user_id: int = Field(foreign_key="account.id", index=True)
    csrf: str
    created_at: int = Field(sa_type=BigInteger)
    last_seen_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)


class ApiToken(SQLModel, table=True):
    """A bearer token: a person's (`owner_id`) or a machine's (no owner). A machine token never decides."""

    __tablename__ = "api_token"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    secret_hash: str = Field(unique=True, index=True)
    role: Role = _word(Role)
    owner_id: int | None = Field(default=None, foreign_key="account.id")
    created_by: str
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int | None = Field(default=None, sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
    last_used_at: int | None = Field(default=None, sa_type=BigInteger)


class Request(SQLModel, table=True):
    """The written request. `id` is its number, `uuid` travels to other desks, `revision` is for compare-and-set."""

    __tablename__ = "request"

    id: int | None = Field(default=None, primary_key=True)
    uuid: str = Field(unique=True, index=True)
    requester_id: int = Field(foreign_key="account.id", index=True)
    state: State = _word(State, index=True, default=State.SUBMITTED)
    revision: int = 1
    tools: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    purpose: str
    use: Use = _word(Use, default=Use.VIEW)
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


class GrantRow(SQLModel, table=True):
    """What opens names. `id` is the grant's number in policies, logs and pages."""

    __tablename__ = "grant_"

    id: int | None = Field(default=None, primary_key=True)
    authority: AuthorityKind = _word(AuthorityKind)
    request_id: int | None = Field(default=None, foreign_key="request.id", index=True)
    entries: list[dict[str, str]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    sites: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    audiences: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int | None = Field(default=None, index=True, sa_type=BigInteger)
    hours: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
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
    match: Match = _word(Match)
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
    match: Match = _word(Match)
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
    kind: ModeKind = _word(ModeKind)
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


class BaseFile(SQLModel, table=True):
    """A compiled base that this portal can offer; the file lies in the data folder under its digest."""

    __tablename__ = "base_file"

    digest: str = Field(primary_key=True)
    size: int
    names: int
    created_at: int = Field(sa_type=BigInteger)
    current: bool = False


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
    nacked_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    nack_reason: str = ""


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
