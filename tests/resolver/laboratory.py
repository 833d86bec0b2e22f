"""An engine on the table: no socket, a clock that the test moves, and an upstream that answers when it is told to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message

from blocklists.snapshot import Snapshot, make_snapshot
from resolver.config import Endpoint, ResolverConfig
from resolver.engine.plain import Engine
from resolver.engine.seam import Output, Send
from resolver.log.querylog import Record, decode
from tests.resolver.messages import ask, read, reply
from tests.support import group, make_base, make_policy

STUDENT, STAFF, STRANGER = "10.1.0.7", "10.2.0.7", "10.99.0.7"
CONFIG = ResolverConfig(
    listen=(Endpoint("127.0.0.1", 5300),),
    upstreams=(Endpoint("127.0.0.1", 5301), Endpoint("127.0.0.1", 5302)),
    state=Path("unused"),
    cookie_seed=b"seed" * 8,
)
NOW = 1_800_000_000.0


def make_snapshot_of(**fields: Any) -> Snapshot:
    """Students (10.1/16) and staff (10.2/16) with the usual lists; `lists` and `services` go to the base."""
    lists = {"social-media": ["facebook.com", "fbcdn.net"], "adult": ["porn.example"], **fields.pop("lists", {})}
    base = make_base(lists, fields.pop("services", {}))
    students = group(networks=("10.1.0.0/16",))
    staff = group("north-staff", "north", audience=_staff(), networks=("10.2.0.0/16",), blocks=())
    policy = make_policy(base, **{"groups": (students, staff), **fields})
    return make_snapshot(policy, f"{policy.version:064x}", base)


def _staff() -> Any:
    from blocklists.policy import Audience

    return Audience.STAFF


class Laboratory:
    """See the module. `sent` holds every try that went upstream and was not answered yet."""

    def __init__(self, snapshot: Snapshot | None = None, *, empty: bool = False, **config: Any) -> None:
        self.engine = Engine(replace(CONFIG, **config))
        self.udp = self.engine.source("192.0.2.53")
        self.tcp = self.engine.source("192.0.2.53", "tcp")
        self.now = NOW
        self.sent: list[Send] = []
        self.late: list[bytes] = []
        self.log: list[Record] = []
        if not empty:
            self.engine.install(snapshot or make_snapshot_of())

    def _take(self, output: Output) -> list[bytes]:
        self.sent += output.sends
        self.late += [data for _, data, _ in output.late]
        self.log += decode(output.log)
        return [data for data, _ in output.replies]

    def feed(self, *queries: bytes, client: str = STUDENT, tcp: bool = False, port: int = 4000) -> list[bytes]:
        """Put queries in; return the replies that come at once."""
        source = self.tcp if tcp else self.udp
        return self._take(self.engine.step([(query, (client, port)) for query in queries], self.now, source))

    def ask(
        self, name: str, qtype: str = "A", *, client: str = STUDENT, tcp: bool = False, **options: Any
    ) -> dns.message.Message | None:
        """Ask one question; None when it waits for upstream."""
        found = self.feed(ask(name, qtype, **options), client=client, tcp=tcp)
        return read(found[0]) if found else None

    def raw_upstream(self, data: bytes, serial: int) -> None:
        self._take(self.engine.upstream([(serial, data)], self.now))

    def feed_upstream(self, data: bytes) -> None:
        """Give `data` as the answer to whatever was sent last, if anything waits."""
        if self.sent:
            self.raw_upstream(data, self.sent.pop()[0])

    def answer(self, *records: str, **parts: Any) -> dns.message.Message:
        """Let upstream answer the oldest try; return what the first waiting client gets."""
        serial, _, message, _ = self.sent.pop(0)
        self.late.clear()
        self.raw_upstream(reply(message, *records, **parts), serial)
        return read(self.late[0])

    def resolve(self, name: str, *records: str, client: str = STUDENT, **parts: Any) -> dns.message.Message:
        """Ask and let upstream answer."""
        assert self.ask(name, client=client) is None
        return self.answer(*records, **parts)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self._take(self.engine.tick(self.now))
