"""A policy as a flat file: the same policy, the same decisions, made of the same bytes; anything else is refused."""

from __future__ import annotations

import gc
import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from blocklists import flat as flat_module
from blocklists.decide import decide
from blocklists.flat import BadFlat, Flat, flatten
from blocklists.flat_layers import FlatLayers
from blocklists.layers import Layers
from blocklists.policy import AuthorityKind, Grant, Hours, Window
from blocklists.policy_codec import dump, load
from blocklists.snapshot import flat_snapshot
from tests import support
from tests.blocklists.test_decide_model import World, worlds
from tests.blocklists.test_layers import NAMES, SCOPES, any_grant

BASE = support.make_base({"social-media": ["facebook.com", "x.com"]})
POLICY = support.make_rich_policy(BASE)
UPPER = (*NAMES, "com", "org", "b.x.com", "none", "")
DIGEST = hashlib.sha256(dump(POLICY)).hexdigest()
FLAT = flatten(POLICY, DIGEST)


def opened(data: bytes, digest: str = DIGEST) -> Flat:
    return Flat(memoryview(data), digest)


def test_what_is_mapped_is_the_policy_that_was_flattened() -> None:
    policy = opened(FLAT).policy
    assert policy == POLICY
    assert policy == POLICY
    assert dump(policy) == dump(POLICY)
    assert policy.grants[-1] == POLICY.grants[-1]
    assert policy.grants[1:] == POLICY.grants[1:]
    with pytest.raises(IndexError):
        policy.grants[3]


@settings(max_examples=20)
@given(worlds())
def test_any_policy_comes_back_whole(world: World) -> None:
    assert opened(flatten(world.policy, DIGEST)).policy == world.policy
    assert world.mapped.policy == world.policy


def test_the_extremes_of_every_field_come_back() -> None:
    long = ".".join(["a" * 63] * 3 + ["b" * 61])
    hours = (Hours((6, 0, 6), 0, 1440), Hours((3,), 1439, 1440))
    grants = (
        support.grant(2**53 - 100, f"~{long}", "=x.com", "x.com", window=Window(0, 32_503_680_000, hours)),
        replace(support.grant(0, "com", sites=("sé", "north")), lifts_rewrites=True, entries=()),
        *(support.grant(7, "t.co", authority=one) for one in AuthorityKind),
    )[:3]
    policy = load(dump(support.make_policy(BASE, grants=grants)))
    assert opened(flatten(policy, DIGEST)).policy == policy


def test_a_policy_without_grants_opens_nothing() -> None:
    snapshot = support.make_mapped_snapshot(support.make_policy(BASE), BASE)
    assert len(snapshot.policy.grants) == 0
    assert list(snapshot.rules("north-students").openings.items()) == []
    assert decide("x.com", snapshot.rules("north-students"), 2e9).action == "block"


def test_the_same_policy_gives_the_same_bytes_whatever_was_flattened_before() -> None:
    rng = random.Random(4414)
    grants: dict[int, Grant] = {}
    for number in range(1, 60):
        grants[number] = any_grant(rng, number)
        if rng.random() < 0.4:
            del grants[rng.choice(list(grants))]
        told = list(grants.values())
        rng.shuffle(told)
        policy = support.make_policy(BASE, grants=tuple(told), version=number)
        following = flatten(policy, DIGEST)
        flat_module._made = flat_module._Made()
        assert flatten(load(dump(policy)), DIGEST) == following
        flat_module._made = flat_module._Made()
        flatten(policy, DIGEST)


def test_layers_open_and_carve_as_those_of_a_policy_that_was_read() -> None:
    rng = random.Random(7)
    for _ in range(40):
        grants = tuple(any_grant(rng, number) for number in rng.sample(range(1, 99), rng.randint(0, 12)))
        mapped = FlatLayers(opened(flatten(support.make_policy(BASE, grants=grants), DIGEST)))
        read = Layers(grants)
        for scope in SCOPES:
            assert (mapped.of(scope) is None) == (read.of(scope) is None)
            one, other = mapped.together([scope]), read.together([scope])
            assert dict(one.items()) == dict(other.items())
            carved, wanted = ({name for found in each.carved for name in found} for each in (one, other))
            assert carved == wanted
            assert [len(found) for found in one.carved] == ([len(wanted)] if mapped.of(scope) else [])
            assert wanted == {name for name in (*UPPER, *wanted) if any(name in found for found in one.carved)}
        same = [
            [one is other for one in map(layers.of, SCOPES) for other in map(layers.of, SCOPES)]
            for layers in (mapped, read)
        ]
        assert same[0] == same[1]


def test_a_question_makes_the_grants_that_it_touches_and_no_other() -> None:
    grants = tuple(support.grant(number, f"tool{number}.example") for number in range(1, 300))
    flat = opened(flatten(support.make_policy(BASE, grants=grants), DIGEST))
    rules = flat_snapshot(flat, DIGEST, BASE).rules("north-students")
    assert flat.made == 0
    assert decide("www.tool7.example", rules, 2e9).reason.number == 7
    assert decide("nothing.example", rules, 2e9).reason.number is None
    assert flat.made == 1


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "shorter than its head"),
    "the head alone": (lambda data: data[:72], "shorter than its head"),
    "cut": (lambda data: data[:-1], "damaged"),
    "longer": (lambda data: data + b"\0", "damaged"),
    "another format": (lambda data: b"SGFLAT02" + data[8:], "SGFLAT01"),
    "a bit of the head": (lambda data: data[:41] + bytes([data[41] ^ 1]) + data[42:], "damaged"),
    "a bit in the middle": (lambda data: data[:400] + bytes([data[400] ^ 1]) + data[401:], "damaged"),
    "a bit of the digest": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "damaged"),
    "of another policy": (lambda data: flatten(POLICY, "ab" * 32), "of abab"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_the_whole_flat_file_of_this_policy_is_refused(name: str, tmp_path: Path) -> None:
    damage, reason = DAMAGE[name]
    data = damage(FLAT)
    with pytest.raises(BadFlat, match=reason):
        opened(data)
    path = tmp_path / "x.flat"
    path.write_bytes(data)
    with pytest.raises(BadFlat):
        Flat.open(path, DIGEST)


def test_a_mapped_file_is_let_go_with_its_last_holder_and_without_the_collector(tmp_path: Path) -> None:
    """Workers run without it, and what they freeze is never collected: a cycle would keep every version's file."""
    path = tmp_path / "let-go.flat"
    path.write_bytes(FLAT)

    def mapped() -> bool:
        return str(path) in Path("/proc/self/maps").read_text()

    gc.disable()
    try:
        snapshot = flat_snapshot(Flat.open(path, DIGEST), DIGEST, BASE)
        rules = snapshot.rules("north-students")
        assert decide("www.facebook.com", rules, 2e9).reason.number == 1
        assert "com" in rules.carved[-1]
        assert len(snapshot.policy.grants) == 3
        assert mapped()
        del snapshot
        assert mapped()
        del rules
        assert not mapped()
    finally:
        gc.enable()
