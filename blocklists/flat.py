"""A policy as one flat file: made once by whoever verified it, mapped and decided from by every worker.

A policy is mostly grants. They stand here as records behind a trie of the names that they open, so that a question
makes objects of the few that it touches, and processes share the pages. Everything else (groups, categories, levers)
is small and stands as the policy's own JSON without its grants: it is read when the file is mapped, into the
dictionaries that every decision asks.

Layout, little-endian: head (magic with the format's number, the SHA-256 of the policy's bytes, a u32 length of each
section), the sections, each padded to eight bytes, and the SHA-256 of all of that:

    rest      the policy without its grants (`policy_codec`)
    tables    JSON: `reaches`, the different (sites, audiences) of grants; `scopes`, (site, audience, layer): those that
              the same grants reach are one layer
    offsets   u32 a grant and one more: where its record begins
    reached   u32 a grant: its reach
    records   a grant each, in the policy's order (`_GRANT`, then entries, then hours)
    starts    u32 an opened name and one more, by trie id: where its openings begin
    openings  u32 each, by grant number: the grant's place << 2 | its entry's match
    trie      marisa: reversed-label keys of the opened names

The same policy, the same bytes. A file that is not whole, of another format or of another policy is `BadFlat`. marisa
does not survive damage, so the digest at the end is compared before anything is mapped. That digest is no signature:
whoever verifies a policy makes its flat file anew and compares.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, overload

import marisa_trie

from blocklists import names, policy_codec
from blocklists.layers import Scope
from blocklists.policy import Audience, Authority, AuthorityKind, Entry, Grant, Hours, Match, Policy, Window

MAGIC = b"SGFLAT01"
MAX_BYTES = 1 << 30
_HEAD = struct.Struct("<8s32s8I")
_SUM = 32  # bytes of the digest at the end
# Number, authority (its kind, its number), window (-1: no end), lifts_rewrites, how many entries and hours.
_GRANT = struct.Struct("<QBQQqBII")
_HOURS = struct.Struct("<HHI")  # start, end, how many days; a byte each follows
# What a record holds of these is the place in this order: a change is another format.
_KINDS = (AuthorityKind.REQUEST, AuthorityKind.REGISTER, AuthorityKind.EXCEPTION)
_MATCHES = (Match.SUBTREE, Match.EXACT, Match.VIA)
_MATCH_CODES = {match: code for code, match in enumerate(_MATCHES)}

Reach = tuple[tuple[str, ...], tuple[Audience, ...]]


class BadFlat(ValueError):
    """A flat file that is damaged, of another format, or of another policy: to be made anew."""


def flatten(policy: Policy, digest: str) -> bytes:
    """Return the flat form of `policy`; `digest` is the SHA-256 (hex) of its bytes."""
    rest = policy_codec.dump(replace(policy, grants=()))
    sections = (rest, *_made.sections(policy.grants))
    parts = [_HEAD.pack(MAGIC, bytes.fromhex(digest), *map(len, sections))]
    for section in sections:
        parts += [section, bytes(-len(section) % 8)]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


class _Made:
    """The grants that were flattened last: what one decision changes of thousands is little. Replaced whole."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[int, tuple[Grant, bytes, list[tuple[str, int]]]] = {}
        self._last: tuple[Sequence[Grant], tuple[bytes, ...]] | None = None

    def sections(self, grants: Sequence[Grant]) -> tuple[bytes, ...]:
        last = self._last
        if last is None or last[0] is not grants:
            last = self._last = grants, self._sections(grants)
        return last[1]

    def _sections(self, grants: Sequence[Grant]) -> tuple[bytes, ...]:
        known, made = self._known, {}
        reaches: dict[Reach, int] = {}
        reached = array("I")
        for grant in grants:
            one = known.get(grant.number)
            if one is None or one[0] is not grant:
                opens = [(names.key(entry.name), _MATCH_CODES[entry.match]) for entry in grant.entries]
                one = grant, _record(grant), opens
            made[grant.number] = one
            reached.append(reaches.setdefault((grant.sites, grant.audiences), len(reaches)))
        self._known = made
        parts = list(made.values())
        records = [record for _, record, _ in parts]
        opened: dict[str, list[int]] = {}
        for place in sorted(range(len(parts)), key=lambda at: parts[at][0].number):
            for key, code in parts[place][2]:
                opened.setdefault(key, []).append(place << 2 | code)
        trie = marisa_trie.Trie(opened)
        by_id: list[list[int]] = [[]] * len(opened)
        for key, at in trie.iteritems():
            by_id[at] = opened[key]
        return (
            _tables(reaches),
            _offsets(records),
            reached.tobytes(),
            b"".join(records),
            _offsets(by_id),
            array("I", chain.from_iterable(by_id)).tobytes(),
            trie.tobytes(),
        )


