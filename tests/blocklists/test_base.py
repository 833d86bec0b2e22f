"""The base: the same bytes for the same lists, the same look-ups as a plain dictionary, and no damage goes unseen."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklists import base as base_module
from blocklists import compile as compile_module
from blocklists import names
from blocklists.base import MAGIC, BadBase, Base, ListInfo, ListKind, ListSet, assemble
from blocklists.compile import DuplicateList, Source, TooManySets, compile_base
from tests import support
from tests.support import open_base, source

label = st.sampled_from(["a", "b", "ab", "a-b", "_x", "0"])
name = st.lists(label, min_size=1, max_size=4).map(".".join)
name_lists = st.lists(st.lists(st.tuples(name, st.booleans()), max_size=12), min_size=1, max_size=4)


def sources(written: list[list[tuple[str, bool]]]) -> list[Source]:
    """One list for each inner list; every other one is a service; False marks an exception."""
    return [
        source(
            f"list-{at}",
            "social-media",
            [one if held else f"!{one}" for one, held in entries],
            ListKind.SERVICE if at % 2 else ListKind.LIST,
        )
        for at, entries in enumerate(written)
    ]


def lists_above(found: list[Source], asked: str) -> set[int]:
    """The lists whose nearest entry at or above the name is not an exception: written without tries or keys."""
    wanted = set()
    for at, one in enumerate(found):
        held, excepted = set(one.names), set(one.exceptions)
        for above in names.ancestors(asked):
            if above in excepted:
                break
            if above in held:
                wanted.add(at)
                break
    return wanted


@given(name_lists, st.lists(name, min_size=1, max_size=20))
def test_look_ups_are_those_of_a_plain_dictionary(written: list[list[tuple[str, bool]]], asked: list[str]) -> None:
    found = sources(written)
    base = open_base(compile_base(found))
    everything = [one for entries in written for one, _ in entries]
    for one in (*asked, *everything, *(f"z.{one}" for one in everything)):
        listings = base.listings(one)
        assert {listing.list for listing in listings} == lists_above(found, one)
        for listing in listings:
            assert listing.entry in set(found[listing.list].names)
            assert names.is_at_or_below(one, listing.entry)
        depths = [listing.entry.count(".") for listing in listings]
        assert depths == sorted(depths, reverse=True)


@given(name_lists, st.randoms(use_true_random=False))
def test_the_order_of_names_within_a_list_does_not_matter(
    written: list[list[tuple[str, bool]]], dice: random.Random
) -> None:
    shuffled = [dice.sample(entries * 2, 2 * len(entries)) for entries in written]
    assert compile_base(sources(written)) == compile_base(sources(shuffled))


@given(name_lists)
def test_exceptions_and_bundles_are_those_that_were_written(written: list[list[tuple[str, bool]]]) -> None:
    found = sources(written)
    base = open_base(compile_base(found))
    assert base.exceptions == {one for each in found for one in each.exceptions}
    assert base.bundles.keys() == {at for at in range(len(found)) if at % 2}
    for at, bundle in base.bundles.items():
        assert set(bundle) <= set(found[at].names)
        for one in set(found[at].names) - set(found[at].exceptions):
            assert any(names.is_at_or_below(one, kept) for kept in bundle)


@pytest.mark.parametrize("sets", [255, 256, 257, 300])
def test_a_base_of_many_combinations_has_wider_values(sets: int) -> None:
    """Name number n is in the lists of n's bits: every combination but one is another set."""
    bits = [[f"n{number}" for number in range(1, sets + 1) if number >> bit & 1] for bit in range(9)]
    base = open_base(compile_base([source(f"bit{bit}", "adult", found) for bit, found in enumerate(bits)]))
    assert len(base.sets) == sets
    for number in range(1, sets + 1):
        assert sum(1 << listing.list for listing in base.listings(f"n{number}")) == number


def test_a_name_below_another_of_the_same_list_is_left_out() -> None:
    base = support.make_base({"social-media": ["facebook.com", "www.facebook.com", "a.b.facebook.com", "x.com"]})
    assert base.keys == 2


def test_a_name_below_an_exception_is_kept() -> None:
    base = support.make_base({"social-media": ["facebook.com", "!a.facebook.com", "b.a.facebook.com"]})
    assert base.keys == 3
    assert [one.entry for one in base.listings("b.a.facebook.com")] == ["b.a.facebook.com"]
    assert base.listings("a.facebook.com") == ()


