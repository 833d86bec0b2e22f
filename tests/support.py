"""Builders that tests share: small bases and policies in a line each, with defaults that say nothing surprising.

Nothing here decides anything; a test that needs an expectation writes it itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from blocklists.base import Base, ListKind
from blocklists.compile import Source, compile_base
from blocklists.flat import Flat, flatten
from blocklists.policy import (
    EVERY_SITE,
    Audience,
    Authority,
    AuthorityKind,
    Brake,
    Category,
    Correction,
    CustomBlock,
    Entry,
    Grant,
    Group,
    Hours,
    Match,
    Mode,
    ModeKind,
    Policy,
    ServiceSwitch,
    Switch,
    Window,
)
from blocklists.snapshot import Snapshot, flat_snapshot, make_snapshot

ZONE = "America/Chicago"
CREATED_AT = 1_700_000_000  # 2023-11-14: before every question that a test asks without saying when
CATEGORIES = (
    Category("social-media", "Social media", locked=False),
    Category("messaging", "Messaging", locked=False),
    Category("adult", "Adult content", locked=True),
    Category("malware", "Malware", locked=True),
)
EVERYBODY = tuple(Audience)
ALWAYS = Window(0, None)
_SIGNS = {"=": Match.EXACT, "~": Match.VIA}


def entry(text: str) -> Entry:
    """`name` is a subtree, `=name` exact, `~name` via."""
    match = _SIGNS.get(text[:1], Match.SUBTREE)
    return Entry(text.lstrip("=~"), match)


def source(id: str, category: str, names: Iterable[str], kind: ListKind = ListKind.LIST) -> Source:
    """A list to compile; `!name` among `names` is an exception."""
    names = list(names)
    held = [name for name in names if not name.startswith("!")]
    excepted = [name[1:] for name in names if name.startswith("!")]
    return Source(id, id.title(), category, kind, held, excepted)


def open_base(data: bytes) -> Base:
    """A base over bytes in memory."""
    return Base(memoryview(data), hashlib.sha256(data).hexdigest())


def make_base(
    lists: Mapping[str, Iterable[str]] | None = None, services: Mapping[str, Iterable[str]] | None = None
) -> Base:
    """A base. Keys are `category` or `category/id` for lists, `id` (of social-media) or `category/id` for services."""
    sources = []
    for key, found in (lists or {}).items():
        category, _, id = key.partition("/")
        sources.append(source(id or category, category, found))
    for key, found in (services or {}).items():
        category, _, id = key.rpartition("/")
        sources.append(source(id, category or "social-media", found, ListKind.SERVICE))
    return open_base(compile_base(sources))


def group(
    id: str = "north-students",
    site: str = "north",
    audience: Audience = Audience.STUDENTS,
    networks: tuple[str, ...] = (),
    asked: tuple[str, ...] = (),
    blocks: tuple[str, ...] = ("social-media", "messaging"),
    services: Mapping[str, str] | None = None,
    observe_until: int | None = None,
    profiles: tuple[str, ...] = (),
) -> Group:
    switches = tuple(ServiceSwitch(service, Switch(switch)) for service, switch in (services or {}).items())
    return Group(id, site, audience, networks, asked, blocks, switches, observe_until, profiles=profiles)


def grant(
    number: int,
    *entries: str,
    sites: tuple[str, ...] = (EVERY_SITE,),
    audiences: tuple[Audience, ...] = EVERYBODY,
    window: Window = ALWAYS,
    authority: AuthorityKind = AuthorityKind.REQUEST,
) -> Grant:
    return Grant(
        number, Authority(authority, 100 + number), tuple(entry(text) for text in entries), sites, audiences, window
    )


def correction(number: int, text: str, *lists: str) -> Correction:
    one = entry(text)
    return Correction(number, one.name, one.match, lists or ("*",))


def custom_block(
    number: int, text: str, sites: tuple[str, ...] = (EVERY_SITE,), audiences: tuple[Audience, ...] = EVERYBODY
) -> CustomBlock:
    one = entry(text)
    return CustomBlock(number, one.name, one.match, sites, audiences)


def brake(number: int, name: str) -> Brake:
    return Brake(number, name)


def mode(
    number: int,
    kind: str,
    starts_at: int,
    ends_at: int,
    suspended: Iterable[int] = (),
    sites: tuple[str, ...] = (EVERY_SITE,),
    audiences: tuple[Audience, ...] = EVERYBODY,
) -> Mode:
    return Mode(number, ModeKind(kind), sites, audiences, starts_at, ends_at, tuple(suspended))


def make_policy(base: Base | None = None, **fields: Any) -> Policy:
    """A policy over `base`: one group of students, the usual categories, and the fields that the test gives."""
    policy = Policy(
        format=1,
        version=1,
        district="district.example",
        base=base.digest if base is not None else "0" * 64,
        created_at=CREATED_AT,
        zone=ZONE,
        portal="https://filter.district.example",
        audit_head="f" * 64,
        categories=CATEGORIES,
        groups=(group(),),
        grants=(),
        corrections=(),
        protected=(),
        brakes=(),
        blocks=(),
        own=(),
    )
    return replace(policy, **fields)


def make_rich_policy(base: Base | None = None) -> Policy:
    """A policy with something in every field."""
    return make_policy(
        base,
        groups=(
            group(networks=("10.1.0.0/16", "2001:db8:1::/48"), services={"youtube": "allow", "tiktok": "block"}),
            group("north-staff", "north", Audience.STAFF, ("10.2.0.0/16",), ("192.0.2.53",), ("messaging",), None, 7),
        ),
        grants=(
            grant(1, "facebook.com", "~fbcdn.net", "=m.me"),
            grant(2, "x.com", sites=("north",), window=Window(5, 10, (Hours((0, 4), 480, 900),))),
            grant(3, "reddit.com", audiences=(Audience.STAFF,), authority=AuthorityKind.EXCEPTION),
        ),
        corrections=(correction(1, "t.co"), correction(2, "=lnkd.in", "social-media")),
        protected=(entry("login.example"), entry("=time.example")),
        brakes=(brake(1, "evil.example"),),
        blocks=(custom_block(1, "games.example"), custom_block(2, "=www.example", ("north",), (Audience.GUESTS,))),
        own=("district.example",),
        modes=(mode(1, "testing", 0, 2**32, (2,)), mode(2, "open", 5, 10, (), ("north",), (Audience.STAFF,))),
    )


def make_test_snapshot(policy: Policy, base: Base) -> Snapshot:
    return make_snapshot(policy, "0" * 64, base)


def make_mapped_snapshot(policy: Policy, base: Base) -> Snapshot:
    """The same, decided from a flat file."""
    return flat_snapshot(Flat(memoryview(flatten(policy, "0" * 64)), "0" * 64), "0" * 64, base)
