"""How a group is known: its networks and the addresses of ours that its devices ask. No two groups claim one."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from blocklists.clients import AmbiguousGroups, ClientTable, parse_address
from blocklists.policy import Group
from portal.fields import Mistakes

MAX_NETWORKS = 256


def read_networks(mistakes: Mistakes, typed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the networks as a policy holds them; note what is wrong."""
    if len(typed) > MAX_NETWORKS:
        mistakes.add("networks", f"a group has at most {MAX_NETWORKS} networks; this has {len(typed)}")
    found: list[str] = []
    for at, text in enumerate(typed[:MAX_NETWORKS]):
        where = f"networks[{at}]"
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            mistakes.add(where, f"{text[:60]!r} is not a network; write it like 10.20.0.0/16 or 2001:db8:20::/48")
            continue
        host = text.strip().partition("/")[0]
        if ipaddress.ip_address(host) != network.network_address:
            mistakes.add(where, f"{text.strip()} begins inside its network; did you mean {network}?")
        elif network.prefixlen == 0:
            mistakes.add(where, f"{network} would claim every client there is; name the site's own networks")
        elif isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
            mistakes.add(where, f"{network} is an IPv4 network in IPv6 clothes; write it as IPv4")
        else:
            found.append(str(network))
    return tuple(dict.fromkeys(found))


def read_asked(mistakes: Mistakes, typed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses of ours as a policy holds them; note what is wrong."""
    found: list[str] = []
    for at, text in enumerate(typed[:MAX_NETWORKS]):
        try:
            found.append(str(parse_address(text.strip())))
        except ValueError:
            mistakes.add(f"asked[{at}]", f"{text[:60]!r} is not an address of a resolver, like 10.20.0.53")
    return tuple(dict.fromkeys(found))


def note_claimed(mistakes: Mistakes, new: Group, others: list[Group]) -> None:
    """Note every network or asked address that another group claims. One look at all; only a clash is looked into."""
    bare = replace(new, networks=(), asked=())
    try:
        ClientTable([*others, new])
        return
    except AmbiguousGroups:
        alone = [(f"networks[{at}]", replace(bare, networks=(one,))) for at, one in enumerate(new.networks)]
        alone += [(f"asked[{at}]", replace(bare, asked=(one,))) for at, one in enumerate(new.asked)]
    for where, candidate in alone:
        try:
            ClientTable([*others, candidate])
        except AmbiguousGroups as error:
            mistakes.add(where, f"{error}; give it to one of them")
