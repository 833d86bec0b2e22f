"""PROXY protocol, version 2: who asked a forwarder that asks us. Bytes in, addresses out; bounded.

https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt §2.2. Only version 2, which cannot be mistaken for DNS; a
forwarder that is configured to send it must always send it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEAD = 16  # octets: signature, version and command, family and protocol, length
LONGEST = 1_024  # octets behind the head: addresses and whatever else a forwarder says

_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x1: (socket.AF_INET, struct.Struct("!4s4sHH")), 0x2: (socket.AF_INET6, struct.Struct("!16s16sHH"))}


class BadProxy(ValueError):
    """Bytes that are no PROXY header of version 2, or one that cannot be used."""


@dataclass(frozen=True, slots=True)
class Proxied:
    """`length`: octets of the whole header. `client` and `asked` are addresses; None: the sender speaks for itself."""

    length: int
    client: str | None
    asked: str | None


def read_proxy(data: bytes) -> Proxied | None:
    """Return what the header at the start of `data` says; None when it is not whole yet. Raises `BadProxy`."""
    if data[:12] != SIGNATURE[: len(data)]:
        raise BadProxy("no PROXY header")
    if len(data) < HEAD:
        return None
    command, family = data[12], data[13]
    size = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or size > LONGEST:
        raise BadProxy("another version, an unknown command, or too long")
    if len(data) < HEAD + size:
        return None
    if command == _LOCAL:
        return Proxied(HEAD + size, None, None)
    known = _FAMILIES.get(family >> 4)
    if known is None or family & 15 not in (1, 2) or size < known[1].size:
        raise BadProxy("a family or protocol that carries no DNS, or addresses that end early")
    kind, layout = known
    client, asked, _, _ = layout.unpack_from(data, HEAD)
    return Proxied(HEAD + size, socket.inet_ntop(kind, client), socket.inet_ntop(kind, asked))
