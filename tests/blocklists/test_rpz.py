"""The zones of a policy, read as a name server reads them, say what the decider says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from blocklists import names, rpz
from blocklists.decide import decide
from blocklists.policy import UNASSIGNED, Action, AnswerStyle, Match
from blocklists.snapshot import make_snapshot
from tests import support
from tests.blocklists.test_decide_model import SPECIAL, UNIVERSE, World, askers, moments, worlds

PASS, NXDOMAIN, NODATA = ("CNAME rpz-passthru.",), ("CNAME .",), ("CNAME *.",)
ANSWERS = {AnswerStyle.NODATA: NODATA, AnswerStyle.NXDOMAIN: NXDOMAIN, AnswerStyle.NULL: ("A 0.0.0.0", "AAAA ::")}
QUESTIONS = [*UNIVERSE, *SPECIAL, *(f"zz.{name}" for name in UNIVERSE), "zz.yy.a.a", "nowhere"]


def closest_encloser(zone: dict[str, rpz.Answer], name: str) -> rpz.Answer | None:
    """As RFC 4592 and Unbound look: the wildcard at the deepest existing name, or none."""
    if name in zone:
        return zone[name]
    existing = {above for owner in zone for above in names.ancestors(owner)}
    for above in names.ancestors(name):
        if above in existing:
            return zone.get(f"*.{above}")
    return None


def longest_wildcard(zone: dict[str, rpz.Answer], name: str) -> rpz.Answer | None:
    """As BIND and PowerDNS look: the deepest wildcard above the name."""
    wildcards = (zone.get(f"*.{above}") for above in list(names.ancestors(name))[1:])
    return zone.get(name) or next((one for one in wildcards if one), None)


@settings(max_examples=25)
@given(worlds(), askers, moments)
def test_every_way_to_read_the_zones_gives_the_decision(world: World, asker: str, now: int) -> None:
    rules, policy = world.snapshot.rules(asker), world.snapshot.policy
    pairs = [list(rpz.allow_zone(rules, policy, now)), list(rpz.block_zone(rules, policy, now))]
    mapped = world.mapped.rules(asker)
    assert [list(rpz.allow_zone(mapped, policy, now)), list(rpz.block_zone(mapped, policy, now))] == pairs
    zones = [dict(one) for one in pairs]
    assert [len(one) for one in zones] == [len(one) for one in pairs], "an owner stands twice"
    verdicts = {name: decide(name, rules, now) for name in QUESTIONS}
    for name, verdict in verdicts.items():
        for look in (closest_encloser, longest_wildcard):
            found = next((answer for zone in zones if (answer := look(zone, name)) is not None), PASS)
            expected = PASS if verdict.style is None else ANSWERS[verdict.style]
            if (found, expected) == (NXDOMAIN, NODATA):  # the decider is careful for an exception that opens nothing
                below = [one for other, one in verdicts.items() if other.endswith(f".{name}")]
                assert all(one.action is not Action.ALLOW for one in below), (name, zones)
            else:
                assert found == expected, (name, look.__name__, zones)


@settings(max_examples=15)
@given(worlds(), askers, moments)
def test_zones_do_not_change_before_the_moment_that_is_named(world: World, asker: str, now: int) -> None:
    rules, policy = world.snapshot.rules(asker), world.snapshot.policy

    def both(moment: float) -> tuple[object, ...]:
        return tuple(rpz.allow_zone(rules, policy, moment)), tuple(rpz.block_zone(rules, policy, moment))

    change = rpz.next_change(rules, now)
    assert rpz.next_change(world.mapped.rules(asker), now) == change
    assert both(now) == both(min(change - 1, now + 24 * 3600))


@settings(max_examples=15)
@given(worlds(), askers, st.tuples(moments, moments))
def test_the_block_zone_is_the_same_when_what_it_depends_on_is(world: World, asker: str, pair: tuple[int, int]) -> None:
    rules, policy = world.snapshot.rules(asker), world.snapshot.policy
    first, second = (
        (rpz.block_zone_identity(rules, policy, now), list(rpz.block_zone(rules, policy, now))) for now in pair
    )
    assert first[0] != second[0] or first[1] == second[1]


def test_an_approval_changes_the_allow_zone_only() -> None:
    base = support.make_base({"social-media/social": ["facebook.com", "ads.facebook.com", "tiktok.com"]})
    group = support.group("north/students", "north", support.Audience.STUDENTS, blocks=("social-media",))
    policies = [
        support.make_policy(base, groups=(group,), grants=grants)
        for grants in ((), (support.grant(1, "facebook.com"),))
    ]
    before, after = (make_snapshot(one, "0" * 64, base) for one in policies)
    rules = [one.rules("north/students") for one in (before, after)]
    now = support.CREATED_AT
    assert rpz.block_zone_identity(rules[0], policies[0], now) == rpz.block_zone_identity(rules[1], policies[1], now)
    assert list(rpz.allow_zone(rules[0], policies[0], now)) == []
    assert list(rpz.allow_zone(rules[1], policies[1], now)) == [
        ("facebook.com", ("CNAME rpz-passthru.",)),
        ("*.facebook.com", ("CNAME rpz-passthru.",)),
    ]


def test_via_entries_are_counted_and_left_out() -> None:
    base = support.make_base({"social-media/social": ["cdn.example"]})
    grant = support.grant(1, "lesson.example", "~cdn.example")
    assert Match.VIA in {one.match for one in grant.entries}
    group = support.group("north/students", "north", support.Audience.STUDENTS, blocks=("social-media",))
    policy = support.make_policy(base, groups=(group,), grants=(grant,))
    rules = make_snapshot(policy, "0" * 64, base).rules("north/students")
    assert rpz.left_out(rules) == 1
    assert rpz.left_out(support.make_mapped_snapshot(policy, base).rules("north/students")) == 1
    assert "cdn.example" not in dict(rpz.allow_zone(rules, policy, support.CREATED_AT))


def test_a_name_too_long_for_the_zone_is_left_out_and_the_rest_is_written() -> None:
    long = ".".join(["a" * 63] * 3 + ["b" * 40])
    answer = ("CNAME .",)
    lines = "".join(rpz.zone_text("block.x.rpz", 7, [(long, answer), (f"*.{long}", answer), ("ok.example", answer)]))
    assert lines.count("CNAME") == 3
    lines = "".join(rpz.zone_text(f"block.{'x' * 60}.rpz", 7, [(long, answer), ("ok.example", answer)]))
    assert "ok.example CNAME .\n" in lines and long not in lines
    assert " 7 60 " in lines


def test_zone_names_come_from_the_group() -> None:
    assert rpz.zone_names("edison/students") == ("allow.edison-students.rpz", "block.edison-students.rpz")
    assert rpz.zone_names(UNASSIGNED)[0] == "allow.unassigned.rpz"