_made = _Made()


def _record(grant: Grant) -> bytes:
    window, authority = grant.window, grant.authority
    end = -1 if window.ends_at is None else window.ends_at
    counts = len(grant.entries), len(window.hours)
    kind = _KINDS.index(authority.kind)
    parts = [_GRANT.pack(grant.number, kind, authority.number, window.starts_at, end, grant.lifts_rewrites, *counts)]
    for entry in grant.entries:
        name = entry.name.encode()
        parts += [bytes((_MATCH_CODES[entry.match], len(name))), name]
    for hours in window.hours:
        parts += [_HOURS.pack(hours.start, hours.end, len(hours.days)), bytes(hours.days)]
    return b"".join(parts)


def _tables(reaches: Iterable[Reach]) -> bytes:
    reaching: dict[Scope, list[int]] = {}
    for number, (sites, audiences) in enumerate(reaches):
        for scope in {(site, audience) for site in sites for audience in audiences}:
            reaching.setdefault(scope, []).append(number)
    layers: dict[tuple[int, ...], int] = {}
    scopes = [(*scope, layers.setdefault(tuple(reaching[scope]), len(layers))) for scope in sorted(reaching)]
    return json.dumps({"reaches": list(reaches), "scopes": scopes}, ensure_ascii=False, separators=(",", ":")).encode()


def _offsets(parts: Iterable[Sequence[Any]]) -> bytes:
    return array("I", accumulate(map(len, parts), initial=0)).tobytes()