def test_a_name_of_two_lists_is_kept_until_both_hold_it_from_above() -> None:
    both = {"social-media": ["facebook.com", "www.facebook.com"], "messaging": ["www.facebook.com"]}
    assert support.make_base(both).keys == 2
    both["messaging"].append("facebook.com")
    assert support.make_base(both).keys == 1


def test_an_empty_base_lists_nothing() -> None:
    for base in (open_base(compile_base([])), support.make_base({"social-media": []})):
        assert base.keys == 0
        assert base.listings("example.com") == ()
        assert base.listings("") == ()


def test_a_base_tells_its_lists_and_how_many_names_each_has() -> None:
    one = Source("seed", "Seed", "social-media", ListKind.LIST, ["a.b", "a.b", "c"], [], "d" * 64, 5)
    assert open_base(compile_base([one])).lists == (
        ListInfo("seed", "Seed", "social-media", ListKind.LIST, "d" * 64, 5, 2),
    )


def test_progress_is_told_after_each_list() -> None:
    told: list[tuple[str, int]] = []
    compile_base(
        [source("one", "adult", ["a", "b"]), source("two", "adult", ["b", "c"])], lambda *one: told.append(one)
    )
    assert told == [("one", 2), ("two", 3)]


def test_two_lists_with_one_id_are_refused() -> None:
    with pytest.raises(DuplicateList):
        compile_base([source("one", "adult", ["a"]), source("one", "malware", ["b"])])


def test_more_combinations_than_a_base_can_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = [source("one", "adult", ["a", "b"]), source("two", "adult", ["b", "c"])]
    monkeypatch.setattr(compile_module, "MAX_SETS", 3)
    compile_base(lists)
    monkeypatch.setattr(compile_module, "MAX_SETS", 2)
    with pytest.raises(TooManySets):
        compile_base(lists)


# --- damage ----------------------------------------------------------------------------------------------------------

GOOD = compile_base(
    [
        source("seed", "social-media", ["facebook.com", "x.com", "t.co"]),
        source("youtube", "social-media", ["youtube.com", "!accounts.youtube.com"], ListKind.SERVICE),
    ]
)
DIGEST = hashlib.sha256(GOOD).hexdigest()


def test_a_file_is_opened_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.write_bytes(GOOD)
    base = Base.open(path, DIGEST)
    assert base.digest == DIGEST
    assert [one.entry for one in base.listings("www.facebook.com")] == ["facebook.com"]
    with pytest.raises(BadBase, match="damaged"):
        Base.open(path, "0" * 64)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.write_bytes(GOOD)
    for size in reversed(range(len(GOOD))):
        os.truncate(path, size)
        with pytest.raises(BadBase):
            Base.open(path, DIGEST)


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.write_bytes(GOOD)
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(GOOD):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                with pytest.raises(BadBase, match="damaged"):
                    Base.open(path, DIGEST)
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert Base.open(path, DIGEST).digest == DIGEST


def test_something_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.write_bytes(GOOD + b"\0")
    with pytest.raises(BadBase):
        Base.open(path, DIGEST)


def test_a_file_that_is_too_big_is_refused_before_it_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "base"
    path.write_bytes(GOOD)
    monkeypatch.setattr(base_module, "MAX_BYTES", len(GOOD) - 1)
    with pytest.raises(BadBase, match="bytes"):
        Base.open(path, DIGEST)


# A right digest over a wrong structure: a mistake of ours, which must be refused and not crash.


def sections() -> tuple[dict[str, Any], bytes, bytes]:
    manifest_size, values_size, trie_size, _ = base_module._HEAD.unpack_from(GOOD)[1:]
    at = base_module._HEAD.size
    parts = []
    for size in (manifest_size, values_size, trie_size):
        parts.append(GOOD[at : at + size])
        at += size + -size % 8
    return json.loads(parts[0]), parts[1], parts[2]


def packed(manifest: bytes, values: bytes, trie: bytes) -> bytes:
    out = [base_module._HEAD.pack(MAGIC, len(manifest), len(values), len(trie), 0)]
    for part in (manifest, values, trie):
        out += [part, bytes(-len(part) % 8)]
    return b"".join(out)


