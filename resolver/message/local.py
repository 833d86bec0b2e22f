"""The district's own records, from the settings: what a name holds, known before cache and upstream.

Says what is answered, never whether: the verdict on the name comes first, and where a CNAME leads is judged as for any
other answer. A name that has a record has no other types (NODATA, RFC 2308 §2.2); names below it are not touched. The
AA flag stays clear: this is a resolver that knows, not the zone's server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from blocklists import names
from blocklists.policy import FOREVER, Policy
from resolver.config import LocalRecord
from resolver.message import answers, records, wire
from resolver.message.answers import Answer
from resolver.message.records import Record
from resolver.message.reply import MAX_CHAIN
from resolver.message.wire import Query

MAX_BODY = 16_384  # octets of one answer: no pointer is needed beyond, and every client can take it over TCP
_BINDINGS = (wire.SVCB, wire.HTTPS)
_ROOT = b"\0"


class BadRecords(ValueError):
    """Records that cannot stand together; the message names them."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A chain of our own CNAMEs that leaves our records: to `target`, which somebody else knows."""

    chain: tuple[Record, ...]

    @property
    def target(self) -> bytes:
        """The wire name that must be asked for."""
        return self.chain[-1].rdata

    def joined(self, name: bytes, answer: Answer, now: float) -> Answer:
        """Return the answer to the question for `name`, given that for the target: the chain's own times to live start
        at `now`, and the whole is good for no longer than they are."""
        if answer.rcode not in (0, wire.NXDOMAIN):
            return answer
        age = 0 if answer.stored == FOREVER else int(now - answer.stored)
        chain = [replace(one, ttl=one.ttl + age) for one in self.chain]
        body, ttls = records.written([*chain, *records.of(answer, self.target)], name)
        targets = tuple(dict.fromkeys((*(one.rdata for one in self.chain), *answer.targets)))
        return replace(
            answer,
            answers=answer.answers + len(self.chain),
            body=body,
            ttls=ttls,
            targets=targets,
            aliases=answer.aliases + len(targets) - len(answer.targets),
            ad=False,
            expires=min(answer.expires, now + min(one.ttl for one in self.chain)),
        )


class LocalRecords:
    """Every record by name and type. Never changed: other settings are another worker's."""

    __slots__ = ("_led", "_sets")

    def __init__(self, found: Iterable[LocalRecord]) -> None:
        """Raises `BadRecords` for a CNAME beside other records, and for a chain that comes back or is too long."""
        self._sets: dict[bytes, dict[int, list[Record]]] = {}
        for one in dict.fromkeys(found):
            of_name = self._sets.setdefault(one.name, {})
            of_name.setdefault(one.rtype, []).append(Record(one.name, one.rtype, one.ttl, one.rdata))
        for name, of_name in self._sets.items():
            self._check(name, of_name)
        leading: dict[bytes, list[bytes]] = {}
        for name in self._sets:
            chain, last = self._chain(name, wire.A)
            if chain and last not in self._sets:
                leading.setdefault(last, []).append(name)
        self._led = {target: tuple(found) for target, found in leading.items()}

    def _check(self, name: bytes, of_name: dict[int, list[Record]]) -> None:
        text = names.from_wire(name)
        if wire.CNAME in of_name and (len(of_name) > 1 or len(of_name[wire.CNAME]) > 1):
            raise BadRecords(f"{text} has a CNAME and another record: a CNAME stands alone (RFC 2181 §10.1)")
        for found in of_name.values():
            if len({one.ttl for one in found}) > 1:
                raise BadRecords(f"{text} has records of one type with different times to live (RFC 2181 §5.2)")
            if sum(len(one.owner) + 10 + len(one.rdata) for one in found) > MAX_BODY:
                raise BadRecords(f"{text} has more records of one type than an answer can hold")
        chain, _ = self._chain(name, wire.A)
        if len(chain) > MAX_CHAIN:
            raise BadRecords(f"the CNAMEs from {text} come back to themselves, or are more than {MAX_CHAIN}")

    def _chain(self, name: bytes, qtype: int) -> tuple[list[Record], bytes]:
        """The CNAMEs to follow from `name` for another type than CNAME, and the name that they lead to."""
        chain: list[Record] = []
        while len(chain) <= MAX_CHAIN and qtype != wire.CNAME:
            found = self._sets.get(name, {}).get(wire.CNAME)
            if found is None:
                break
            chain.append(found[0])
            name = found[0].rdata
        return chain, name

    def holds(self, name: bytes) -> bool:
        """True when all that the wire `name` is answered with is ours: nobody else's answer is put behind it."""
        return name in self._sets and self._chain(name, wire.A)[1] in self._sets

    def find(self, query: Query, policy: Policy) -> Answer | Alias | None:
        """Return the answer to `query`, or what leads to it; None when its name is not one of ours."""
        if query.name not in self._sets:
            return None
        chain, last = self._chain(query.name, query.qtype)
        if last not in self._sets:
            return Alias(tuple(chain))
        found = self._sets[last].get(query.qtype, [])
        authority = [] if found else [Record(last, wire.SOA, answers.BLOCK_TTL, answers.soa(policy))]
        body, ttls = records.written([*chain, *found, *authority], query.name)
        targets = dict.fromkeys([one.rdata for one in chain])
        aliases = len(targets)
        targets.update(dict.fromkeys(_led_to(found)))
        return Answer(
            0,
            len(chain) + len(found),
            len(authority),
            body,
            ttls,
            tuple(targets),
            False,
            FOREVER,
            FOREVER,
            aliases=aliases,
        )

    def leading_to(self, target: bytes) -> tuple[bytes, ...]:
        """Return the names of ours whose CNAMEs leave our records for the wire name `target`."""
        return self._led.get(target, ())

    def alias(self, name: bytes) -> Alias:
        """Return the chain from `name`, one of those that `leading_to` gave."""
        return Alias(tuple(self._chain(name, wire.A)[0]))

    def lines(self, name: bytes) -> list[tuple[int, bytes]]:
        """Return type and data of the records that stand at `name` itself."""
        return [(one.rtype, one.rdata) for found in self._sets.get(name, {}).values() for one in found]


def _led_to(found: Iterable[Record]) -> Iterable[bytes]:
    """The names that records lead to, beside CNAMEs before them: their own targets, and those of service bindings."""
    for one in found:
        if one.rtype == wire.CNAME:
            yield one.rdata
        elif one.rtype in _BINDINGS:
            target, _ = wire.read_name(one.rdata, 2)
            if target != _ROOT:
                yield target.lower()
