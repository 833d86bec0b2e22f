"""A policy as look-up tables: the effective policy (`Rules`) of each group.

Groups that resolve to the same rules share one object, and with it the resolver's memos. Built once per snapshot,
never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from zoneinfo import ZoneInfo

from blocklists import names
from blocklists.base import Base, ListKind
from blocklists.policy import (
    EVERY_SITE,
    UNASSIGNED,
    Audience,
    Category,
    Correction,
    CustomBlock,
    Grant,
    Group,
    Match,
    Policy,
    Switch,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of a grant, as found under its name."""

    grant: Grant
    match: Match


@dataclass(frozen=True, slots=True)
class Rules:
    """The effective policy of one or more groups. Names are canonical; list indexes are the base's."""

    number: int  # small and dense within one snapshot
    groups: tuple[str, ...]
    base: Base
    zone: ZoneInfo
    created_at: int
    categories: Mapping[str, Category]
    brakes: Mapping[str, int]  # name -> brake number
    corrections: Mapping[str, tuple[Correction, ...]]
    protected: Mapping[str, Match]
    own: frozenset[str]
    openings: Mapping[str, tuple[Opening, ...]]
    blocks: Mapping[str, tuple[CustomBlock, ...]]
    locked: frozenset[int]  # lists of locked categories
    blocked: frozenset[int]  # lists that this group's categories and service switches block
    by_switch: frozenset[int]  # those of `blocked` that a service's own switch blocks
    allowed: frozenset[int]  # services that this group's switches allow
    carved: frozenset[str]  # names with an exception somewhere below: blocked with NODATA, never NXDOMAIN


def rules_by_group(policy: Policy, base: Base) -> dict[str, Rules]:
    """Return the rules of every group of `policy`, and of the unassigned clients."""
    builder = _Builder(policy, base)
    found = {UNASSIGNED: builder.unassigned()}
    for group in policy.groups:
        found[group.id] = builder.of(group)
    members: dict[int, list[str]] = {}
    for name, rules in found.items():
        members.setdefault(rules.number, []).append(name)
    shared: dict[int, Rules] = {}
    for name, rules in found.items():
        if rules.number not in shared:
            shared[rules.number] = replace(rules, groups=tuple(sorted(members[rules.number])))
        found[name] = shared[rules.number]
    return found


class _Builder:
    """What all groups share is made once; what differs is made once per distinct combination."""

    def __init__(self, policy: Policy, base: Base) -> None:
        self._policy = policy
        self._base = base
        self._zone = ZoneInfo(policy.zone)
        self._categories = {category.id: category for category in policy.categories}
        self._brakes = {brake.name: brake.number for brake in policy.brakes}
        self._corrections = _by_name((one.name, one) for one in policy.corrections)
        self._protected = {entry.name: entry.match for entry in policy.protected}
        self._own = frozenset(policy.own)
        self._locked = frozenset(index for index, one in enumerate(base.lists) if self._categories[one.category].locked)
        self._always_carved = _above((*self._corrections, *self._protected, *self._own, *base.exceptions))
        self._made: dict[object, Rules] = {}

    def unassigned(self) -> Rules:
        """Strictest: every category blocked, no service allowed, every custom block, no grant."""
        return self._make(frozenset(self._categories), {}, (), self._policy.blocks)

    def of(self, group: Group) -> Rules:
        def here(sites: tuple[str, ...], audiences: tuple[Audience, ...]) -> bool:
            return group.audience in audiences and (group.site in sites or sites == (EVERY_SITE,))

        grants = tuple(grant for grant in self._policy.grants if here(grant.sites, grant.audiences))
        blocks = tuple(block for block in self._policy.blocks if here(block.sites, block.audiences))
        switches = {one.service: one.switch for one in group.services}
        return self._make(frozenset(group.blocks), switches, grants, blocks)

    def _make(
        self,
        blocks: frozenset[str],
        switches: dict[str, Switch],
        grants: tuple[Grant, ...],
        customs: tuple[CustomBlock, ...],
    ) -> Rules:
        identity = (
            blocks,
            frozenset(switches.items()),
            tuple(grant.number for grant in grants),
            tuple(block.number for block in customs),
        )
        if identity in self._made:
            return self._made[identity]
        by_switch = self._services(switches, Switch.BLOCK)
        allowed = self._services(switches, Switch.ALLOW)
        by_category = {index for index, one in enumerate(self._base.lists) if one.category in blocks}
        openings = _by_name((entry.name, Opening(grant, entry.match)) for grant in grants for entry in grant.entries)
        rules = Rules(
            number=len(self._made),
            groups=(),
            base=self._base,
            zone=self._zone,
            created_at=self._policy.created_at,
            categories=self._categories,
            brakes=self._brakes,
            corrections=self._corrections,
            protected=self._protected,
            own=self._own,
            openings=openings,
            blocks=_by_name((block.name, block) for block in customs),
            locked=self._locked,
            blocked=frozenset((by_category | by_switch) - allowed),
            by_switch=by_switch,
            allowed=allowed,
            carved=self._always_carved | _above(openings),
        )
        self._made[identity] = rules
        return rules

    def _services(self, switches: dict[str, Switch], wanted: Switch) -> frozenset[int]:
        return frozenset(
            index
            for index, one in enumerate(self._base.lists)
            if one.kind is ListKind.SERVICE and switches.get(one.id) is wanted
        )


def _by_name(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in found.items()}


def _above(found: Iterable[str]) -> frozenset[str]:
    """Every name above one of `found`, the names themselves left out."""
    return frozenset(above for name in found for above in list(names.ancestors(name))[1:])
