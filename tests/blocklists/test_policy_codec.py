"""The policy's bytes: what is dumped is loaded again, and every way to be wrong is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklists import policy_codec
from blocklists.policy import (
    Answering,
    Audience,
    Authority,
    AuthorityKind,
    Brake,
    Correction,
    CustomBlock,
    Entry,
    Grant,
    Hours,
    Match,
    Mode,
    ModeKind,
    Policy,
    ServiceSwitch,
    Switch,
    Window,
)
from blocklists.policy_codec import MAX_TIME, BadPolicy, dump, load
from tests import support

RICH = support.make_rich_policy()

label = st.text("abcxyz0189_", min_size=1, max_size=8)
name = st.lists(label, min_size=1, max_size=4).map(".".join)
text = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=20)
number = st.integers(0, 2**53)
entries = st.builds(Entry, name, st.sampled_from(Match))
unvia = st.sampled_from([Match.SUBTREE, Match.EXACT])
sites = st.one_of(st.just(("*",)), st.lists(text.filter(lambda one: one != "*"), max_size=3).map(tuple))
audiences = st.lists(st.sampled_from(Audience), max_size=3).map(tuple)


def many(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=3).map(tuple)


def numbered(strategy: Callable[[int], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.lists(number, max_size=3, unique=True).flatmap(
        lambda numbers: st.tuples(*[strategy(one) for one in numbers])
    )


@st.composite
def hours(draw: st.DrawFn) -> Hours:
    start = draw(st.integers(0, 1439))
    days = draw(st.lists(st.integers(0, 6), min_size=1, max_size=7))
    return Hours(tuple(days), start, draw(st.integers(start + 1, 1440)))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(st.integers(0, MAX_TIME - 1))
    end = draw(st.one_of(st.none(), st.integers(start + 1, MAX_TIME)))
    return Window(start, end, draw(many(hours())))


def grants(one: int) -> st.SearchStrategy[Grant]:
    authority = st.builds(Authority, st.sampled_from(AuthorityKind), number)
    return st.builds(Grant, st.just(one), authority, many(entries), sites, audiences, windows())


policies = st.builds(
    support.make_policy,
    version=number,
    district=text,
    created_at=st.integers(0, MAX_TIME),
    zone=st.sampled_from(["UTC", "America/Chicago", "Australia/Lord_Howe"]),
    portal=text,
    audit_head=text,
    groups=st.lists(text.filter(lambda one: one != "unassigned"), max_size=3, unique=True).flatmap(
        lambda ids: st.tuples(
            *[
                st.builds(
                    support.group,
                    st.just(id),
                    text.filter(lambda one: one != "*"),
                    st.sampled_from(Audience),
                    st.ip_addresses().map(lambda address: (f"{address}",)),
                    st.ip_addresses().map(lambda address: (f"{address}",)),
                    many(st.sampled_from(["adult", "messaging"])),
                    st.dictionaries(text, st.sampled_from(["allow", "block"]), max_size=2),
                    st.one_of(st.none(), st.integers(0, MAX_TIME)),
                )
                for id in ids
            ]
        )
    ),
    grants=numbered(grants),
    corrections=numbered(
        lambda one: st.builds(
            Correction, st.just(one), name, unvia, st.one_of(st.just(("*",)), many(text.filter(lambda id: id != "*")))
        )
    ),
    protected=many(st.builds(Entry, name, unvia)),
    brakes=numbered(lambda one: st.builds(Brake, st.just(one), name)),
    blocks=numbered(lambda one: st.builds(CustomBlock, st.just(one), name, unvia, sites, audiences)),
    own=many(name),
    modes=numbered(
        lambda one: st.builds(
            Mode, st.just(one), st.sampled_from(ModeKind), sites, audiences, st.just(5), st.integers(6, 9), many(number)
        )
    ),
)


@given(policies)
def test_what_is_dumped_is_loaded_again(policy: Policy) -> None:
    data = dump(policy)
    assert load(data) == policy
    assert dump(load(data)) == data


def test_the_bytes_are_json_in_utf_8_without_spaces() -> None:
    data = dump(support.make_policy(district="Großschule"))
    assert data.startswith(b'{"format":1,"version":1,"district":"Gro\xc3\x9fschule","base":"')


@given(st.data())
def test_mutated_bytes_are_a_policy_or_refused(data: st.DataObject) -> None:
    changed = bytearray(dump(RICH))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.sampled_from(["set", "cut", "copy"])):
            case "set":
                changed[at] = data.draw(st.sampled_from(list(b'"{}[]:,0123456789-eE.\\u\x00\xff*tn')))
            case "cut":
                del changed[at : at + data.draw(st.integers(1, 20))]
            case _:
                changed[at:at] = changed[at : at + data.draw(st.integers(1, 200))]
    try:
        policy = load(bytes(changed))
    except BadPolicy:
        return
    assert policy_codec._load_whole(bytes(changed)) == policy  # grants read one by one are no other policy
    assert load(dump(policy)) == policy


# --- every refusal ---------------------------------------------------------------------------------------------------


def changed(path: str, value: object) -> bytes:
    """The rich policy with one place changed: `grants.0.window.ends_at`."""
    plain: Any = json.loads(dump(RICH))
    *way, last = path.split(".")
    at = plain
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return json.dumps(plain).encode()


REFUSED_VALUES: list[tuple[str, object, str]] = [
    ("format", 2, "format 2"),
    ("format", True, "policy.format"),
    ("format", "1", "format '1'"),
    ("version", 2**53 + 1, "out of bounds"),
    ("version", -1, "out of bounds"),
    ("version", True, "policy.version: int"),
    ("version", None, "policy.version: int"),
    ("version", "1", "policy.version: int"),
    ("base", "AB" * 32, "policy.base"),
    ("base", "ab", "policy.base"),
    ("zone", "Mars/Olympus", "policy.zone"),
    ("zone", "", "policy.zone"),
    ("zone", "../../etc/passwd", "policy.zone"),
    ("zone", "/etc/localtime", "policy.zone"),
    ("zone", "America", "policy.zone"),
    ("zone", "zone.tab", "policy.zone"),
    ("zone", "x" * 999, "policy.zone"),
    ("created_at", MAX_TIME + 1, "year 3000"),
    ("district", "a\nb", "cannot be printed"),
    ("district", "\ud800", "cannot be printed"),
    ("district", "x" * 1001, "too long"),
    ("surprise", 1, "unknown or missing field 'surprise'"),
    ("grants.0.surprise", 1, "policy.grants[0]: unknown or missing field 'surprise'"),
    ("grants", {}, "policy.grants: a list"),
    ("grants", None, "policy.grants: a list"),
    ("grants.0", [], "policy.grants[0]: an object"),
    ("grants.0.window", None, "window: an object"),
    ("grants.0.authority.kind", "whim", "not one of request, register, exception"),
    ("grants.0.authority.kind", ["request"], "not one of"),
    ("grants.0.entries.0.match", "SUBTREE", "not one of subtree, exact, via"),
    ("grants.0.entries.0.name", "Facebook.com", "canonical"),
    ("grants.0.entries.0.name", "facebook.com.", "canonical"),
    ("grants.0.entries.0.name", "", "canonical"),
    ("grants.0.entries.0.name", "a..b", "canonical"),
    ("grants.0.entries.0.name", "bücher.example", "canonical"),
    ("grants.0.entries.0.name", "facebook.com\u0000", "cannot be printed"),
    ("grants.0.entries.0.name", "a" * 64 + ".com", "canonical"),
    ("grants.0.entries.0.name", ".".join(["abcdefg"] * 32), "canonical"),
    ("grants.0.sites", ["*", "north"], "`*` stands alone"),
    ("grants.0.audiences", ["parents"], "not one of students, staff, guests"),
    ("grants.0.number", 2, "grants: 2 stands twice"),
    ("grants.1.window.ends_at", 5, "ends before it starts"),
    ("grants.1.window.ends_at", MAX_TIME + 1, "year 3000"),
    ("grants.1.window.starts_at", MAX_TIME + 1, "year 3000"),
    ("grants.1.window.hours.0.days", [7], "days are 0 to 6"),
    ("grants.1.window.hours.0.days", [], "days are 0 to 6"),
    ("grants.1.window.hours.0.end", 480, "hours run"),
    ("grants.1.window.hours.0.end", 1441, "hours run"),
    ("groups.0.id", "north-staff", "groups: 'north-staff' stands twice"),
    ("groups.0.id", "unassigned", "reserved"),
    ("groups.0.site", "*", "reserved"),
    ("groups.0.networks", ["10.0.0.1/8"], "host bits"),
    ("groups.0.networks", ["10.0.0.0/33"], "10.0.0.0/33"),
    ("groups.0.networks", ["school"], "school"),
    ("groups.0.networks", [""], "policy.groups"),
    ("groups.0.asked", ["10.0.0.0/8"], "10.0.0.0/8"),
    ("groups.0.asked", [""], "policy.groups"),
    ("groups.0.blocks", ["gambling"], "no category 'gambling'"),
    ("groups.0.services.0.service", "tiktok", "stands twice"),
    ("groups.0.services.0.switch", "maybe", "not one of allow, block"),
    ("categories.0.id", "messaging", "categories: 'messaging' stands twice"),
    ("categories.0.style", "drop", "not one of"),
    ("categories.0.locked", 0, "locked: bool"),
    ("corrections.0.number", 2, "corrections: 2 stands twice"),
    ("corrections.0.match", "via", "`via` at 't.co'"),
    ("corrections.0.lists", ["*", "social-media"], "`*` stands alone"),
    ("protected.0.match", "via", "`via` at 'login.example'"),
    ("protected.0.name", "-", "canonical"),
    ("blocks.0.match", "via", "`via` at 'games.example'"),
    ("blocks.0.number", 2, "blocks: 2 stands twice"),
    ("blocks.0.sites", ["north", "*"], "`*` stands alone"),
    ("brakes.0.name", "a b", "canonical"),
    ("own.0", "DISTRICT.example", "canonical"),
    ("groups.1.observe_until", MAX_TIME + 1, "year 3000"),
    ("groups.1.observe_until", "soon", "observe_until: int"),
    ("modes.0.number", 2, "modes: 2 stands twice"),
    ("modes.0.kind", "holiday", "not one of testing, lock-down, open"),
    ("modes.0.sites", ["*", "north"], "`*` stands alone"),
    ("modes.0.ends_at", 0, "ends before it starts"),
    ("modes.0.ends_at", None, "ends_at: int"),
    ("modes.0.ends_at", MAX_TIME + 1, "year 3000"),
    ("modes.0.suspended", ["2"], "suspended[0]: int"),
    ("own.0", 7, "policy.own[0]: str"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED_VALUES)
def test_a_wrong_value_is_refused_with_its_place(path: str, value: object, message: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        load(changed(path, value))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_field_is_needed_but_those_that_a_later_release_added() -> None:
    plain = json.loads(dump(RICH))
    for field in plain:
        without = json.dumps({key: value for key, value in plain.items() if key != field}).encode()
        if field in ("modes", "answering"):
            assert load(without) == replace(RICH, **{field: getattr(support.make_policy(), field)})
        else:
            with pytest.raises(BadPolicy):
                load(without)


def test_a_policy_of_the_release_before_is_read_with_nothing_new_in_it() -> None:
    plain = json.loads(dump(RICH))
    del plain["answering"]
    for one in plain["grants"]:
        del one["lifts_rewrites"]
    for one in plain["groups"]:
        del one["safe_search"], one["youtube"]
    assert load(json.dumps(plain).encode()) == replace(RICH, answering=Answering())


GOOD = dump(RICH).decode()
REFUSED_BYTES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "not JSON"),
    ("not JSON", b"policy", "not JSON"),
    ("cut short", GOOD[:-1].encode(), "not JSON"),
    ("something behind it", (GOOD + "{}").encode(), "not JSON"),
    ("a list", b"[]", "an object belongs here"),
    ("null", b"null", "an object belongs here"),
    ("an empty object", b"{}", "format None"),
    ("a key twice at the top", GOOD.replace('"version":', '"version":1,"version":').encode(), "'version' stands"),
    ("a key twice inside", GOOD.replace('"zone":', '"zone":"UTC","zone":').encode(), "'zone' stands twice"),
    ("the format twice", b'{"format":2,"format":1}', "'format' stands twice"),
    ("a float", GOOD.replace('"version":1', '"version":1.0').encode(), "1.0: numbers are whole"),
    ("an exponent", GOOD.replace('"version":1', '"version":1e3').encode(), "1e3: numbers are whole"),
    ("a huge exponent", GOOD.replace('"version":1', '"version":1e999').encode(), "numbers are whole"),
    ("NaN", GOOD.replace('"version":1', '"version":NaN').encode(), "NaN: numbers are whole"),
    ("Infinity", GOOD.replace('"version":1', '"version":-Infinity').encode(), "-Infinity: numbers are whole"),
    ("an int of 5000 digits", GOOD.replace('"version":1', '"version":' + "9" * 5000).encode(), "not JSON"),
    ("an int of 4000 digits", GOOD.replace('"version":1', '"version":' + "9" * 4000).encode(), "out of bounds"),
    ("deep nesting", b"[" * 100_000, "not JSON"),
    ("deep nesting of objects", b'{"a":' * 100_000, "not JSON"),
    ("nesting as the format", b'{"format":' + b"[" * 900 + b"]" * 900 + b"}", "format"),
    ("UTF-16", GOOD.encode("utf-16"), "not JSON"),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), "not JSON"),
    ("bytes that are no UTF-8", GOOD.encode().replace(b"north", b"n\xffrth"), "not JSON"),
]


@pytest.mark.parametrize(("data", "message"), [one[1:] for one in REFUSED_BYTES], ids=[one[0] for one in REFUSED_BYTES])
def test_wrong_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadPolicy) as caught:
        load(data)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


GRANTS = b'"grants":['
SPLICES = [
    GOOD.encode().replace(b'"zone":"', b'"zone":"\\"grants\\":['),
    GOOD.encode().replace(GRANTS, GRANTS + b'],"grants":['),
    GOOD.encode().replace(b'},{"number":2,', b'},{"number":1},{"number":2,', 1),
    GOOD.encode().replace(b'},{"number":2,', b'}],"corrections":[],"x":[{"number":2,', 1),
    GOOD.encode().replace(b'},{"number":2,', b'},,{"number":2,', 1),
    GOOD.encode().replace(b'},{"number":2,', b'}]{"number":2,', 1),
    GOOD.encode().replace(b'"number":3', b'"number":2', 1),
    GOOD.encode().replace(b'"groups":[', b'"groups":[{"grants":[{"number":1}],"corrections":1},', 1),
]


@pytest.mark.parametrize("data", SPLICES)
def test_grants_that_are_spliced_into_one_another_are_refused(data: bytes) -> None:
    assert data != GOOD.encode()
    with pytest.raises(BadPolicy):
        load(data)


@pytest.mark.parametrize("depth", range(900, 1000, 7))
def test_nesting_close_to_the_interpreters_limit_is_refused_too(depth: int) -> None:
    for place in (b'{"format":%s}', b'{"format":1,"version":%s}', b'{"a":%s,"a":1}'):
        with pytest.raises(BadPolicy):
            load(place % (b"[" * depth + b"]" * depth))
    with pytest.raises(BadPolicy):
        load(changed("categories.0.style", "@").replace(b'"@"', b"[" * depth + b"]" * depth))


def test_too_many_bytes_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_codec, "MAX_BYTES", len(GOOD))
    with pytest.raises(BadPolicy, match="at most"):
        load(GOOD.encode() + b" ")


def test_a_switch_is_read_as_its_word() -> None:
    assert load(dump(RICH)).groups[0].services == (
        ServiceSwitch("youtube", Switch.ALLOW),
        ServiceSwitch("tiktok", Switch.BLOCK),
    )


@given(st.data())
def test_read_by_parts_and_read_whole_are_the_same_policy(data: st.DataObject) -> None:
    good = dump(RICH)
    at = data.draw(st.integers(0, len(good) - 1))
    piece = data.draw(
        st.sampled_from([b'"', b"]", b"[", b"}", b'},{"number":', b'"grants":[', b'],"corrections":', b"1"])
    )
    cut = data.draw(st.integers(0, 12))
    mutated = good[:at] + piece + good[at + cut :]
    by_parts = policy_codec._load_by_parts(mutated)
    try:
        whole = policy_codec._load_whole(mutated)
    except BadPolicy:
        assert by_parts is None
    else:
        assert by_parts in (None, whole)


def test_a_name_that_looks_like_the_start_of_a_grant_is_only_text() -> None:
    odd = '"grants":[{"number":},{"number":],"corrections":['
    policy = replace(RICH, portal=odd)
    assert policy_codec._load_by_parts(dump(policy)) == load(dump(policy)) == policy
