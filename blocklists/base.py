"""The base: every listed name in one immutable, memory-mapped file.

A static trie of reversed-label keys (`com.facebook.`) gives each key a small integer; that names a *set*: which lists
hold the key, and which lists except it. Workers share the pages of the file.

Layout, little-endian: magic, four u32 lengths (manifest, values, trie, reserved 0), manifest (JSON), values (by trie
id; a byte per key while 256 sets are enough, else u16), trie (marisa), each section padded to eight bytes. marisa opens
damaged files without complaint or crashes, so the digest of the whole file is compared before anything is mapped; the
digest is trusted because a signed policy names it. Head, manifest and values are checked even so: what does not fit
together is `BadBase`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import marisa_trie

from blocklists import names

MAGIC = b"SGBASE01"
MAX_SETS = 1 << 16
MAX_BYTES = 1 << 30
_HEAD = struct.Struct("<8s4I")  # 24 bytes: the first section is aligned without padding
_TRIE_MAGIC = b"We love Marisa."


class BadBase(ValueError):
    """A base file that is damaged, of another format, or not the one that was asked for."""


class ListKind(StrEnum):
    LIST = "list"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class ListInfo:
    """One blocklist or service bundle in a base. `fetched_at` is an input of the compiler, so bytes stay the same."""

    id: str
    title: str
    category: str
    kind: ListKind
    source_digest: str
    fetched_at: int
    names: int


@dataclass(frozen=True, slots=True)
class ListSet:
    """What one key means: indexes of the lists that hold it, and of those that except it and all below it."""

    holds: tuple[int, ...]
    excepts: tuple[int, ...]


class Listing(NamedTuple):
    """One reason for a name to be listed: the list's index in the base, and the entry that matched. A named tuple, for
    it is made for every listed question, and costs a third of a frozen dataclass."""

    list: int
    entry: str


_new = tuple.__new__  # `Listing(…)` without the call of its Python-level constructor


def _padding(size: int) -> int:
    return -size % 8


def value_size(sets: int) -> int:
    """Return the bytes of one value in a base with this many sets."""
    return 1 if sets <= 256 else 2


def assemble(lists: tuple[ListInfo, ...], sets: tuple[ListSet, ...], values: bytes, trie: bytes) -> bytes:
    """Return the bytes of a base. `values` holds an index into `sets` per trie id, as wide as `value_size` says."""
    manifest = json.dumps(
        {
            "lists": [asdict(one) for one in lists],
            "sets": [[list(one.holds), list(one.excepts)] for one in sets],
            "keys": len(values) // value_size(len(sets)),
        },
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    ).encode()
    parts = [_HEAD.pack(MAGIC, len(manifest), len(values), len(trie), 0)]
    for section in (manifest, values, trie):
        parts += [section, bytes(_padding(len(section)))]
    return b"".join(parts)


class Base:
    """A mapped base. Immutable and safe to share; `close` is left to the garbage collector (readers may hold it)."""

    __slots__ = ("_map", "_prefixes", "_trie", "_values", "bundles", "digest", "exceptions", "keys", "lists", "sets")

    exceptions: frozenset[str]  # names that some list excepts
    bundles: Mapping[int, tuple[str, ...]]  # a service's list index -> the names that its bundle holds

    def __init__(self, view: memoryview, digest: str) -> None:
        """`view` holds the whole file, already compared with `digest`. Raises `BadBase` when it is not sound."""
        if len(view) < _HEAD.size:
            raise BadBase("the base is shorter than its head")
        magic, manifest_size, values_size, trie_size, reserved = _HEAD.unpack_from(view)
        if magic != MAGIC or reserved != 0:
            raise BadBase(f"the base begins with {bytes(magic)!r}: this program reads {MAGIC!r}")
        at = _HEAD.size
        sections = []
        for size in (manifest_size, values_size, trie_size):
            sections.append(view[at : at + size])
            at += size + _padding(size)
        if at != len(view):
            raise BadBase(f"the base has {len(view)} bytes where its head counts {at}")
        self.digest = digest
        self._map = view
        self.lists, self.sets, self.keys = _read_manifest(bytes(sections[0]))
        width = value_size(len(self.sets))
        if values_size != width * self.keys:
            raise BadBase(f"the base has {values_size} bytes of values for {self.keys} keys")
        self._values = sections[1].cast("B" if width == 1 else "H")
        self._trie = _map_trie(sections[2])
        self._prefixes = self._trie.iter_prefixes_with_ids
        if len(self._trie) != self.keys:
            raise BadBase(f"the base's trie has {len(self._trie)} keys where its manifest counts {self.keys}")
        if self.keys and max(self._values) >= len(self.sets):
            raise BadBase("a key names a set that the manifest does not have")
        self.exceptions, self.bundles = self._named_apart()

    def _named_apart(self) -> tuple[frozenset[str], Mapping[int, tuple[str, ...]]]:
        """The few names that are also needed by list: one pass over the values, so that no decision has to search."""
        services = {index for index, one in enumerate(self.lists) if one.kind is ListKind.SERVICE}
        wanted = {at for at, one in enumerate(self.sets) if one.excepts or not services.isdisjoint(one.holds)}
        exceptions: set[str] = set()
        bundles: dict[int, list[str]] = {index: [] for index in sorted(services)}
        for at, number in enumerate(self._values) if wanted else ():
            if number in wanted:
                name = names.from_key(self._trie.restore_key(at))
                one = self.sets[number]
                if one.excepts:
                    exceptions.add(name)
                for index in services.intersection(one.holds):
                    bundles[index].append(name)
        return frozenset(exceptions), MappingProxyType({index: tuple(found) for index, found in bundles.items()})

    @classmethod
    def open(cls, path: Path, digest: str) -> Base:
        """Hash the file at `path`, compare with `digest` (SHA-256 hex), map it. Raises `BadBase` or `OSError`."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not _HEAD.size <= size <= MAX_BYTES:
                raise BadBase(f"the base has {size} bytes")
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if (found := hashlib.sha256(view).hexdigest()) != digest:
            raise BadBase(f"the base is damaged: its digest is {found[:16]}…, not {digest[:16]}…")
        return cls(view, digest)

    def listings(self, name: str) -> tuple[Listing, ...]:
        """Return every listing of `name` over all its ancestors, most specific first, exceptions taken away."""
        labels = name.split(".")  # `names.key`, without the call
        labels.reverse()
        matches = self._prefixes(".".join(labels) + ".")
        first = next(matches, None)
        if first is None:
            return ()
        more = list(matches)
        if not more:  # nearly always; what a key excepts is never what it holds
            key, number = first
            entry = name[1 - len(key) :]  # a key is as long as its name and the final dot
            holds = self.sets[self._values[number]].holds
            if len(holds) == 1:
                return (_new(Listing, (holds[0], entry)),)
            return tuple([_new(Listing, (index, entry)) for index in holds])
        found: list[Listing] = []
        excepted: set[int] = set()
        for key, number in (*reversed(more), first):
            one = self.sets[self._values[number]]
            if one.excepts:
                excepted.update(one.excepts)
            if one.holds:
                entry = name[1 - len(key) :]
                found += [Listing(index, entry) for index in one.holds if index not in excepted]
        return tuple(found)

    def entry(self, key: str) -> int | None:
        """Return the number (in `sets`) of what the base says of exactly the name with this trie key, or None."""
        number = self._trie.get(key)
        return None if number is None else self._values[number]

    def entries(self) -> Iterator[tuple[str, int]]:
        """Yield every entry's trie key (`names.from_key` gives its name) and the number of what it says. An entry and
        all below it come together, it first; otherwise there is no order."""
        values = self._values
        for key, number in self._trie.iteritems():
            yield key, values[number]

    def below(self, key: str) -> Iterator[str]:
        """Yield the trie keys of the entries at and below this one, unordered."""
        yield from self._trie.iterkeys(key)

    def path(self, key: str) -> tuple[int, ...]:
        """Return the numbers of what the entries at and above this trie key say, from the root down."""
        values = self._values
        return tuple([values[number] for _, number in self._trie.iter_prefixes_with_ids(key)])

    def uses(self) -> tuple[int, ...]:
        """Return how many entries say what each of `sets` says."""
        counts = Counter(self._values)
        return tuple(counts[number] for number in range(len(self.sets)))


