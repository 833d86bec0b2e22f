"""The vocabulary of the decision: frozen types that portal and resolver share.

Values only. Bytes become a `Policy` in `policy_codec.py`; a `Policy` becomes look-up tables in `rules.py`; a question
becomes a `Verdict` in `decide.py`. All times are whole seconds since 1970-01-01 UTC; windows are half-open,
`[starts_at, ends_at)`. A policy holds request and grant numbers, never a person's name or a purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

EVERY_SITE = "*"
UNASSIGNED = "unassigned"  # the group of an allowed client that no group claims: strictest policy, no grants
FOREVER = float("inf")


class Audience(StrEnum):
    STUDENTS = "students"
    STAFF = "staff"
    GUESTS = "guests"


class Match(StrEnum):
    SUBTREE = "subtree"  # the name and everything below it
    EXACT = "exact"
    VIA = "via"  # only as a CNAME/DNAME or SVCB target of the grant's other names


class Switch(StrEnum):
    """What a group's policy says of one service, over what it says of the service's category."""

    ALLOW = "allow"
    BLOCK = "block"


class AnswerStyle(StrEnum):
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    NULL = "null"  # 0.0.0.0 and ::
    REFUSED = "refused"
    PAGE = "page"  # the address of the block page


class YouTube(StrEnum):
    """What of YouTube a group may see: YouTube's own restricted modes."""

    OFF = "off"
    MODERATE = "moderate"
    STRICT = "strict"


class ModeKind(StrEnum):
    """What a prepared overlay does to its groups while it lasts. None opens a locked category."""

    TESTING = "testing"  # suspends the grants it names
    LOCK_DOWN = "lock-down"  # the strictest policy, no grants
    OPEN = "open"  # emergency: what categories and services block is allowed


class AuthorityKind(StrEnum):
    REQUEST = "request"
    REGISTER = "register"
    EXCEPTION = "exception"  # an operational exception


@dataclass(frozen=True, slots=True)
class Category:
    id: str
    title: str
    locked: bool  # law or safety: no request opens it, every group is blocked
    style: AnswerStyle = AnswerStyle.NXDOMAIN


@dataclass(frozen=True, slots=True)
class ServiceSwitch:
    service: str
    switch: Switch


@dataclass(frozen=True, slots=True)
class Group:
    """A client group: who asks, as the resolver sees it, and what is blocked for it."""

    id: str
    site: str
    audience: Audience
    networks: tuple[str, ...]  # CIDR, IPv4 and IPv6
    asked: tuple[str, ...]  # addresses of ours: a client that asked one of these is in this group
    blocks: tuple[str, ...]  # category ids; locked categories are blocked without being named
    services: tuple[ServiceSwitch, ...]
    observe_until: int | None = None  # until then its categories and services are logged as they would block, and allow
    safe_search: bool = False  # search engines answer as their safe versions
    youtube: YouTube = YouTube.OFF
    profiles: tuple[str, ...] = ()  # device profiles: SHA-256 (hex) of their tokens, over DNS over TLS and HTTPS


@dataclass(frozen=True, slots=True)
class Authority:
    kind: AuthorityKind
    number: int


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    match: Match


@dataclass(frozen=True, slots=True)
class Hours:
    """Weekly hours in the district's zone: on `days` (0 = Monday), from `start` until `end`, minutes of the day."""

    days: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    starts_at: int
    ends_at: int | None
    hours: tuple[Hours, ...] = ()  # none: the whole day, every day


@dataclass(frozen=True, slots=True)
class Grant:
    number: int
    authority: Authority
    entries: tuple[Entry, ...]
    sites: tuple[str, ...]  # site ids, or EVERY_SITE alone
    audiences: tuple[Audience, ...]
    window: Window
    lifts_rewrites: bool = False  # its names are not rewritten either (safe search, YouTube's modes)


