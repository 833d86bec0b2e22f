"""A policy as look-up tables: the effective policy (`Rules`) of each group.

Groups that resolve to the same rules share one object, and with it the resolver's memos. What many groups have in
common (the grants of every site, say) is a *layer* that they share (`layers.py`), so 300 groups do not copy 10,000
grants. Built once per snapshot, never changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar
from zoneinfo import ZoneInfo

from blocklists.base import Base, ListKind
from blocklists.layers import Layers, LayerTable, Openings, Scope
from blocklists.policy import (
    EVERY_SITE,
    UNASSIGNED,
    Audience,
    Category,
    Correction,
    CustomBlock,
    Group,
    Match,
    Mode,
    ModeKind,
    Policy,
    Switch,
    YouTube,
)
from blocklists.rewrites import rewrites

T = TypeVar("T")
STRICTEST = rewrites(True, YouTube.STRICT)  # for the unassigned, and in a lock-down


@dataclass(frozen=True, slots=True, eq=False)
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
    openings: Openings  # of its grants
    blocks: Mapping[str, tuple[CustomBlock, ...]]
    locked: frozenset[int]  # lists of locked categories
    blocked: frozenset[int]  # lists that this group's categories and service switches block
    by_switch: frozenset[int]  # those of `blocked` that a service's own switch blocks
    allowed: frozenset[int]  # services that this group's switches allow
    strict: frozenset[int]  # every list: what a lock-down blocks
    observe_until: int | None
    modes: tuple[Mode, ...]  # that touch this group, by number
    rewrites: Mapping[str, str]  # name -> the name that answers in its place
    carved: tuple[Collection[str], ...]  # layers of names with an exception below: blocked with NODATA, not NXDOMAIN


def rules_by_group(policy: Policy, base: Base, layers: LayerTable | None = None) -> dict[str, Rules]:
    """Return the rules of every group of `policy`, and of the unassigned clients; `layers` are of its grants."""
    builder = _Builder(policy, base, Layers(policy.grants) if layers is None else layers)
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

    def __init__(self, policy: Policy, base: Base, layers: LayerTable) -> None:
        self._policy = policy
        self._base = base
        self._zone = ZoneInfo(policy.zone)
        self._categories = {category.id: category for category in policy.categories}
        self._brakes: dict[str, int] = {}
        for brake in policy.brakes:
            self._brakes[brake.name] = min(brake.number, self._brakes.get(brake.name, brake.number))
        self._corrections = _by_name((one.name, one) for one in policy.corrections)
        self._protected: dict[str, Match] = {}
        for entry in policy.protected:  # twice the same name: the wider one counts
            if self._protected.get(entry.name) is not Match.SUBTREE:
                self._protected[entry.name] = entry.match
        self._own = frozenset(policy.own)
        self._locked = frozenset(index for index, one in enumerate(base.lists) if self._categories[one.category].locked)
        self._always_carved = above((*self._corrections, *self._protected, *self._own, *base.exceptions))
        self._bundles_carved: dict[frozenset[int], frozenset[str]] = {}
        self._layers = layers
        self._made: dict[object, Rules] = {}

    def unassigned(self) -> Rules:
        """Strictest: every category blocked, no service allowed, every custom block, no grant, every rewrite."""
        return self._make(frozenset(self._categories), {}, (), self._policy.blocks, rewritten=(True, YouTube.STRICT))

    def of(self, group: Group) -> Rules:
        scopes = (EVERY_SITE, group.audience), (group.site, group.audience)
        switches = {one.service: one.switch for one in group.services}
        modes = tuple(
            mode for mode in sorted(self._policy.modes, key=lambda mode: mode.number) if _touches(mode, group)
        )
        blocks = frozenset(group.blocks)
        rewritten = (group.safe_search, group.youtube)
        return self._make(blocks, switches, scopes, self._blocks(group), group.observe_until, modes, rewritten)

    def _blocks(self, group: Group) -> tuple[CustomBlock, ...]:
        """Guests take the students' blocks (and, unlike them, no grant that does not name guests)."""
        audiences = {group.audience, Audience.STUDENTS} if group.audience is Audience.GUESTS else {group.audience}
        return tuple(
            block
            for block in self._policy.blocks
            if (group.site in block.sites or EVERY_SITE in block.sites) and not audiences.isdisjoint(block.audiences)
        )

    def _make(
        self,
        blocks: frozenset[str],
        switches: dict[str, Switch],
        scopes: tuple[Scope, ...],
        customs: tuple[CustomBlock, ...],
        observe_until: int | None = None,
        modes: tuple[Mode, ...] = (),
        rewritten: tuple[bool, YouTube] = (False, YouTube.OFF),
    ) -> Rules:
        layers = [layer for scope in scopes if (layer := self._layers.of(scope)) is not None]
        identity = (
            blocks,
            frozenset(switches.items()),
            tuple(id(layer) for layer in layers),  # alike ones are one object, which lives as long as this builder
            tuple(block.number for block in customs),
            observe_until,
            tuple(mode.number for mode in modes),
            rewritten,
        )
        if identity in self._made:
            return self._made[identity]
        by_switch = self._services(switches, Switch.BLOCK)
        allowed = self._services(switches, Switch.ALLOW)
        by_category = {index for index, one in enumerate(self._base.lists) if one.category in blocks}
        openings = self._layers.together(scopes)
        carved = (self._always_carved, self._below_bundles(allowed), *openings.carved)
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
            strict=frozenset(range(len(self._base.lists))),
            observe_until=observe_until,
            modes=modes,
            rewrites=rewrites(*rewritten),
            carved=tuple(one for one in carved if one),
        )
        self._made[identity] = rules
        return rules

    def _below_bundles(self, allowed: frozenset[int]) -> frozenset[str]:
        """Names above one that an allowed service opens."""
        if allowed not in self._bundles_carved:
            self._bundles_carved[allowed] = above(name for index in allowed for name in self._base.bundles[index])
        return self._bundles_carved[allowed]

    def _services(self, switches: dict[str, Switch], wanted: Switch) -> frozenset[int]:
        return frozenset(
            index
            for index, one in enumerate(self._base.lists)
            if one.kind is ListKind.SERVICE and switches.get(one.id) is wanted
        )


def _touches(mode: Mode, group: Group) -> bool:
    """Guests take the students' overlays where these close something (a lock-down, grants that testing suspends), as
    they take their blocks; what a mode opens is opened to those it names."""
    if group.site not in mode.sites and EVERY_SITE not in mode.sites:
        return False
    follows = group.audience is Audience.GUESTS and mode.kind is not ModeKind.OPEN
    return group.audience in mode.audiences or (follows and Audience.STUDENTS in mode.audiences)


def _by_name(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in found.items()}


def above(found: Iterable[str]) -> frozenset[str]:
    """Return every name above one of `found`; a name of `found` itself only when another lies below it."""
    above: set[str] = set()
    for name in found:
        at = name.find(".")
        while at != -1 and (parent := name[at + 1 :]) not in above:  # a parent that is there brought its own parents
            above.add(parent)
            at = name.find(".", at + 1)
    return frozenset(above)