def _map_trie(section: memoryview) -> marisa_trie.Trie:
    trie = marisa_trie.Trie()
    if bytes(section[: len(_TRIE_MAGIC)]) != _TRIE_MAGIC:
        raise BadBase("the base's trie does not begin like one")
    try:
        trie.map(section)
    except RuntimeError as error:
        raise BadBase(f"the base's trie cannot be read: {error}") from None
    return trie


def _read_manifest(data: bytes) -> tuple[tuple[ListInfo, ...], tuple[ListSet, ...], int]:
    try:
        plain = json.loads(data.decode(), object_pairs_hook=_Pairs)
        lists = tuple(_list_info(one) for one in _a(list, plain["lists"]))
        sets = tuple(_list_set(one, len(lists)) for one in _a(list, plain["sets"]))
        keys: int = _a(int, plain["keys"])
    except BadBase:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadBase(f"the base's manifest cannot be read: {error}") from None
    if len({one.id for one in lists}) != len(lists):
        raise BadBase("the base's manifest names a list twice")
    return lists, sets, keys


class _Pairs(dict[str, Any]):
    """A JSON object; a key that stands twice in it is refused."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        if len(self) != len(pairs):
            raise BadBase("the base's manifest has a key twice in one object")


def _a(cls: type, value: Any) -> Any:
    if type(value) is not cls:
        raise BadBase(f"the base's manifest has a {type(value).__name__} where a {cls.__name__} belongs")
    return value


def _list_info(plain: Any) -> ListInfo:
    info = ListInfo(**{**_a(_Pairs, plain), "kind": ListKind(_a(str, plain["kind"]))})
    for text in (info.id, info.title, info.category, info.source_digest):
        _a(str, text)
    for number in (info.fetched_at, info.names):
        _a(int, number)
    return info


def _list_set(plain: Any, lists: int) -> ListSet:
    holds, excepts = _a(list, plain)
    for index in (*_a(list, holds), *_a(list, excepts)):
        if not 0 <= _a(int, index) < lists:
            raise BadBase("a set names a list that the manifest does not have")
    return ListSet(tuple(holds), tuple(excepts))