@dataclass(frozen=True, slots=True)
class Correction:
    """ "List L is wrong about name N": its listings of names at N (or, subtree, at and below N) do not count."""

    number: int
    name: str
    match: Match
    lists: tuple[str, ...]  # list ids; `*` alone: every list


@dataclass(frozen=True, slots=True)
class Brake:
    """An emergency block of a name and everything below it, for everybody; it beats every grant."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class CustomBlock:
    """An administrator's ordinary block, scoped like a grant; at the same name it beats a grant."""

    number: int
    name: str
    match: Match
    sites: tuple[str, ...]
    audiences: tuple[Audience, ...]


@dataclass(frozen=True, slots=True)
class Mode:
    """An overlay that was switched on for these groups; it ends by itself, by the resolver's own clock."""

    number: int
    kind: ModeKind
    sites: tuple[str, ...]  # site ids, or EVERY_SITE alone
    audiences: tuple[Audience, ...]
    starts_at: int
    ends_at: int
    suspended: tuple[int, ...] = ()  # numbers of grants that do not count meanwhile


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers hold, beside the verdict."""

    page: tuple[str, ...] = ()  # IPv4 and IPv6 addresses of the block page, for the style `page`
    strip_ech: bool = False  # HTTPS and SVCB answers lose `ech`
    private: tuple[str, ...] = ()  # at and below these names public answers may hold private addresses
    structured: bool = False  # structured errors, to those that ask for them
    contact: str = ""  # who is asked to open a name: `mailto:`, `tel:` or an https address
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of everything that a decision can change, and the digest of the base it was made for."""

    format: int
    version: int
    district: str
    base: str  # SHA-256 of the base file, lower-case hex
    created_at: int
    zone: str  # IANA time zone of the weekly hours
    portal: str  # address that a blocked answer names
    audit_head: str  # head of the portal's audit chain when this was made: every node witnesses it
    categories: tuple[Category, ...]
    groups: tuple[Group, ...]
    grants: Sequence[Grant]  # a tuple, or what is made of a mapped policy (`flat.py`)
    corrections: tuple[Correction, ...]
    protected: tuple[Entry, ...]
    brakes: tuple[Brake, ...]
    blocks: tuple[CustomBlock, ...]
    own: tuple[str, ...]  # the district's own names: answered by local records or conditional forwarding
    modes: tuple[Mode, ...] = ()
    answering: Answering = Answering()


class Action(StrEnum):
    ALLOW = "allow"
    BLOCK = "block"
    SYNTHESIZE = "synthesize"  # a bypass signal: we answer, nobody is asked
    REWRITE = "rewrite"  # allowed, and answered by another name's addresses


class ReasonKind(StrEnum):
    """Which step of the decision order spoke."""

    BRAKE = "brake"
    BYPASS = "bypass"
    LOCKED = "locked"
    OWN = "own"
    GRANT = "grant"
    CUSTOM = "custom"
    SERVICE = "service"  # the group's switch for one service
    CATEGORY = "category"
    DEFAULT = "default"
    OBSERVED = "observed"  # would be blocked; this group is only observed yet
    MODE = "mode"  # a mode that is on for this group
    REWRITE = "rewrite"  # the group's safe search or YouTube mode; nothing else speaks of the name
    REBINDING = "rebinding"  # a public name whose answer holds private addresses


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: the step, and the rule that it found. `entry` is the matched name; fields that do not apply are None."""

    kind: ReasonKind
    entry: str | None = None
    category: str | None = None
    list: str | None = None
    service: str | None = None
    number: int | None = None  # of the grant, brake, custom block or mode
    authority: Authority | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    action: Action
    reason: Reason
    style: AnswerStyle | None = None  # for a block or a synthesized answer
    lifted: Reason | None = None  # for an allow by grant, mode or observing: what it lifts, None without one
    valid_until: float = FOREVER  # the next moment at which this verdict may change, seconds since 1970
    target: str | None = None  # for a rewrite: the name whose addresses are answered
