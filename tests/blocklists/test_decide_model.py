"""Random policies and questions: the decider against a naive model of the decision order.

The model is written from the design, on lists of labels, and shares nothing with the product but the vocabulary: no
trie, no index, no ancestor walk. It also looks at every moment instead of computing when something may change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from blocklists.decide import decide, explain
from blocklists.policy import (
    EVERY_SITE,
    UNASSIGNED,
    Action,
    AnswerStyle,
    Audience,
    Grant,
    Group,
    Hours,
    Match,
    Mode,
    ModeKind,
    Policy,
    ReasonKind,
    Window,
)
from blocklists.snapshot import Snapshot
from tests import support

ZONE = ZoneInfo(support.ZONE)
NOON = int(datetime(2026, 3, 7, 21, tzinfo=ZONE).timestamp())  # the evening before the clocks go forward
STEP = 15 * 60
HORIZON = 24 * STEP
SIGNALS = [
    "use-application-dns.net",
    "mask.icloud.com",
    "mask-h2.icloud.com",
    "mask-api.icloud.com",
    "mask-canary.icloud.com",
    "resolver.arpa",
    "onion",
]
# A small world, so that rules and questions meet often: 15 names, and some around the signals.
UNIVERSE = [".".join((*labels, "a")) for depth in range(4) for labels in product("ab", repeat=depth)]
SPECIAL = [*SIGNALS, "icloud.com", "www.mask.icloud.com", "a.onion", "arpa", "_dns.resolver.arpa", "net"]
NAMES = st.integers(0, 7).flatmap(lambda die: st.sampled_from(SPECIAL if die == 7 else UNIVERSE))
SITES = ("north", "south")


@dataclass(frozen=True)
class RawList:
    """A list as its author wrote it."""

    id: str
    category: str
    service: bool
    names: tuple[str, ...]
    exceptions: tuple[str, ...]


@dataclass(frozen=True)
class World:
    lists: tuple[RawList, ...]
    policy: Policy
    snapshot: Snapshot
    mapped: Snapshot  # the same, from a flat file


def labels(name: str) -> list[str]:
    return name.split(".")


def at_or_below(name: str, above: str) -> bool:
    return labels(name)[-len(labels(above)) :] == labels(above)


def matches(name: str, entry: str, match: Match) -> bool:
    return labels(name) == labels(entry) if match is Match.EXACT else at_or_below(name, entry)


# --- the model -------------------------------------------------------------------------------------------------------


def lists_that_hold(world: World, name: str) -> list[RawList]:
    """A list holds a name when the nearest of its entries above the name is not an exception."""
    found = []
    for one in world.lists:
        above = [entry for entry in (*one.names, *one.exceptions) if at_or_below(name, entry)]
        nearest = max(above, key=lambda entry: len(labels(entry)), default=None)
        if nearest is not None and nearest not in one.exceptions:
            found.append(one)
    return found


def is_in_force(window: Window, now: float) -> bool:
    if now < window.starts_at or (window.ends_at is not None and now >= window.ends_at):
        return False
    local = datetime.fromtimestamp(int(now), ZONE)
    minute = local.hour * 60 + local.minute
    return not window.hours or any(
        local.weekday() in hours.days and hours.start <= minute < hours.end for hours in window.hours
    )


def is_for(sites: Sequence[str], audiences: Iterable[Audience], group: Group | None, blocks: bool) -> bool:
    if group is None:
        return blocks
    wanted = {group.audience}
    if blocks and group.audience is Audience.GUESTS:
        wanted.add(Audience.STUDENTS)
    return bool(wanted & set(audiences)) and (group.site in sites or EVERY_SITE in sites)


def meant(mode: Mode, group: Group) -> bool:
    """Who a mode is for: whom it names at its sites; and guests, where it takes something from students."""
    if group.site not in mode.sites and EVERY_SITE not in mode.sites:
        return False
    if group.audience is Audience.GUESTS and Audience.STUDENTS in mode.audiences and mode.kind is not ModeKind.OPEN:
        return True
    return group.audience in mode.audiences


def model(
    world: World, name: str, group: Group | None, clock: float, via: frozenset[int]
) -> tuple[Action, ReasonKind, int | None]:
    """The verdict's action, the kind of its reason and the number of its rule."""
    policy = world.policy
    now = max(clock, policy.created_at)
    # 1
    braked = [brake for brake in policy.brakes if at_or_below(name, brake.name)]
    if braked:
        longest = max(len(labels(brake.name)) for brake in braked)
        number = min(brake.number for brake in braked if len(labels(brake.name)) == longest)
        return Action.BLOCK, ReasonKind.BRAKE, number
    # 2
    holding = lists_that_hold(world, name)
    for correction in policy.corrections:
        if matches(name, correction.name, correction.match):
            holding = [one for one in holding if one.id not in correction.lists and "*" not in correction.lists]
    if any(matches(name, entry.name, entry.match) for entry in policy.protected):
        holding = []
    # 3
    if any(at_or_below(name, signal) for signal in SIGNALS):
        return Action.SYNTHESIZE, ReasonKind.BYPASS, None
    # 4
    locked = {category.id for category in policy.categories if category.locked}
    if any(one.category in locked for one in holding):
        return Action.BLOCK, ReasonKind.LOCKED, None
    # 5
    if any(at_or_below(name, own) for own in policy.own):
        return Action.ALLOW, ReasonKind.OWN, None
    # Modes that are on for the group, and observing: they change steps 6 and 7 only.
    on = [
        mode
        for mode in policy.modes
        if group is not None and meant(mode, group) and mode.starts_at <= now < mode.ends_at
    ]
    locked_down = any(mode.kind is ModeKind.LOCK_DOWN for mode in on)
    opening = [mode.number for mode in on if mode.kind is ModeKind.OPEN]
    suspended = [number for mode in on for number in mode.suspended]
    observed = group is not None and group.observe_until is not None and now < group.observe_until
    # 6: (labels, exact, is block, minus number): the greatest wins
    rules: list[tuple[int, bool, bool, int]] = []
    rules += [
        (len(labels(block.name)), block.match is Match.EXACT, True, -block.number)
        for block in policy.blocks
        if matches(name, block.name, block.match) and is_for(block.sites, block.audiences, group, blocks=True)
    ]
    for grant in () if locked_down else policy.grants:
        if grant.number in suspended:
            continue
        if is_for(grant.sites, grant.audiences, group, blocks=False) and is_in_force(grant.window, now):
            for entry in grant.entries:
                usable = entry.match is not Match.VIA or grant.number in via
                if usable and matches(name, entry.name, entry.match):
                    rules.append((len(labels(entry.name)), entry.match is Match.EXACT, False, -grant.number))
    if rules:
        _, _, is_block, number = max(rules)
        if is_block:
            return Action.BLOCK, ReasonKind.CUSTOM, -number
        return Action.ALLOW, ReasonKind.GRANT, -number
    # 7
    switches = {} if group is None else {one.service: one.switch.value for one in group.services}
    blocked = {category.id for category in policy.categories} if group is None or locked_down else set(group.blocks)
    allows = set() if locked_down else {id for id, switch in switches.items() if switch == "allow"}
    opened = {one.category for one in holding if one.service and one.id in allows}
    by_switch = [one for one in holding if one.service and switches.get(one.id) == "block"]
    if by_switch or any(one.category in blocked and one.category not in opened for one in holding):
        if locked_down or not (opening or observed):
            return Action.BLOCK, ReasonKind.SERVICE if by_switch else ReasonKind.CATEGORY, None
        if opening:
            return Action.ALLOW, ReasonKind.MODE, min(opening)
        return Action.ALLOW, ReasonKind.OBSERVED, None
    # 8
    return Action.ALLOW, ReasonKind.DEFAULT, None


