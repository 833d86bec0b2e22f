"""Layers that follow changes: whatever came before, they are what the same grants give anew."""

from __future__ import annotations

import random
from dataclasses import replace

from blocklists.layers import ANEW, Layer, Layers
from blocklists.policy import Audience, Entry, Grant, Match
from tests import support

NAMES = ("x.com", "www.x.com", "a.b.x.com", "school.org", "t.co")
SITES = ("edison", "lincoln", "north")
SCOPES = [(site, audience) for site in (*SITES, "*") for audience in Audience]


def any_grant(rng: random.Random, number: int) -> Grant:
    names = rng.choices(NAMES, k=rng.randint(1, 3))
    entries = tuple(Entry(name, rng.choice(list(Match))) for name in names)
    sites = ("*",) if rng.random() < 0.3 else tuple(rng.sample(SITES, rng.randint(1, 3)))
    audiences = tuple(rng.sample(list(Audience), rng.randint(1, 3)))
    return replace(support.grant(number, "x.com"), entries=entries, sites=sites, audiences=audiences)


def plain(layer: Layer | None) -> object:
    return None if layer is None else (layer.grants, layer.openings, layer.carved)


def test_layers_that_follow_changes_equal_those_made_anew() -> None:
    rng = random.Random(4414)
    grants: dict[int, Grant] = {}
    layers = Layers(())
    for number in range(1, 400):
        for _ in range(rng.randint(0, 2)):
            if grants and rng.random() < 0.4:
                del grants[rng.choice(list(grants))]
        for again in (number, rng.randint(1, number)):
            grants[again] = any_grant(rng, again)
        told = list(grants.values())
        rng.shuffle(told)
        layers, anew = Layers(told, layers), Layers(told)
        for scope in SCOPES:
            assert plain(layers.of(scope)) == plain(anew.of(scope))


def test_scopes_with_the_same_grants_share_one_layer_and_an_untouched_one_stays_what_it_was() -> None:
    everywhere = replace(support.grant(1, "x.com"), sites=SITES, audiences=tuple(Audience))
    before = Layers([everywhere])
    students, staff = ("edison", Audience.STUDENTS), ("edison", Audience.STAFF)
    assert before.of(students) is before.of(staff) is not None
    more = replace(support.grant(2, "t.co"), sites=("edison",), audiences=(Audience.STUDENTS,))
    after = Layers([everywhere, more], before)
    assert after.of(staff) is before.of(staff) is not after.of(students)
    assert Layers([everywhere], after).of(students) is before.of(staff)


def test_more_changes_than_are_worth_following_give_the_same() -> None:
    many = [support.grant(number, f"n{number}.x.com") for number in range(1, ANEW + 3)]
    before = Layers([support.grant(ANEW + 9, "t.co")])
    scope = many[0].sites[0], many[0].audiences[0]
    found = Layers(many, before).of(scope)
    assert found is not None and plain(found) == plain(Layers(many).of(scope))
    assert list(found.grants) == [one.number for one in many] and found.carved["com"] == len(many)
