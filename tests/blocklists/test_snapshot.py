"""A snapshot: one policy and one base that belong together, or the reason why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocklists.decide import decide
from blocklists.policy import UNASSIGNED, Action
from blocklists.policy_codec import dump
from blocklists.signature import digest
from blocklists.snapshot import BadSnapshot, open_snapshot
from tests import support

BASE = support.make_base({"social-media": ["facebook.com"]}, {"youtube": ["youtube.com"]})
DATA = dump(support.make_rich_policy(BASE))


def test_a_snapshot_is_named_by_version_and_digest() -> None:
    snapshot = open_snapshot(DATA, BASE)
    assert (snapshot.version, snapshot.digest) == (1, digest(DATA))
    assert snapshot.by_group.keys() == {"north-students", "north-staff", UNASSIGNED}


def test_an_unknown_group_gets_the_strictest_rules() -> None:
    snapshot = open_snapshot(DATA, BASE)
    assert snapshot.rules("nobody") is snapshot.rules(UNASSIGNED)
    assert decide("x.youtube.com", snapshot.rules("nobody"), 2e9).action is Action.BLOCK
    assert decide("x.youtube.com", snapshot.rules("north-students"), 2e9).action is Action.ALLOW


def test_a_policy_made_for_another_base_is_refused() -> None:
    with pytest.raises(BadSnapshot, match="made for base"):
        open_snapshot(DATA, support.make_base({"social-media": ["x.com"]}))


def test_a_list_of_an_unknown_category_is_refused() -> None:
    base = support.make_base({"gambling/bets": ["bets.example"]})
    with pytest.raises(BadSnapshot, match=r"'bets' is in category 'gambling'"):
        open_snapshot(dump(support.make_policy(base)), base)


def test_groups_that_claim_one_network_are_refused() -> None:
    groups = (support.group("one", networks=("10.0.0.0/8",)), support.group("two", networks=("10.0.0.0/8",)))
    with pytest.raises(BadSnapshot, match=r"'one' and 'two'"):
        open_snapshot(dump(support.make_policy(BASE, groups=groups)), BASE)


def test_bytes_that_are_no_policy_are_refused() -> None:
    with pytest.raises(BadSnapshot, match="not JSON"):
        open_snapshot(DATA[:-1], BASE)


def test_groups_with_the_same_effective_policy_share_one_rules_object() -> None:
    groups = (
        support.group("north", "north"),
        support.group("south", "south"),
        support.group("east", "east", blocks=("messaging",)),
    )
    everywhere = support.grant(1, "x.com")
    policy = support.make_policy(BASE, groups=groups, grants=(everywhere,))
    shared = support.make_test_snapshot(policy, BASE).by_group
    assert shared["north"] is shared["south"]
    assert shared["north"].groups == ("north", "south")
    assert shared["east"] is not shared["north"]
    assert sorted({rules.number for rules in shared.values()}) == [0, 1, 2]

    here = replace(policy, grants=(everywhere, support.grant(2, "t.co", sites=("north",))))
    apart = support.make_test_snapshot(here, BASE).by_group
    assert apart["north"] is not apart["south"]

    both = replace(policy, grants=(everywhere, support.grant(2, "t.co", sites=("north", "south"))))
    again = support.make_test_snapshot(both, BASE).by_group
    assert again["north"] is again["south"]