class Flat:
    """A mapped flat file. Immutable, but for the objects that it remembers.

    It is unmapped when nobody holds it. Workers collect no cyclic garbage: nothing that it holds may hold it.
    """

    __slots__ = (
        "_offsets",
        "_reached",
        "_records",
        "_rest",
        "_seen",
        "openings",
        "reaches",
        "scopes",
        "starts",
        "trie",
    )

    reaches: tuple[Reach, ...]
    scopes: dict[Scope, int]  # the layer of each scope that a grant reaches

    def __init__(self, view: memoryview, digest: str) -> None:
        """`view` holds the whole file, which should be that of the policy with this digest. Raises `BadFlat`."""
        if len(view) < _HEAD.size + _SUM:
            raise BadFlat("the flat policy is shorter than its head")
        magic, of, *sizes = _HEAD.unpack_from(view)
        if magic != MAGIC:
            raise BadFlat(f"the flat policy begins with {magic!r}: this program reads {MAGIC!r}")
        if of.hex() != digest:
            raise BadFlat(f"the flat policy is of {of.hex()[:16]}…, not {digest[:16]}…")
        if hashlib.sha256(view[:-_SUM]).digest() != view[-_SUM:]:
            raise BadFlat("the flat policy is damaged: its digest differs")
        at, sections = _HEAD.size, []
        for size in sizes:
            sections.append(view[at : at + size])
            at += size + -size % 8
        if at + _SUM != len(view):
            raise BadFlat(f"the flat policy has {len(view)} bytes where its head counts {at + _SUM}")
        rest, tables, offsets, reached, self._records, starts, openings, trie = sections
        self._offsets, self._reached, self.starts, self.openings = map(_numbers, (offsets, reached, starts, openings))
        self.trie = marisa_trie.Trie()
        try:
            self._rest = policy_codec.load(bytes(rest))
            self.reaches, self.scopes = _read_tables(bytes(tables))
            self.trie.map(trie)
        except (ValueError, TypeError, KeyError, RuntimeError) as error:  # too deep nesting is a RuntimeError
            raise BadFlat(f"the flat policy cannot be read: {str(error)[:500]}") from None
        if len(self._offsets) != len(self._reached) + 1 or len(self.starts) != len(self.trie) + 1:
            raise BadFlat("the flat policy counts its grants or its names in two ways")
        if self._offsets[-1] != len(self._records) or self.starts[-1] != len(self.openings):
            raise BadFlat("the flat policy has records that no table knows")
        if max(self._reached, default=-1) >= len(self.reaches):
            raise BadFlat("the flat policy has a grant without a reach")
        self._seen: dict[int, Grant] = {}

    @classmethod
    def open(cls, path: Path, digest: str) -> Flat:
        """Map the file at `path`, which should be that of the policy with this digest. Raises `BadFlat`, `OSError`."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not _HEAD.size <= size <= MAX_BYTES:
                raise BadFlat(f"the flat policy has {size} bytes")
            return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), digest)

    @property
    def policy(self) -> Policy:
        """The whole policy. Its grants are made of their records as somebody asks for them."""
        return replace(self._rest, grants=Grants(self))

    def __len__(self) -> int:
        """Return how many grants there are."""
        return len(self._reached)

    @property
    def made(self) -> int:
        """How many grants were made of their records so far."""
        return len(self._seen)

    def reach(self, place: int) -> Reach:
        """Return (sites, audiences) of the grant at `place`, without making it."""
        return self.reaches[self._reached[place]]

    def grant(self, place: int) -> Grant:
        """Return the grant at `place`, remembered."""
        found = self._seen.get(place)
        if found is None:
            found = self._seen[place] = self._make(place)
        return found

    def _make(self, place: int) -> Grant:
        data, at = bytes(self._records[self._offsets[place] : self._offsets[place + 1]]), _GRANT.size
        number, kind, authority, starts_at, ends_at, lifts, entries, spans = _GRANT.unpack_from(data)
        found, hours = [], []
        for _ in range(entries):
            end = at + 2 + data[at + 1]
            found.append(Entry(data[at + 2 : end].decode(), _MATCHES[data[at]]))
            at = end
        for _ in range(spans):
            start, until, days = _HOURS.unpack_from(data, at)
            at += _HOURS.size + days
            hours.append(Hours(tuple(data[at - days : at]), start, until))
        window = Window(starts_at, None if ends_at < 0 else ends_at, tuple(hours))
        by = Authority(_KINDS[kind], authority)
        return Grant(number, by, tuple(found), *self.reach(place), window, bool(lifts))

    def match(self, opening: int) -> Match:
        """Return the match of what stands in `openings`; its grant's place is `opening >> 2`."""
        return _MATCHES[opening & 3]


class Grants(Sequence[Grant]):
    """The grants of a mapped policy, made one by one as they are asked for."""

    __slots__ = ("_flat",)

    def __init__(self, flat: Flat) -> None:
        self._flat = flat

    def __len__(self) -> int:
        return len(self._flat)

    @overload
    def __getitem__(self, at: int) -> Grant: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Grant]: ...
    def __getitem__(self, at: int | slice) -> Grant | Sequence[Grant]:
        places = range(len(self._flat))[at]
        return self._flat.grant(places) if isinstance(places, int) else tuple(map(self._flat.grant, places))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Grants | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


def _read_tables(data: bytes) -> tuple[tuple[Reach, ...], dict[Scope, int]]:
    plain = json.loads(data)
    reaches = tuple((tuple(map(_text, sites)), tuple(map(Audience, found))) for sites, found in plain["reaches"])
    scopes = {(_text(site), Audience(audience)): layer for site, audience, layer in plain["scopes"]}
    if not all(type(layer) is int for layer in scopes.values()):
        raise BadFlat("the flat policy has a scope whose layer is no number")
    return reaches, scopes


def _text(value: object) -> str:
    if type(value) is not str:
        raise BadFlat("the flat policy has a site that is no text")
    return value


def _numbers(section: memoryview) -> Sequence[int]:
    if len(section) % 4:
        raise BadFlat("the flat policy has a table that ends within a number")
    return section.cast("I") if section else ()
