"""The base: every listed name in one immutable, memory-mapped file.

A static trie of reversed-label keys (`com.facebook.`) gives each key a small integer; that names a *set*: which lists
hold the key, and which lists except it. Workers share the pages of the file.

Layout, little-endian: magic, four u32 lengths (manifest, values, trie, reserved 0), manifest (JSON), values (u16 per
key, by trie id), trie (marisa), each section padded to eight bytes. marisa opens damaged files without complaint or
crashes, so the digest of the whole file is compared before anything is mapped; the digest is trusted because a signed
policy names it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import marisa_trie

from blocklists import names

MAGIC = b"SGBASE01"
MAX_SETS = 1 << 16
MAX_BYTES = 1 << 30
_HEAD = struct.Struct("<8s4I")


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


@dataclass(frozen=True, slots=True)
class Listing:
    """One reason for a name to be listed: the list's index in the base, and the entry that matched."""

    list: int
    entry: str


def _padding(size: int) -> int:
    return -size % 8


def assemble(lists: tuple[ListInfo, ...], sets: tuple[ListSet, ...], values: bytes, trie: bytes) -> bytes:
    """Return the bytes of a base. `values` holds one little-endian u16 per trie id: an index into `sets`."""
    manifest = json.dumps(
        {
            "lists": [asdict(one) for one in lists],
            "sets": [[list(one.holds), list(one.excepts)] for one in sets],
            "keys": len(values) // 2,
        },
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    ).encode()
    parts = [_HEAD.pack(MAGIC, len(manifest), len(values), len(trie), 0), b""]
    parts[1] = bytes(_padding(_HEAD.size))
    for section in (manifest, values, trie):
        parts += [section, bytes(_padding(len(section)))]
    return b"".join(parts)


class Base:
    """A mapped base. Immutable and safe to share; `close` is left to the garbage collector (readers may hold it)."""

    __slots__ = ("_map", "_trie", "_values", "digest", "exceptions", "keys", "lists", "sets")

    def __init__(self, view: memoryview, digest: str) -> None:
        """`view` holds the whole file, already compared with `digest`. Raises `BadBase` when it is not sound."""
        if len(view) < _HEAD.size:
            raise BadBase("the base is shorter than its head")
        magic, manifest_size, values_size, trie_size, _ = _HEAD.unpack_from(view)
        if magic != MAGIC:
            raise BadBase(f"the base begins with {bytes(magic)!r}: this program reads {MAGIC!r}")
        at = _HEAD.size + _padding(_HEAD.size)
        sections = []
        for size in (manifest_size, values_size, trie_size):
            sections.append(view[at : at + size])
            at += size + _padding(size)
        if at != len(view):
            raise BadBase(f"the base has {len(view)} bytes where its head counts {at}")
        self.digest = digest
        self._map = view
        self.lists, self.sets, self.keys = _read_manifest(bytes(sections[0]))
        self._values = sections[1].cast("H")
        self._trie = marisa_trie.Trie()
        self._trie.map(sections[2])
        if len(self._trie) != self.keys or len(self._values) != self.keys:
            raise BadBase("the base's parts do not belong together: key counts differ")
        if self.keys and max(self._values) >= len(self.sets):
            raise BadBase("a key names a set that the manifest does not have")
        except_sets = {number for number, one in enumerate(self.sets) if one.excepts}
        self.exceptions = frozenset(
            names.from_key(self._trie.restore_key(at))
            for at, number in enumerate(self._values if except_sets else ())
            if number in except_sets
        )

    @classmethod
    def open(cls, path: Path, digest: str) -> Base:
        """Hash the file at `path`, compare with `digest` (SHA-256 hex), map it. Raises `BadBase` or `OSError`."""
        with path.open("rb") as file:
            size = path.stat().st_size
            if not _HEAD.size <= size <= MAX_BYTES:
                raise BadBase(f"the base has {size} bytes")
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if (found := hashlib.sha256(view).hexdigest()) != digest:
            raise BadBase(f"the base is damaged: its digest is {found[:16]}…, not {digest[:16]}…")
        return cls(view, digest)

    def listings(self, name: str) -> tuple[Listing, ...]:
        """Return every listing of `name` over all its ancestors, most specific first, exceptions taken away."""
        found: list[Listing] = []
        excepted: set[int] = set()
        matches: list[tuple[str, int]] = list(self._trie.iter_prefixes_with_ids(names.key(name)))
        for key, number in reversed(matches):
            one = self.sets[self._values[number]]
            entry = names.from_key(key)
            excepted.update(one.excepts)
            found += [Listing(index, entry) for index in one.holds if index not in excepted]
        return tuple(found)


def _read_manifest(data: bytes) -> tuple[tuple[ListInfo, ...], tuple[ListSet, ...], int]:
    try:
        plain = cast(dict[str, Any], json.loads(data))
        lists = tuple(ListInfo(**{**one, "kind": ListKind(one["kind"])}) for one in plain["lists"])
        sets = tuple(ListSet(tuple(holds), tuple(excepts)) for holds, excepts in plain["sets"])
        keys = int(plain["keys"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadBase(f"the base's manifest cannot be read: {error}") from None
    if any(not 0 <= index < len(lists) for one in sets for index in (*one.holds, *one.excepts)):
        raise BadBase("a set names a list that the manifest does not have")
    return lists, sets, keys
