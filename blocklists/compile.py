"""Names to base: streaming in, deterministic bytes out.

Each source's names are folded into one dictionary from key to the number of its set of lists, so memory follows the
number of distinct names, not of listings. Same lists in the same order, same bytes, whatever the order of the names
within a list. No clock, no disk, no network.
"""

from __future__ import annotations

import array
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import marisa_trie

from blocklists.base import MAX_SETS, ListInfo, ListKind, ListSet, assemble, value_size
from blocklists.seed import Seed, SeedService

_NOTHING: frozenset[int] = frozenset()


class TooManySets(ValueError):
    """More different combinations of lists than a base can number."""


class DuplicateList(ValueError):
    """Two sources with one id: no correction could tell them apart."""


@dataclass(frozen=True, slots=True)
class Source:
    """One list to compile: canonical names (each blocks itself and all below it), and names excepted from this list."""

    id: str
    title: str
    category: str
    kind: ListKind
    names: Iterable[str]
    exceptions: Iterable[str] = ()
    digest: str = ""
    fetched_at: int = 0


def compile_base(sources: Iterable[Source], progress: Callable[[str, int], None] | None = None) -> bytes:
    """Return the bytes of the base that holds `sources`.

    `progress(list id, names so far)` is called after each source. Raises `TooManySets` or `DuplicateList`.
    """
    folder = _Folder()
    infos: list[ListInfo] = []
    for index, source in enumerate(sources):
        count = folder.add(source.names, (index, True))
        folder.add(source.exceptions, (index, False))
        infos.append(
            ListInfo(source.id, source.title, source.category, source.kind, source.digest, source.fetched_at, count)
        )
        if progress is not None:
            progress(source.id, len(folder.keys))
    if len({info.id for info in infos}) != len(infos):
        raise DuplicateList("two lists have the same id")
    keys, said = _without_subsumed(folder.keys, folder.sets)
    folder.keys.clear()
    sets, numbers = _renumbered(set(said), folder.sets)
    trie = marisa_trie.Trie(keys)
    return assemble(tuple(infos), sets, _values(trie, keys, said, numbers).tobytes(), trie.tobytes())


def _values(
    trie: marisa_trie.Trie, keys: list[str], said: array.array[int], numbers: Mapping[int, int]
) -> array.array[int]:
    """The value of each key, by trie id. Most keys have one value in common; only the others are looked for."""
    values = array.array("B" if value_size(len(numbers)) == 1 else "H")
    if not keys:
        return values
    common = Counter(said).most_common(1)[0][0]
    values.append(numbers[common])
    values *= len(keys)
    for key, number in zip(keys, said, strict=True):
        if number != common:
            values[trie[key]] = numbers[number]
    return values


def _renumbered(used: set[int], sets: list[ListSet]) -> tuple[tuple[ListSet, ...], dict[int, int]]:
    """The sets in use in an order of their own, not of arrival, and old number -> new number."""
    if len(used) > MAX_SETS:
        raise TooManySets(f"{len(used)} combinations of lists, where a base has {MAX_SETS}; switch some lists off")
    order = sorted(used, key=lambda number: (sets[number].holds, sets[number].excepts))
    return tuple(sets[number] for number in order), {old: new for new, old in enumerate(order)}


class _Folder:
    """Keys with the number of their set. Sets are interned: each step is (set so far, one more mark) -> set."""

    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.sets: list[ListSet] = [ListSet((), ())]
        self._numbers: dict[ListSet, int] = {self.sets[0]: 0}
        self._steps: dict[tuple[int, tuple[int, bool]], int] = {}

    def add(self, found: Iterable[str], mark: tuple[int, bool]) -> int:
        """Mark every name; return how many were new to this mark."""
        keys = self.keys
        steps = self._steps
        count = 0
        for name in found:
            labels = name.split(".")  # `names.key`, without a call for each of millions of names
            labels.reverse()
            key = ".".join(labels) + "."
            old = keys.get(key, 0)
            new = steps.get((old, mark))
            if new is None:
                new = steps[old, mark] = self._with(old, mark)
            if new != old:
                keys[key] = new
                count += 1
        return count

    def _with(self, number: int, mark: tuple[int, bool]) -> int:
        old = self.sets[number]
        index, holds = mark
        if holds:
            new = ListSet(tuple(sorted({*old.holds, index})), old.excepts)
        else:
            new = ListSet(tuple(one for one in old.holds if one != index), tuple(sorted({*old.excepts, index})))
        if (found := self._numbers.get(new)) is not None:
            return found
        self.sets.append(new)
        return self._numbers.setdefault(new, len(self.sets) - 1)


def _without_subsumed(keys: Mapping[str, int], sets: list[ListSet]) -> tuple[list[str], array.array[int]]:
    """Return the keys, sorted, without those whose nearest kept ancestors already say all that they say; and for each
    the number of its set.

    A key is dropped only when it excepts nothing and every list that holds it is in force from above.
    """
    kept: list[str] = []
    said = array.array("L")
    above: list[str] = []  # kept ancestors of the current key
    force = [_NOTHING]  # the lists in force below nothing, then below each of these
    nearest = "."  # the last of `above`; no key begins with a dot
    known: dict[tuple[frozenset[int], int], frozenset[int] | None] = {}  # None: subsumed
    for key in sorted(keys):
        while above and not key.startswith(nearest):
            above.pop()
            force.pop()
            nearest = above[-1] if above else "."
        number = keys[key]
        step = force[-1], number
        if step in known:
            below = known[step]
        else:
            one, inherited = sets[number], force[-1]
            subsumed = not one.excepts and inherited.issuperset(one.holds)
            below = None if subsumed else (inherited - frozenset(one.excepts)) | frozenset(one.holds)
            known[step] = below
        if below is not None:
            kept.append(key)
            said.append(number)
            above.append(key)
            force.append(below)
            nearest = key
    return kept, said


def seed_sources(seed: Seed, services: Iterable[SeedService] | None = None) -> list[Source]:
    """Return the shipped seed lists as sources: a list per category and a bundle per service; `services` instead of
    the seed's own when they are given."""
    found: list[Source] = []
    for category in seed.categories:
        digest = _digest(category.names)
        found.append(
            Source(category.list_id, category.list_title, category.id, ListKind.LIST, category.names, (), digest)
        )
    for service in seed.services if services is None else services:
        digest = _digest((*service.names, "", *service.exceptions))
        found.append(
            Source(
                service.id,
                service.title,
                service.category,
                ListKind.SERVICE,
                service.names,
                service.exceptions,
                digest,
            )
        )
    return found


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
