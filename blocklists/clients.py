"""Client address and asked address to client group.

A device profile says which group its device is in, wherever it is; one that no group has is in none. Without a profile,
a group that names one of our own addresses (`asked`) claims every client that asked there; otherwise the longest
matching network wins, over IPv4 and IPv6 alike. Two groups that claim the same profile, network or address are refused
when the table is built. Pure; the caller remembers results per address.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from blocklists.policy import UNASSIGNED, Group

PROFILE = "profile"  # what a membership by device profile is by

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AmbiguousGroups(ValueError):
    """Two groups claim the same network or asked address. The message names both."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Which group, and by what: `profile`, `asked ADDRESS`, a network in CIDR, or nothing (unassigned)."""

    group: str
    by: str


def profile_digest(token: str) -> str:
    """Return what a policy holds of a device profile's token: the SHA-256 of its lower-case letters, in hex."""
    return hashlib.sha256(token.lower().encode()).hexdigest()


def parse_address(text: str) -> Address:
    """Return the address of `text`, without a zone index; an IPv4-mapped IPv6 address becomes the IPv4 one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return the network of `text` (CIDR); one of IPv4-mapped addresses becomes the IPv4 one. Raises `ValueError`."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


class ClientTable:
    """Immutable look-up from (client, asked) to the group. One dictionary per prefix length, longest first."""

    __slots__ = ("_asked", "_by_length", "_profiles")

    def __init__(self, groups: Iterable[Group]) -> None:
        asked: dict[Address, str] = {}
        profiles: dict[str, str] = {}
        lengths: dict[tuple[int, int], dict[int, str]] = {}
        for group in groups:
            for digest in group.profiles:
                if (other := profiles.setdefault(digest, group.id)) != group.id:
                    raise AmbiguousGroups(f"groups {other!r} and {group.id!r} both claim a device profile")
            for text in group.asked:
                address = parse_address(text)
                if (other := asked.setdefault(address, group.id)) != group.id:
                    raise AmbiguousGroups(f"groups {other!r} and {group.id!r} both claim clients that ask {address}")
            for text in group.networks:
                network = parse_network(text)
                table = lengths.setdefault((network.version, network.prefixlen), {})
                prefix = int(network.network_address)
                if (other := table.setdefault(prefix, group.id)) != group.id:
                    raise AmbiguousGroups(f"groups {other!r} and {group.id!r} both claim the network {network}")
        self._asked = asked
        self._profiles = profiles
        self._by_length: dict[int, list[tuple[int, int, dict[int, str]]]] = {4: [], 6: []}
        for (version, length), table in sorted(lengths.items(), key=lambda item: -item[0][1]):
            bits = 32 if version == 4 else 128
            mask = ((1 << length) - 1) << (bits - length)
            self._by_length[version].append((length, mask, table))

    def find(self, client: Address, asked: Address | None = None, profile: str = "") -> Membership:
        """Return the group of `client`; `asked` is the address of ours that received the question, when known, and
        `profile` the SHA-256 (hex) of the token that came with it."""
        if profile:
            claimed = self._profiles.get(profile)
            return Membership(UNASSIGNED, "") if claimed is None else Membership(claimed, PROFILE)
        if asked is not None and (group := self._asked.get(asked)) is not None:
            return Membership(group, f"asked {asked}")
        if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
            client = client.ipv4_mapped
        number = int(client)
        for length, mask, table in self._by_length[client.version]:
            prefix = number & mask
            if (group := table.get(prefix)) is not None:
                network = type(client)(prefix)
                return Membership(group, f"{network}/{length}")
        return Membership(UNASSIGNED, "")
