"""Which addresses a public name has no business with: DNS rebinding (a page's script reaching the devices around it).

RFC 1918, RFC 4193, RFC 6598, loopback, link-local and unspecified addresses; IPv4 addresses inside IPv6 ones too.
"""

from __future__ import annotations

import ipaddress

_V4 = {  # by the first octet: network and mask
    int(network.network_address) >> 24: (int(network.network_address), int(network.netmask))
    for network in map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
        ),
    )
}
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96
_TRANSLATED = b"\x00\x64\xff\x9b" + bytes(8)  # 64:ff9b::/96, RFC 6052


def is_private(address: bytes) -> bool:
    """True when these 4 or 16 octets are an address of a private or local network."""
    if len(address) == 4:
        found = _V4.get(address[0])
        return found is not None and int.from_bytes(address, "big") & found[1] == found[0]
    if address[:12] in (_MAPPED, _TRANSLATED, bytes(12)):
        return (address[:12] == bytes(12) and address[12:14] == b"\0\0") or is_private(address[12:])
    if address[:2] == b"\x20\x02":  # 6to4, RFC 3056
        return is_private(address[2:6])
    first = address[0] << 8 | address[1]
    return first & 0xFE00 == 0xFC00 or first & 0xFFC0 in (0xFE80, 0xFEC0)