# --- the worlds ------------------------------------------------------------------------------------------------------


moments = st.integers(-8, 28).map(lambda step: NOON + step * STEP)
entries = st.builds(lambda sign, name: f"{sign}{name}", st.sampled_from(["", "", "=", "~"]), NAMES)
entries_without_via = entries.map(lambda text: text.lstrip("~"))
sites = st.sampled_from([(EVERY_SITE,), ("north",), ("south",), ("north", "south")])
audiences = st.lists(st.sampled_from(Audience), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def raw_lists(draw: st.DrawFn) -> tuple[RawList, ...]:
    found = []
    for id, category, service in (
        ("social-1", "social-media", False),
        ("social-2", "social-media", False),
        ("chat", "messaging", False),
        ("locked", "adult", False),
        ("red", "social-media", True),
        ("blue", "social-media", True),
        ("green", "messaging", True),
    ):
        held = draw(st.lists(NAMES, max_size=4, unique=True))
        excepted = draw(st.lists(NAMES, max_size=2, unique=True))
        found.append(RawList(id, category, service, tuple(held), tuple(excepted)))
    return tuple(found)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(st.one_of(st.just(0), moments))
    end = draw(st.one_of(st.none(), moments.filter(lambda moment: moment > start)))
    spans = st.tuples(st.integers(0, 95), st.integers(1, 96)).filter(lambda span: span[0] < span[1])
    days = st.lists(st.integers(0, 6), min_size=1, unique=True).map(tuple)
    hours = draw(st.lists(st.builds(lambda day, span: Hours(day, span[0] * 15, span[1] * 15), days, spans), max_size=2))
    return Window(start, end, tuple(hours))


@st.composite
def groups(draw: st.DrawFn, id: str) -> Group:
    return support.group(
        id,
        draw(st.sampled_from(SITES)),
        draw(st.sampled_from(Audience)),
        blocks=tuple(draw(st.lists(st.sampled_from(["social-media", "messaging"]), unique=True))),
        services=draw(
            st.dictionaries(st.sampled_from(["red", "blue", "green", "gone"]), st.sampled_from(["allow", "block"]))
        ),
        observe_until=draw(st.one_of(st.none(), st.none(), moments)),
    )


@st.composite
def grants(draw: st.DrawFn, number: int) -> Grant:
    opens = draw(st.lists(entries, min_size=1, max_size=3))
    return support.grant(number, *opens, sites=draw(sites), audiences=draw(audiences), window=draw(windows()))


@st.composite
def modes(draw: st.DrawFn, number: int) -> Mode:
    start = draw(moments)
    end = draw(moments.filter(lambda moment: moment != start))
    kind = draw(st.sampled_from(ModeKind))
    suspended = draw(st.lists(st.integers(1, 4), max_size=3))
    return support.mode(number, kind, min(start, end), max(start, end), suspended, draw(sites), draw(audiences))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    lists = draw(raw_lists())
    marked = {
        service: {
            f"{one.category}/{one.id}": [*one.names, *(f"!{name}" for name in one.exceptions)]
            for one in lists
            if one.service is service
        }
        for service in (False, True)
    }
    base = support.make_base(marked[False], marked[True])
    ids = ["*", *(one.id for one in lists)]
    corrections = draw(st.lists(st.tuples(entries_without_via, st.sampled_from(ids)), max_size=2))
    customs = draw(st.lists(st.tuples(entries_without_via, sites, audiences), max_size=3))
    policy = support.make_policy(
        base,
        created_at=draw(st.one_of(st.just(support.CREATED_AT), moments)),
        groups=(draw(groups("one")), draw(groups("two"))),
        grants=tuple(draw(grants(number)) for number in draw(st.permutations(range(1, 5)))),
        corrections=tuple(support.correction(number, *one) for number, one in enumerate(corrections)),
        protected=tuple(support.entry(text) for text in draw(st.lists(entries_without_via, max_size=2))),
        brakes=tuple(support.brake(n, name) for n, name in enumerate(draw(st.lists(NAMES, max_size=1)))),
        blocks=tuple(support.custom_block(number, *one) for number, one in enumerate(customs)),
        own=tuple(draw(st.lists(NAMES, max_size=1))),
        modes=tuple(draw(modes(number)) for number in draw(st.sampled_from([(), (), (1,), (2, 1)]))),
    )
    snapshots = support.make_test_snapshot(policy, base), support.make_mapped_snapshot(policy, base)
    return World(lists, policy, *snapshots)


def group_of(world: World, id: str) -> Group | None:
    return next((group for group in world.policy.groups if group.id == id), None)


askers = st.sampled_from(["one", "two", UNASSIGNED])
vias = st.frozensets(st.integers(1, 4), max_size=2)


@given(worlds(), st.lists(st.sampled_from(SPECIAL), max_size=2), st.lists(moments, min_size=2, max_size=2), vias)
def test_the_decider_and_the_model_agree(world: World, special: list[str], now: list[int], via: frozenset[int]) -> None:
    for asker, name, moment in product(("one", "two", UNASSIGNED), [*UNIVERSE, *special], now):
        rules = world.snapshot.rules(asker)
        verdict = decide(name, rules, moment, via)
        assert decide(name, world.mapped.rules(asker), moment, via) == verdict
        found = (verdict.action, verdict.reason.kind, verdict.reason.number)
        assert found == model(world, name, group_of(world, asker), moment, via)
        assert (verdict.style is None) == (verdict.action is Action.ALLOW)
        if verdict.reason.entry is not None:
            assert at_or_below(name, verdict.reason.entry)


@given(worlds(), NAMES, askers, moments, vias)
def test_explain_gives_the_same_verdict_and_ends_with_the_step_that_decided(
    world: World, name: str, asker: str, now: int, via: frozenset[int]
) -> None:
    rules = world.snapshot.rules(asker)
    explanation = explain(name, rules, now, via)
    assert explain(name, world.mapped.rules(asker), now, via) == explanation
    assert explanation.verdict == decide(name, rules, now, via)
    assert [step.number for step in explanation.steps if step.decided] == [len(explanation.steps)]
    assert all(step.found for step in explanation.steps)


@settings(max_examples=60)
@given(worlds(), NAMES, askers, moments, vias)
def test_a_verdict_does_not_change_before_it_says_it_may(
    world: World, name: str, asker: str, now: int, via: frozenset[int]
) -> None:
    group = group_of(world, asker)
    before = model(world, name, group, now, via)
    until = decide(name, world.snapshot.rules(asker), now, via).valid_until
    assert until > now
    for moment in range(now, now + HORIZON, STEP // 3):
        if moment >= until:
            break
        assert model(world, name, group, moment, via) == before


@given(worlds(), askers, moments)
def test_nxdomain_never_denies_a_name_below_that_is_open(world: World, asker: str, now: int) -> None:
    rules = world.snapshot.rules(asker)
    every_grant = frozenset(range(1, 5))
    verdicts = {name: decide(name, rules, now, every_grant) for name in UNIVERSE}
    denied = {
        name
        for name, verdict in verdicts.items()
        if verdict.action is Action.BLOCK and verdict.style is AnswerStyle.NXDOMAIN
    }
    for name in denied:
        below = [other for other in UNIVERSE if other != name and at_or_below(other, name)]
        for other in (*below, f"zz.{name}"):
            verdict = verdicts.get(other) or decide(other, rules, now, every_grant)
            assert verdict.action is not Action.ALLOW, f"NXDOMAIN at {name} denies {other}"


@given(worlds(), NAMES, moments)
def test_groups_that_share_rules_get_the_same_verdict(world: World, name: str, now: int) -> None:
    shared: dict[int, set[str]] = {}
    for id, rules in world.snapshot.by_group.items():
        assert id in rules.groups
        mapped = world.mapped.by_group[id]
        assert (mapped.number, mapped.groups) == (rules.number, rules.groups)
        shared.setdefault(rules.number, set()).add(id)
    for ids in shared.values():
        assert len({model(world, name, group_of(world, id), now, frozenset()) for id in ids}) == 1
    assert sorted(shared) == list(range(len(shared)))
