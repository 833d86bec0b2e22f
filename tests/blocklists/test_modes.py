"""Modes and observing: what they change in steps 6 and 7, when they end, and that a locked category never opens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocklists import policy_codec
from blocklists.decide import decide
from blocklists.policy import EVERY_SITE, Action, Audience, Mode, ModeKind, Policy, ReasonKind
from tests import support

BASE = support.make_base({"social-media": ["facebook.com"], "adult": ["adult.example"]}, {"tiktok": ["tiktok.com"]})
START = support.CREATED_AT + 100
END = START + 100


def on(kind: ModeKind, *suspended: int, site: str = EVERY_SITE) -> Mode:
    return Mode(1, kind, (site,), (Audience.STUDENTS,), START, END, suspended)


def said(policy: Policy, name: str, now: float) -> tuple[Action, ReasonKind]:
    verdict = decide(name, support.make_test_snapshot(policy, BASE).rules("north-students"), now)
    return verdict.action, verdict.reason.kind


@pytest.mark.parametrize("now", [START - 1, END])
@pytest.mark.parametrize("kind", ModeKind)
def test_a_mode_begins_and_ends_by_the_clock_alone(kind: ModeKind, now: int) -> None:
    policy = support.make_policy(BASE, modes=(on(kind, 1),), grants=(support.grant(1, "tiktok.com"),))
    assert said(policy, "facebook.com", now) == (Action.BLOCK, ReasonKind.CATEGORY)
    assert said(policy, "tiktok.com", now) == (Action.ALLOW, ReasonKind.GRANT)


def test_a_remembered_verdict_lasts_no_longer_than_the_mode() -> None:
    rules = support.make_test_snapshot(support.make_policy(BASE, modes=(on(ModeKind.OPEN),)), BASE).rules
    assert decide("facebook.com", rules("north-students"), START - 1).valid_until == START
    assert decide("facebook.com", rules("north-students"), START).valid_until == END


def test_emergency_open_allows_what_categories_block_and_nothing_locked() -> None:
    policy = support.make_policy(BASE, modes=(on(ModeKind.OPEN),), brakes=(support.brake(1, "www.facebook.com"),))
    assert said(policy, "facebook.com", START) == (Action.ALLOW, ReasonKind.MODE)
    assert said(policy, "adult.example", START) == (Action.BLOCK, ReasonKind.LOCKED)
    assert said(policy, "www.facebook.com", START) == (Action.BLOCK, ReasonKind.BRAKE)


def test_a_lock_down_takes_every_grant_and_every_allowed_service_away() -> None:
    group = support.group(blocks=(), services={"tiktok": "allow"})
    policy = support.make_policy(BASE, groups=(group,), grants=(support.grant(1, "facebook.com"),))
    assert said(policy, "facebook.com", START) == (Action.ALLOW, ReasonKind.GRANT)
    assert said(policy, "tiktok.com", START) == (Action.ALLOW, ReasonKind.DEFAULT)
    closed = support.make_policy(
        BASE, groups=(group,), grants=(support.grant(1, "facebook.com"),), modes=(on(ModeKind.LOCK_DOWN),)
    )
    assert said(closed, "facebook.com", START) == (Action.BLOCK, ReasonKind.CATEGORY)
    assert said(closed, "tiktok.com", START) == (Action.BLOCK, ReasonKind.CATEGORY)
    assert said(closed, "example.com", START) == (Action.ALLOW, ReasonKind.DEFAULT)


def test_testing_suspends_the_grants_that_it_names_and_no_other() -> None:
    grants = (support.grant(1, "tiktok.com"), support.grant(2, "facebook.com"))
    policy = support.make_policy(BASE, grants=grants, modes=(on(ModeKind.TESTING, 1),))
    assert said(policy, "tiktok.com", START) == (Action.BLOCK, ReasonKind.CATEGORY)
    assert said(policy, "facebook.com", START) == (Action.ALLOW, ReasonKind.GRANT)


def test_a_mode_of_another_site_changes_nothing() -> None:
    policy = support.make_policy(BASE, modes=(on(ModeKind.OPEN, site="south"),))
    assert said(policy, "facebook.com", START) == (Action.BLOCK, ReasonKind.CATEGORY)


def test_guests_take_what_a_mode_of_students_closes_and_nothing_that_it_opens() -> None:
    guests = support.group("north-guests", "north", Audience.GUESTS)
    grants = (support.grant(1, "tiktok.com", audiences=(Audience.GUESTS,)),)

    def heard(mode: Mode) -> tuple[Action, ...]:
        policy = support.make_policy(BASE, groups=(support.group(), guests), grants=grants, modes=(mode,))
        rules = support.make_test_snapshot(policy, BASE).rules(guests.id)
        return tuple(decide(name, rules, START).action for name in ("tiktok.com", "facebook.com"))

    assert heard(on(ModeKind.TESTING)) == (Action.ALLOW, Action.BLOCK)
    assert heard(on(ModeKind.TESTING, 1)) == (Action.BLOCK, Action.BLOCK)
    assert heard(on(ModeKind.LOCK_DOWN)) == (Action.BLOCK, Action.BLOCK)
    assert heard(on(ModeKind.OPEN)) == (Action.ALLOW, Action.BLOCK)
    named = replace(on(ModeKind.OPEN), audiences=(Audience.GUESTS,))
    assert heard(named) == (Action.ALLOW, Action.ALLOW)


def test_an_observed_group_says_what_would_be_blocked_until_its_day() -> None:
    policy = support.make_policy(BASE, groups=(replace(support.group(), observe_until=END),))
    rules = support.make_test_snapshot(policy, BASE).rules("north-students")
    verdict = decide("www.facebook.com", rules, START)
    assert (verdict.action, verdict.reason.kind, verdict.reason.entry) == (
        Action.ALLOW,
        ReasonKind.OBSERVED,
        "facebook.com",
    )
    assert (verdict.lifted is not None, verdict.valid_until) == (True, END)
    assert said(policy, "facebook.com", END) == (Action.BLOCK, ReasonKind.CATEGORY)
    assert said(policy, "adult.example", START) == (Action.BLOCK, ReasonKind.LOCKED)


def test_modes_and_observing_are_in_the_bytes_and_an_impossible_one_is_refused() -> None:
    policy = support.make_policy(BASE, modes=(on(ModeKind.TESTING, 1),))
    assert policy_codec.load(policy_codec.dump(policy)) == policy
    backwards = replace(policy, modes=(replace(policy.modes[0], ends_at=START),))
    with pytest.raises(policy_codec.BadPolicy, match="modes 1: the window ends before it starts"):
        policy_codec.load(policy_codec.dump(backwards))
    twice = replace(policy, modes=policy.modes * 2)
    with pytest.raises(policy_codec.BadPolicy, match="stands twice"):
        policy_codec.load(policy_codec.dump(twice))
