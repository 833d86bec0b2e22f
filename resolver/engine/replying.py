"""The reply as one client gets it, and what is written down about it. Pure; `now` comes in."""

from __future__ import annotations

from resolver.config import ResolverConfig
from resolver.engine.askers import Askers, Client
from resolver.engine.memo import Finished
from resolver.engine.seam import Counters, Source
from resolver.message import answers, wire
from resolver.message.answers import Answer
from resolver.message.wire import Query


class Replying:
    """Puts an answer behind a client's own header and question, in the size that it can take, with its options."""

    __slots__ = ("_askers", "_config", "_counters")

    def __init__(self, config: ResolverConfig, askers: Askers, counters: Counters) -> None:
        self._config = config
        self._askers = askers
        self._counters = counters

    def assembled(self, query: Query, answer: Answer, body: bytes, source: Source, client: Client, now: float) -> bytes:
        """Return what follows the id in the reply; `body` is the answer's as it is at `now`."""
        size = self._config.udp_size
        limit = 0xFFFF if source.stream else min(query.size, size)
        options = b""
        if query.cookie:
            options = wire.option(wire.COOKIE, self._askers.cookie(query.cookie, client, now))
        if query.keepalive and source.stream:
            options += wire.option(wire.KEEPALIVE, int(self._config.tcp_idle * 10).to_bytes(2, "big"))
        block = answers.PADDED_TO if query.padded and source.secret else 1
        return answers.assemble(query, answer, body, limit, size, options, block)

    def failed(self, query: Query, answer: Answer, source: Source, client: Client, now: float) -> bytes:
        """Return what follows the id in a reply without records."""
        return self.assembled(query, answer, b"", source, client, now)

    def note(self, finished: Finished, client: Client, halves: list[bytes]) -> None:
        """Count a finished answer that is given, and write it into the query log."""
        counters = self._counters
        counters.blocked += finished.blocked
        counters.allowed += 1 - finished.blocked
        if finished.answer.rcode == wire.SERVFAIL:
            counters.servfail += 1
        halves.append(client.prefix)
        halves.append(finished.record)
