"""The plain-Python engine: the reference for the hot path. Datagrams in, replies and sends out.

Owns no socket and no clock; `now` is in seconds since 1970. A question goes through, in this order:

1. the first level: the exact bytes after the id, per client group -> the reply's bytes (the loop of `step`);
2. the bounded reader, then the message table from class and type on: client, RD, policy (`_refusal`);
3. the judge: finished answers by canonical key, the verdict, the cache (`judge.py`);
4. upstream, one question per key (`forwarding.py`, `asking.py`); what comes back through `upstream` is judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from blocklists.snapshot import Snapshot
from resolver.config import ResolverConfig
from resolver.engine.askers import Askers, Client
from resolver.engine.asking import Asking
from resolver.engine.forwarding import Forwarding
from resolver.engine.judge import Judge
from resolver.engine.memo import put_cookie, remember
from resolver.engine.replying import Replying
from resolver.engine.seam import Arrival, Counters, Datagram, Output, Peer, Source
from resolver.log import querylog
from resolver.message import answers, wire
from resolver.message.answers import Answer
from resolver.message.cookies import CLIENT
from resolver.message.wire import Query, WireError
from resolver.upstreams.routes import Routes

_META = frozenset({wire.OPT, wire.TSIG, wire.TKEY})
_TRANSFERS = frozenset({wire.AXFR, wire.IXFR})


class Engine:
    """See the module. One per worker; nothing in it is shared."""

    name = "plain"

    def __init__(self, config: ResolverConfig) -> None:
        self._config = config
        self._counters = Counters()
        routes = Routes(config)
        self._judge = Judge(config, routes, self._counters)
        self._asking = Asking(len(routes.servers), config.upstream_timeout, config.upstream_tries, config.max_inflight)
        self._askers = Askers(config, self._judge, self._counters)
        self._replying = Replying(config, self._askers, self._counters)
        self._forwarding = Forwarding(
            config, routes, self._asking, self._judge, self._askers, self._replying, self._counters
        )
        self._sources: list[Source] = []
        self._now = 0.0
        self._version = 0

    @property
    def counters(self) -> Counters:
        """The counts until now."""
        self._counters.inflight = self._asking.waiting
        self._counters.upstream_sent = self._asking.sent
        self._counters.cache_entries, self._counters.cache_bytes, self._counters.memo_entries = self._judge.sizes()
        return self._counters

    @property
    def snapshot(self) -> Snapshot | None:
        """What is served by."""
        return self._judge.snapshot

    def source(self, asked: str | None, transport: str = "udp") -> Source:
        """Return a new source of questions: a socket bound to `asked`, or (None) to every address."""
        made = Source(asked, transport)
        self._sources.append(made)
        return made

    def install(self, snapshot: Snapshot) -> None:
        """Serve by `snapshot` from now on. Verdicts and finished answers go; the cache of upstream answers stays."""
        self._judge.install(snapshot)
        self._version = snapshot.version
        self._forget_clients()

    def flush(self, name: bytes, subtree: bool) -> int:
        """Forget the answers for the lower-cased wire `name` (and all below it); return how many the cache held."""
        self._judge.start_over()
        self._forget_clients()
        return self._judge.cache.flush(name, subtree)

    def _forget_clients(self) -> None:
        for source in self._sources:
            source.clients = {}

    def _move_clock(self, now: float) -> None:
        if now < self._now - 1.0:  # set back: nothing may live longer than it was told
            self._judge.cache.clear()
            self._judge.start_over()
            self._forget_clients()
            self._asking.clock_set_back(now)
        self._now = now

    def step(self, datagrams: list[Datagram], now: float, source: Source) -> Output:
        """Answer a batch from one source: what can be answered now is in `replies`, for the same source."""
        self._move_clock(now)
        output = Output()
        replies = output.replies
        clients = source.clients
        halves: list[bytes] = []
        hits = blocked = 0
        self._counters.queries += len(datagrams)
        if not source.stream:
            datagrams = self._askers.curbed(datagrams, source, now, replies)
        for data, peer in datagrams:
            client = clients.get(peer[0])
            if client is not None:
                fast = client.fast.get(data[2:])
                if fast is not None and (now < fast.until or fast.renewed(now)):
                    fast.hits += 1
                    hits += 1
                    blocked += fast.blocked
                    replies.append((data[:2] + fast.tail, peer))
                    halves.append(client.prefix)
                    halves.append(fast.record)
                    continue
            tail = self._ask(data, peer, source, now, halves, output)
            if tail is not None:
                replies.append((data[:2] + tail, peer))
        counters = self._counters
        if source.stream:
            setattr(counters, source.transport, getattr(counters, source.transport) + len(datagrams))
        counters.memo_hits += hits
        counters.blocked += blocked
        counters.allowed += hits - blocked
        self._close(output, halves, now)
        return output

    def _close(self, output: Output, halves: list[bytes], now: float) -> None:
        if halves and self._config.query_log:
            output.log = querylog.block(halves, now, self._version)

    def _ask(
        self, data: bytes, peer: Peer, source: Source, now: float, halves: list[bytes], output: Output
    ) -> bytes | None:
        """Return what follows the id in the reply, or None when there is none (yet)."""
        counters = self._counters
        if peer[1] == 0:  # source port 0: nobody can be there
            counters.dropped += 1
            return None
        client = source.clients.get(peer[0])
        if client is not None and not source.stream:
            tail = self._with_cookie(data, client, now, halves)
            if tail is not None:
                return tail
        try:
            query = wire.read_query(data)
        except WireError as error:
            if error.rcode is None:
                counters.dropped += 1
                return None
            counters.formerr += 1
            return wire.error_tail(data, error, self._config.udp_size)
        if client is None:
            client = self._askers.find(source, peer[0])
        if client.asks_for and query.subnet:
            try:
                host = wire.subnet_address(query.subnet)
            except WireError:
                counters.formerr += 1
                return self._replying.failed(query, answers.failure(wire.FORMERR), source, client, now)
            if host is not None:
                query.who = (host, peer[0][1] if isinstance(peer[0], tuple) else source.asked)
                client = source.clients.get(query.who) or self._askers.find(source, query.who)
        refusal = self._refusal(query, client)
        if refusal is not None:
            return self._replying.failed(query, refusal, source, client, now)
        view = client.view
        assert view is not None
        finished = self._judge.remembered(query, view, now)
        if isinstance(finished, Query):
            return self._forwarding.wait(query, finished, data[:2], source, peer, client, now, now, halves, output)
        if finished.hits > 1 and finished.ageing(now) and self._judge.cache.get(query.key, now) is finished.answer:
            self._forwarding.refresh(query, now, output)
        body, until = finished.body(now)
        tail = self._replying.assembled(query, finished.answer, body, source, client, now)
        if finished.hits and query.plain and not source.stream and until > now:
            remember(query, finished, view, data[2:], body, until, self._config.udp_size)
        self._replying.note(finished, client, halves)
        return tail

    def _with_cookie(self, data: bytes, client: Client, now: float, halves: list[bytes]) -> bytes | None:
        """The first level for a query whose bytes differ from others' in nothing but a cookie."""
        rest = wire.without_cookie(data[2:])
        if rest is None:
            return None
        fast = client.fast.get(rest)
        if fast is None or not fast.opt or not (now < fast.until or fast.renewed(now)):
            return None
        fast.hits += 1
        counters = self._counters
        counters.memo_hits += 1
        counters.blocked += fast.blocked
        counters.allowed += 1 - fast.blocked
        halves.append(client.prefix)
        halves.append(fast.record)
        return put_cookie(fast, self._askers.cookie(data[len(rest) + 6 :], client, now))

    def _refusal(self, query: Query, client: Client) -> Answer | None:
        """The message table from class and type on: the answer to a question that is not looked at, else None."""
        counters = self._counters
        if not query.question and client.allowed:
            given = query.cookie
            wrong = len(given) > CLIENT and not self._askers.returned(given, client, self._now)
            return answers.failure(wire.BADCOOKIE if wrong else 0)
        if query.qtype in _META:
            counters.formerr += 1
            return answers.failure(wire.FORMERR)
        if query.qclass != wire.IN or query.qtype in _TRANSFERS:
            counters.refused += 1
            return answers.failure(wire.REFUSED)
        if not client.allowed:
            counters.refused += 1
            return answers.failure(wire.REFUSED, answers.EDE_PROHIBITED)
        if not query.flags & wire.RD:
            counters.refused += 1
            return answers.failure(wire.REFUSED, answers.EDE_NOT_RECURSIVE)
        if client.view is None:
            counters.servfail += 1
            return answers.failure(wire.SERVFAIL, answers.EDE_NOT_READY)
        return None

    def upstream(self, arrivals: list[Arrival], now: float) -> Output:
        """Take what came from upstream, matched by socket, id and question; the replies are in `late`."""
        self._move_clock(now)
        output = Output()
        halves: list[bytes] = []
        self._forwarding.arrived(arrivals, now, halves, output)
        self._close(output, halves, now)
        return output

    def unreachable(self, serials: Iterable[int], now: float) -> Output:
        """Take the hint that these tries cannot be answered (ECONNREFUSED and the like)."""
        output = Output()
        halves: list[bytes] = []
        self._forwarding.unreachable(serials, now, halves, output)
        self._close(output, halves, now)
        return output

    def tick(self, now: float) -> Output:
        """Ask again, or give up, where a try has had its time."""
        self._move_clock(now)
        output = Output()
        halves: list[bytes] = []
        self._forwarding.tick(now, halves, output)
        self._close(output, halves, now)
        return output

    def trouble(self, server: int, why: str) -> None:
        """Note what is wrong with an upstream, in words, by who owns its sockets; empty: nothing any more."""
        self._forwarding.trouble(server, why)

    def upstreams(self, now: float) -> list[tuple[str, int, str]]:
        """Return how each upstream is (`answers`, `silent`, `loops`, `not asked yet`), its round trip in milliseconds,
        and what is wrong with it."""
        return self._forwarding.states(now)

    def next_deadline(self) -> float | None:
        """Return when `tick` may have something to do, seconds since 1970."""
        return self._asking.next_deadline()
