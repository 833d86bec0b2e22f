"""Grants by scope and name in a mapped policy: what `layers.py` is for one that was read, and the same to decide by.

The name and everything above it are found in one walk of the trie; whose layer an opening is in shows by its grant's
reach. Nothing is made per group or per grant until a question touches it. Nothing here holds who holds it: see `Flat`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from blocklists import names
from blocklists.flat import Flat
from blocklists.layers import Opening, Scope

MAX_CARVED = 4_096  # names that a layer remembers


class FlatLayers:
    """The layers of a mapped policy's grants; `of(scope)` is None where no grant applies."""

    __slots__ = ("_flat", "_layers")

    def __init__(self, flat: Flat) -> None:
        self._flat = flat
        self._layers: dict[int, FlatLayer] = {}
        for scope, number in flat.scopes.items():
            if number not in self._layers:
                self._layers[number] = FlatLayer(Members(flat, scope))

    def of(self, scope: Scope) -> FlatLayer | None:
        number = self._flat.scopes.get(scope)
        return None if number is None else self._layers[number]

    def together(self, scopes: Sequence[Scope]) -> FlatOpenings:
        """Return the openings of these scopes, as one."""
        return FlatOpenings(self._flat, [layer for scope in scopes if (layer := self.of(scope)) is not None])


class Members:
    """The grants that reach one scope; every scope of its layer is reached by the same ones."""

    __slots__ = ("flat", "scope")

    def __init__(self, flat: Flat, scope: Scope) -> None:
        self.flat = flat
        self.scope = scope

    def openings(self, at: int) -> list[int]:
        """Return what opens the name with the trie id `at` here, as it stands in the flat file."""
        flat, (site, audience) = self.flat, self.scope
        found = []
        for opening in flat.openings[flat.starts[at] : flat.starts[at + 1]]:
            sites, audiences = flat.reach(opening >> 2)
            if site in sites and audience in audiences:
                found.append(opening)
        return found

    def names(self, key: str = "") -> Iterator[tuple[str, int]]:
        """Yield the trie key and id of each name at and below the one with this `key` that is opened here."""
        for found, at in self.flat.trie.iteritems(key):
            if self.openings(at):
                yield found, at


class FlatLayer:
    """The grants of one layer by name."""

    __slots__ = ("_known", "members")

    def __init__(self, members: Members) -> None:
        self.members = members
        self._known: dict[int, tuple[Opening, ...]] = {}

    def at(self, name: int) -> tuple[Opening, ...]:
        """Return what opens the name with this trie id here, by grant number; remembered."""
        found = self._known.get(name)
        if found is None:
            flat = self.members.flat
            found = self._known[name] = tuple(
                [Opening(flat.grant(one >> 2), flat.match(one)) for one in self.members.openings(name)]
            )
        return found


class FlatOpenings:
    """What the layers of one group open, in a mapped policy: see `layers.Openings`."""

    __slots__ = ("_layers", "_prefixes", "carved")

    def __init__(self, flat: Flat, layers: Sequence[FlatLayer]) -> None:
        self._layers = layers
        self._prefixes = flat.trie.iter_prefixes_with_ids
        self.carved = (Carved(flat, [layer.members for layer in layers]),) if layers else ()

    def above(self, name: str, ancestors: Sequence[str]) -> list[tuple[str, Opening]]:
        if not self._layers:
            return []
        labels = name.split(".")  # `names.key`, without the call
        labels.reverse()
        matches = list(self._prefixes(".".join(labels) + "."))
        if not matches:
            return []
        matches.reverse()
        return [
            (name[1 - len(key) :], opening)  # a key is as long as its name and the final dot
            for layer in self._layers
            for key, at in matches
            for opening in layer.at(at)
        ]

    def items(self) -> Iterator[tuple[str, tuple[Opening, ...]]]:
        for layer in self._layers:
            for key, at in layer.members.names():
                yield names.from_key(key), layer.at(at)


class Carved(Collection[str]):
    """The names above one that a group's layers open. Asked of blocked names only; the few that have anything of the
    policy below them are remembered."""

    __slots__ = ("_below", "_known", "_members")

    def __init__(self, flat: Flat, members: Sequence[Members]) -> None:
        self._members = members
        self._below = flat.trie.iterkeys
        self._known: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or next(self._below(key := names.key(name)), None) is None:
            return False
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= MAX_CARVED:
                self._known.clear()
            below = (one for members in self._members for one, _ in members.names(key))
            found = self._known[name] = any(len(one) > len(key) for one in below)
        return found

    def __iter__(self) -> Iterator[str]:
        found: set[str] = set()
        for members in self._members:
            for key, _ in members.names():
                found.update(list(names.ancestors(names.from_key(key)))[1:])
        return iter(found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True  # as good as always, and counting would read every name