def test_the_sections_can_be_packed_again() -> None:
    manifest, values, trie = sections()
    text = json.dumps(manifest, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    assert packed(text, values, trie) == GOOD
    assert assemble((), (), b"", b"") == packed(b'{"keys":0,"lists":[],"sets":[]}', b"", b"")


def test_every_truncation_is_refused_though_its_digest_is_right() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(BadBase):
            open_base(GOOD[:size])


@pytest.mark.parametrize("at", range(24))
def test_a_changed_byte_of_the_head_is_refused_though_its_digest_is_right(at: int) -> None:
    for value in (0, 1, 7, 8, 0x7F, 0xFF):
        if GOOD[at] != value:
            changed = GOOD[:at] + bytes([value]) + GOOD[at + 1 :]
            with pytest.raises(BadBase):
                open_base(changed)


def remove(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest.pop(key)


def put(path: str, value: object) -> Callable[[dict[str, Any]], Any]:
    def change(manifest: Any) -> None:
        *way, last = path.split(".")
        for step in way:
            manifest = manifest[int(step)] if isinstance(manifest, list) else manifest[step]
        manifest[int(last) if isinstance(manifest, list) else last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        remove("keys"),
        remove("lists"),
        remove("sets"),
        put("keys", "5"),
        put("keys", 5.0),
        put("keys", True),
        put("keys", 4),
        put("keys", 6),
        put("keys", -1),
        put("keys", None),
        put("lists", {}),
        put("lists", None),
        put("lists.0", []),
        put("lists.0", None),
        put("lists.0.id", 1),
        put("lists.0.id", "youtube"),
        put("lists.0.kind", "rumour"),
        put("lists.0.kind", ["list"]),
        put("lists.0.names", "3"),
        put("lists.0.fetched_at", 1.5),
        put("lists.0.surprise", 1),
        put("lists", []),
        put("sets", []),
        put("sets", {}),
        put("sets.0", []),
        put("sets.0", [[0], [], []]),
        put("sets.0", [0, 0]),
        put("sets.0", None),
        put("sets.0", [["0"], []]),
        put("sets.0", [[0.0], []]),
        put("sets.0", [[True], []]),
        put("sets.0", [[2], []]),
        put("sets.0", [[-1], []]),
        put("sets.0", [[], [2]]),
        put("sets.0", [[[0]], []]),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_though_its_digest_is_right(
    change: Callable[[dict[str, Any]], Any],
) -> None:
    manifest, values, trie = sections()
    change(manifest)
    with pytest.raises(BadBase):
        open_base(packed(json.dumps(manifest).encode(), values, trie))


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"lists":[],"sets":[],"keys":1e999}',
        b'{"lists":[],"sets":[],"keys":NaN}',
        b'{"lists":[],"sets":[],"keys":0,"keys":0}',
    ],
)
def test_a_manifest_that_is_rubbish_is_refused(manifest: bytes) -> None:
    _, values, trie = sections()
    with pytest.raises(BadBase):
        open_base(packed(manifest, values, trie))
    with pytest.raises(BadBase):
        open_base(packed(manifest, b"", b""))


def test_values_that_do_not_fit_are_refused() -> None:
    manifest, values, trie = sections()
    text = json.dumps(manifest).encode()
    for wrong in (values[:-1], values[:-2], values + b"\0\0", b"", b"\xff\xff" * (len(values) // 2)):
        with pytest.raises(BadBase):
            open_base(packed(text, wrong, trie))


def test_a_trie_that_is_none_is_refused() -> None:
    manifest, values, trie = sections()
    text = json.dumps(manifest).encode()
    for wrong in (b"", b"\0" * len(trie), b"We love", trie[:16], trie[: len(trie) // 2], b"x" + trie[1:]):
        with pytest.raises(BadBase):
            open_base(packed(text, values, wrong))
    other = compile_base([source("seed", "social-media", ["a.b"])])
    size = base_module._HEAD.unpack_from(other)[3]
    with pytest.raises(BadBase, match="keys"):
        open_base(packed(text, values, other[-(size + -size % 8) :][:size]))


def test_sets_that_nothing_uses_are_not_kept() -> None:
    base = support.make_base({"social-media": ["a"], "messaging": ["a"], "adult": ["a"]})
    assert base.sets == (ListSet((0, 1, 2), ()),)


def test_the_same_input_gives_the_same_bytes_whatever_the_order_of_hashes() -> None:
    program = (
        "import hashlib; from blocklists.compile import *; from blocklists.seed import load_seed;"
        "extra = [Source(f'l{n}', 'L', 'adult', ListKind.LIST, [f'h{i}.d{i % 7}.com' for i in range(n, 900)],"
        " {f'd{n % 7}.com'}) for n in range(9)];"
        "print(hashlib.sha256(compile_base([*seed_sources(load_seed()), *extra])).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "4414")
    }
    assert len(digests) == 1
