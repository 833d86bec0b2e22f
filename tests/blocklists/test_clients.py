"""Who asks: the longest network wins, over both families, and ambiguity is refused when the table is built."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklists.clients import AmbiguousGroups, ClientTable, Membership, parse_address, parse_network
from blocklists.policy import UNASSIGNED
from tests import support


def table(**groups: str) -> ClientTable:
    """Each group's networks, and `@address` for an address of ours, apart by spaces."""
    return ClientTable(
        support.group(
            id,
            networks=tuple(one for one in claims.split() if not one.startswith("@")),
            asked=tuple(one[1:] for one in claims.split() if one.startswith("@")),
        )
        for id, claims in groups.items()
    )


def found(clients: ClientTable, client: str, asked: str | None = None) -> tuple[str, str]:
    member = clients.find(parse_address(client), None if asked is None else parse_address(asked))
    return member.group, member.by


def test_the_longest_network_wins_whatever_the_order() -> None:
    claims = {"district": "10.0.0.0/8", "school": "10.1.0.0/16", "lab": "10.1.2.0/24", "one": "10.1.2.3"}
    for order in (claims, dict(reversed(claims.items()))):
        clients = table(**order)
        assert found(clients, "10.1.2.3") == ("one", "10.1.2.3/32")
        assert found(clients, "10.1.2.4") == ("lab", "10.1.2.0/24")
        assert found(clients, "10.1.3.1") == ("school", "10.1.0.0/16")
        assert found(clients, "10.9.9.9") == ("district", "10.0.0.0/8")


def test_an_address_that_no_group_claims_is_unassigned() -> None:
    assert table(lab="10.1.2.0/24").find(parse_address("10.1.3.0")) == Membership(UNASSIGNED, "")
    assert found(table(), "2001:db8::1") == (UNASSIGNED, "")


def test_the_families_do_not_mix() -> None:
    clients = table(four="0.0.0.0/0", six="::/0")
    assert found(clients, "192.0.2.1") == ("four", "0.0.0.0/0")
    assert found(clients, "2001:db8::1") == ("six", "::/0")
    assert found(table(six="::/0"), "192.0.2.1") == (UNASSIGNED, "")
    assert found(table(low="::a01:203/128"), "10.1.2.3") == (UNASSIGNED, "")


def test_one_group_over_both_families() -> None:
    clients = table(school="10.1.0.0/16 2001:db8:1::/48", lab="2001:db8:1:2::/64")
    assert found(clients, "10.1.200.1") == ("school", "10.1.0.0/16")
    assert found(clients, "2001:db8:1:1::5") == ("school", "2001:db8:1::/48")
    assert found(clients, "2001:db8:1:2::5") == ("lab", "2001:db8:1:2::/64")


def test_a_mapped_address_is_the_ipv4_one() -> None:
    clients = table(school="10.1.0.0/16", six="::/0")
    assert found(clients, "::ffff:10.1.2.3") == ("school", "10.1.0.0/16")
    assert clients.find(ipaddress.ip_address("::ffff:10.1.2.3")).group == "school"


def test_a_mapped_network_is_the_ipv4_one() -> None:
    assert found(table(school="::ffff:10.1.0.0/112"), "10.1.2.3") == ("school", "10.1.0.0/16")
    assert parse_network("::ffff:0:0/96") == ipaddress.ip_network("0.0.0.0/0")
    assert parse_network("::/0") == ipaddress.ip_network("::/0")
    with pytest.raises(AmbiguousGroups):
        table(one="::ffff:10.1.0.0/112", two="10.1.0.0/16")


def test_a_zone_index_does_not_matter() -> None:
    clients = table(school="fe80::/10 @fe80::53")
    assert found(clients, "fe80::1%eth0") == ("school", "fe80::/10")
    assert found(table(wifi="@fe80::53"), "192.0.2.1", "fe80::53%eth1") == ("wifi", "asked fe80::53")


def test_the_address_that_was_asked_beats_every_network() -> None:
    clients = table(lab="10.1.2.3/32", guests="@192.0.2.53")
    assert found(clients, "10.1.2.3", "192.0.2.53") == ("guests", "asked 192.0.2.53")
    assert found(clients, "10.1.2.3", "::ffff:192.0.2.53") == ("guests", "asked 192.0.2.53")
    assert found(clients, "10.1.2.3", "192.0.2.54") == ("lab", "10.1.2.3/32")
    assert found(clients, "10.1.2.3") == ("lab", "10.1.2.3/32")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("2001:db8::/32", "2001:0db8:0::/32"),
        ("10.9.0.0/16 10.1.0.0/16", "10.8.0.0/16 10.1.0.0/16"),
        ("@192.0.2.53", "@192.0.2.53"),
        ("@192.0.2.53", "@::ffff:192.0.2.53"),
    ],
)
def test_two_groups_with_one_claim_are_refused_and_both_are_named(one: str, two: str) -> None:
    with pytest.raises(AmbiguousGroups, match=r"'first' and 'second'"):
        table(first=one, second=two)


def test_one_group_may_say_the_same_twice() -> None:
    assert found(table(school="10.1.0.0/16 10.1.0.0/16 @192.0.2.53 @192.0.2.53"), "10.1.0.1")[0] == "school"


networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda one: ipaddress.IPv4Network(one, strict=False)),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
        lambda one: ipaddress.IPv6Network(one, strict=False)
    ),
)


@given(st.lists(networks, max_size=8, unique=True), st.data())
def test_a_client_is_where_the_standard_library_would_put_it(
    claims: list[ipaddress.IPv4Network | ipaddress.IPv6Network], data: st.DataObject
) -> None:
    claims = [parse_network(str(one)) for one in claims]
    clients = ClientTable(support.group(f"g{at}", networks=(str(one),)) for at, one in enumerate(dict.fromkeys(claims)))
    near = st.sampled_from(claims).map(lambda one: one.network_address) if claims else st.nothing()
    client = parse_address(str(data.draw(st.one_of(st.ip_addresses(), near))))
    containing = [one for one in claims if client in one]
    longest = max(containing, key=lambda one: one.prefixlen, default=None)
    assert clients.find(client).by == ("" if longest is None else str(longest))
