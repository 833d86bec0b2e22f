"""One base and one policy, immutable, named by (version, digest).

`open_snapshot` takes policy bytes whose signature the caller has verified (`signature.py`) and a mapped base,
`flat_snapshot` a mapped policy that was made of such bytes; what does not belong together is refused here, before any
worker serves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from blocklists.base import Base
from blocklists.clients import AmbiguousGroups, ClientTable
from blocklists.flat import Flat
from blocklists.flat_layers import FlatLayers
from blocklists.layers import Layers, LayerTable
from blocklists.policy import UNASSIGNED, Policy
from blocklists.policy_codec import BadPolicy, load
from blocklists.rules import Rules, rules_by_group


class BadSnapshot(ValueError):
    """A policy and a base that do not belong together, or one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a resolver serves by and what `explain` reasons from."""

    policy: Policy
    digest: str
    base: Base
    clients: ClientTable
    by_group: dict[str, Rules]  # groups with the same effective policy share one Rules
    layers: LayerTable

    @property
    def version(self) -> int:
        return self.policy.version

    def rules(self, group: str) -> Rules:
        """Return the effective policy of `group`; an unknown group gets the unassigned one, the strictest."""
        return self.by_group.get(group) or self.by_group[UNASSIGNED]


def open_snapshot(data: bytes, base: Base, before: Snapshot | None = None) -> Snapshot:
    """Return the snapshot of these policy bytes over `base`; sooner, when one `before` resembles it. Raises
    `BadSnapshot`."""
    try:
        policy = load(data)
    except BadPolicy as error:
        raise BadSnapshot(str(error)) from None
    return make_snapshot(policy, hashlib.sha256(data).hexdigest(), base, before)


def make_snapshot(policy: Policy, digest: str, base: Base, before: Snapshot | None = None) -> Snapshot:
    """Return the snapshot of an already read policy. `before` changes nothing but the time that it takes. Raises
    `BadSnapshot`."""
    known = None if before is None or not isinstance(before.layers, Layers) else before.layers
    return _together(policy, digest, base, lambda: Layers(policy.grants, known))


def flat_snapshot(flat: Flat, digest: str, base: Base) -> Snapshot:
    """Return the snapshot of a mapped policy. Raises `BadSnapshot`."""
    return _together(flat.policy, digest, base, lambda: FlatLayers(flat))


def _together(policy: Policy, digest: str, base: Base, layered: Callable[[], LayerTable]) -> Snapshot:
    if policy.base != base.digest:
        raise BadSnapshot(f"the policy was made for base {policy.base[:16]}…, not {base.digest[:16]}…")
    known = {category.id for category in policy.categories}
    for one in base.lists:
        if one.category not in known:
            raise BadSnapshot(f"list {one.id!r} is in category {one.category!r}, which the policy does not have")
    try:
        clients = ClientTable(policy.groups)
    except AmbiguousGroups as error:
        raise BadSnapshot(str(error)) from None
    layers = layered()
    return Snapshot(policy, digest, base, clients, rules_by_group(policy, base, layers), layers)
