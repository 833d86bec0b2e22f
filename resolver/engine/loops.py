"""Upstreams that lead back to us: a question that only this node can have made, and that comes back to it. Pure.

DNS messages carry no trace of their way, so a loop of forwarders shows as silence only. Now and then each upstream is
asked a name that holds a random number, the time, its own number and a seal by the secret that all workers of a node
share. Whoever of them is asked for such a name knows whose question came back, and says so in the answer, which makes
its way to the one who asked. The name lies below in-addr.arpa (or the upstream's own forwarded zone), where nobody has
such names: names of special use would be answered on the way and hide the loop (RFC 6761).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from resolver.message import records, wire
from resolver.message.answers import Answer, failure
from resolver.message.wire import Query

FRESH = 60.0  # seconds for which such a name means something: heard by others, it is of no use later
ORDINARY = b"\x07in-addr\x04arpa\0"
_MARK = b"sg"
_SEAL = 12  # octets
_LABEL = len(_MARK) + 2 * (10 + _SEAL)


class Loops:
    """Makes and knows the names of one node."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """`secret`: shared by the workers of a node, at most 64 octets count."""
        self._secret = secret[:64]

    def _sealed(self, data: bytes, purpose: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=_SEAL, key=self._secret, person=purpose).digest()

    def name(self, server: int, zone: bytes, now: float) -> bytes | None:
        """Return the wire name to ask upstream number `server`, below `zone` (empty: the ordinary one); None when that
        leaves no room."""
        zone = zone or ORDINARY
        if len(zone) + 1 + _LABEL > wire.MAX_NAME:
            return None
        data = (int(now) & 0xFFFFFFFF).to_bytes(4, "big") + secrets.token_bytes(4) + server.to_bytes(2, "big")
        label = _MARK + (data + self._sealed(data, b"sg-loop")).hex().encode()
        return bytes((len(label),)) + label + zone

    def server(self, name: bytes, now: float) -> int | None:
        """Return the number of the upstream that the lower-cased wire `name` was made for, None when it is none of
        ours, or an old one."""
        if name[0] != _LABEL or not name.startswith(_MARK, 1):
            return None
        try:
            data = bytes.fromhex(name[1 + len(_MARK) : 1 + _LABEL].decode("ascii"))
        except ValueError:
            return None
        data, seal = data[:10], data[10:]
        if len(seal) != _SEAL or not hmac.compare_digest(seal, self._sealed(data, b"sg-loop")):
            return None
        return int.from_bytes(data[8:], "big") if abs(now - int.from_bytes(data[:4], "big")) <= FRESH else None

    def _proof(self, name: bytes) -> bytes:
        return self._sealed(name, b"sg-came-back").hex().encode()

    def came_back(self, query: Query) -> Answer:
        """Return the answer to one of our own names: it tells whoever asked that it came back."""
        proof = self._proof(query.name)
        record = records.Record(query.name, wire.TXT, 0, bytes((len(proof),)) + proof)
        body, ttls = records.written([record], query.name)
        answer = failure(0)
        answer.answers, answer.body, answer.ttls = 1, body, ttls
        return answer

    def says_so(self, name: bytes, reply: bytes) -> bool:
        """True when `reply`, to the question for one of our names, is what `came_back` gave."""
        return self._proof(name) in reply
