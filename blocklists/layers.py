"""Grants by scope and name, made from what the version before had.

Grants that always come together are one *layer*, which every group of their scopes shares. One decision changes one
grant of thousands: the layers that it touches are copied and changed, the others stay the objects that they were.
Whatever was made before, the same grants give equal layers. Built once per snapshot, never changed afterwards.

These are the tables of a policy that was read. One that is mapped answers the same questions (`flat_layers.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from blocklists.policy import Audience, Grant, Match

Scope = tuple[str, Audience]  # a site, or `*`
ANEW = 1_000  # more changed grants than this are not worth following one by one


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of a grant, as found under its name."""

    grant: Grant
    match: Match


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """`openings` of one name are by grant number; `carved` are the names above one that is opened."""

    grants: Mapping[int, Grant]
    openings: Mapping[str, tuple[Opening, ...]]
    carved: Mapping[str, int]  # how many opened names lie below


class Openings(Protocol):
    """What the layers of one group open, as the decider asks for it."""

    @property
    def carved(self) -> tuple[Collection[str], ...]:
        """The names above one that is opened."""
        ...

    def above(self, name: str, ancestors: Sequence[str]) -> Sequence[tuple[str, Opening]]:
        """Return each opening at `name` or above it, with the name it stands at: layer by layer, in each the most
        specific name first. `ancestors` are `name` and the names above it."""
        ...

    def items(self) -> Iterator[tuple[str, tuple[Opening, ...]]]:
        """Yield each opened name of each layer and what opens it."""
        ...


class LayerTable(Protocol):
    """The layers of one policy."""

    def of(self, scope: Scope) -> object | None:
        """Return the layer of `scope`, the same object for scopes with the same grants; None where none applies."""
        ...

    def together(self, scopes: Sequence[Scope]) -> Openings:
        """Return the openings of these scopes, as one."""
        ...


@dataclass(frozen=True, slots=True)
class Stacked:
    """`Openings` in dictionaries."""

    layers: tuple[Layer, ...] = ()

    @property
    def carved(self) -> tuple[Collection[str], ...]:
        return tuple([layer.carved for layer in self.layers])

    def above(self, name: str, ancestors: Sequence[str]) -> list[tuple[str, Opening]]:
        return [
            (above, opening)
            for layer in self.layers
            for above in ancestors
            if above in layer.openings
            for opening in layer.openings[above]
        ]

    def items(self) -> Iterator[tuple[str, tuple[Opening, ...]]]:
        for layer in self.layers:
            yield from layer.openings.items()


class Layers:
    """The layers of one policy's grants; `of(scope)` is None where no grant applies."""

    __slots__ = ("_by_scope", "_grants", "_kept")

    def __init__(self, grants: Iterable[Grant], before: Layers | None = None) -> None:
        """Grant numbers are unique (`policy_codec` has seen to that)."""
        self._grants = {grant.number: grant for grant in grants}
        self._by_scope: dict[Scope, Layer] = {}
        self._kept: dict[tuple[int, int], list[Layer]] = {}
        known = {} if before is None else before._grants
        added = [grant for grant in self._grants.values() if known.get(grant.number) is not grant]
        gone = [grant for number, grant in known.items() if self._grants.get(number) is not grant]
        if before is None or len(added) + len(gone) > ANEW:
            self._build()
        else:
            self._follow(before, added, gone)

    def of(self, scope: Scope) -> Layer | None:
        return self._by_scope.get(scope)

    def together(self, scopes: Sequence[Scope]) -> Stacked:
        """Return the openings of these scopes, as one."""
        return Stacked(tuple([self._by_scope[scope] for scope in scopes if scope in self._by_scope]))

    def _build(self) -> None:
        members: dict[Scope, list[Grant]] = {}
        for number in sorted(self._grants):
            grant = self._grants[number]
            for scope in _scopes(grant):
                members.setdefault(scope, []).append(grant)
        made: dict[tuple[int, ...], Layer] = {}
        for scope, found in members.items():
            identity = tuple([grant.number for grant in found])
            if identity not in made:
                made[identity] = _changed(_EMPTY, found, ())
            self._by_scope[scope] = self._interned(made[identity])

    def _follow(self, before: Layers, added: list[Grant], gone: list[Grant]) -> None:
        changes: dict[Scope, tuple[list[Grant], list[Grant]]] = {}
        for place, grants in enumerate((added, gone)):
            for grant in grants:
                for scope in _scopes(grant):
                    changes.setdefault(scope, ([], []))[place].append(grant)
        for scope, layer in before._by_scope.items():
            if scope not in changes:
                self._by_scope[scope] = self._interned(layer)
        made: dict[object, Layer] = {}
        for scope, (more, less) in changes.items():
            layer = before._by_scope.get(scope, _EMPTY)
            identity = id(layer), tuple([one.number for one in more]), tuple([one.number for one in less])
            if identity not in made:
                made[identity] = self._interned(_changed(layer, more, less))
            if made[identity].grants:
                self._by_scope[scope] = made[identity]

    def _interned(self, layer: Layer) -> Layer:
        """The layer that has these grants already, if there is one: groups are told apart by their layers' identity."""
        alike = self._kept.setdefault((len(layer.grants), next(iter(layer.grants), 0)), [])
        for one in alike:
            if one is layer or one.grants == layer.grants:
                return one
        alike.append(layer)
        return layer


_EMPTY = Layer({}, {}, {})


def _scopes(grant: Grant) -> set[Scope]:
    return {(site, audience) for site in grant.sites for audience in grant.audiences}


def _changed(layer: Layer, added: Collection[Grant], gone: Collection[Grant]) -> Layer:
    """`layer` without those that are `gone` and with those that are `added`, which may have their numbers."""
    grants, openings, carved = dict(layer.grants), dict(layer.openings), dict(layer.carved)
    for grant in gone:
        del grants[grant.number]
        for name in {entry.name for entry in grant.entries}:
            left = tuple([one for one in openings[name] if one.grant.number != grant.number])
            if left:
                openings[name] = left
            else:
                del openings[name]
                _count_above(carved, name, -1)
    for grant in added:
        grants[grant.number] = grant
        for entry in grant.entries:
            opening = Opening(grant, entry.match)
            found = openings.get(entry.name)
            if found is None:
                openings[entry.name] = (opening,)
                _count_above(carved, entry.name, 1)
            elif found[-1].grant.number <= grant.number:
                openings[entry.name] = (*found, opening)
            else:
                openings[entry.name] = tuple(sorted((*found, opening), key=lambda one: one.grant.number))
    return Layer(grants, openings, carved)


def _count_above(carved: dict[str, int], name: str, more: int) -> None:
    at = name.find(".")
    while at != -1:
        parent = name[at + 1 :]
        count = carved.get(parent, 0) + more
        if count:
            carved[parent] = count
        else:
            del carved[parent]
        at = name.find(".", at + 1)
