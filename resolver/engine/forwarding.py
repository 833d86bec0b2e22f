"""What must be asked upstream: who waits for it, what came back, when to ask again and when to give up. Pure.

The replies to those who waited are in the output's `late`; `halves` gets their query-log records.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from blocklists.policy import Action, Reason, ReasonKind, Verdict
from resolver.chance import Chance
from resolver.config import ResolverConfig, SecureEndpoint
from resolver.engine.askers import Askers, Client
from resolver.engine.asking import Asking, Question, Waiter, random_case
from resolver.engine.judge import Judge
from resolver.engine.loops import Loops
from resolver.engine.replying import Replying
from resolver.engine.seam import Arrival, Counters, Output, Peer, Source
from resolver.log import querylog
from resolver.message import answers, wire
from resolver.message.answers import Answer
from resolver.message.reply import read_reply
from resolver.message.wire import Query, WireError
from resolver.upstreams.routes import Routes

_UNDECIDED = Verdict(Action.ALLOW, Reason(ReasonKind.DEFAULT))


class Forwarding:
    """See the module. The engine's other half: `plain.py` answers what is at hand."""

    __slots__ = (
        "_askers",
        "_asking",
        "_chance",
        "_config",
        "_counters",
        "_judge",
        "_loops",
        "_replying",
        "_routes",
        "_troubles",
        "_trusted",
        "_zones",
    )

    def __init__(
        self,
        config: ResolverConfig,
        routes: Routes,
        asking: Asking,
        judge: Judge,
        askers: Askers,
        replying: Replying,
        counters: Counters,
    ) -> None:
        self._config = config
        self._routes = routes
        self._trusted = tuple(
            isinstance(one, SecureEndpoint) or ipaddress.ip_address(one.address).is_loopback for one in routes.servers
        )
        self._loops = Loops(config.cookie_seed)
        self._zones = [b""] * len(routes.servers)  # where each upstream is asked whether it leads back to us
        for route in reversed(routes.all()):
            for server in route.servers:
                self._zones[server] = route.zone
        self._troubles = [""] * len(routes.servers)  # what those who own the sockets say
        self._asking = asking
        self._chance = Chance()
        self._judge = judge
        self._askers = askers
        self._replying = replying
        self._counters = counters

    def _question(self, query: Query) -> Question:
        asked = random_case(query.name, self._chance.draw()) + query.question[-4:]
        message = wire.upstream_query(asked, query.do, bool(query.flags & wire.CD), self._config.udp_size)
        servers = self._routes.find(query.name).servers
        if self._asking.looping:
            servers = tuple(at for at in servers if at not in self._asking.looping)
        return Question(query.key, query.name, query.qtype, query.do, message, servers)

    def trouble(self, server: int, why: str) -> None:
        """Note what is wrong with an upstream; empty: nothing any more."""
        self._troubles[server] = why

    def states(self, now: float) -> list[tuple[str, int, str]]:
        """Return how each upstream is, its round trip in milliseconds, and what is wrong with it."""
        found: list[tuple[str, int, str]] = []
        for server, trouble in enumerate(self._troubles):
            state, took = self._asking.state(server, now)
            found.append((state, max(round(took * 1000), 1) if took else 0, trouble))
        return found

    def _why(self, name: bytes) -> str:
        """What is wrong with the upstreams of `name`, for the extended error's text; empty when it is not known."""
        for server in self._routes.find(name).servers:
            endpoint = self._routes.servers[server]
            title = endpoint.host if isinstance(endpoint, SecureEndpoint) else endpoint.address
            if server in self._asking.looping:
                return f"{title}: it leads back to this resolver"
            if self._troubles[server]:
                return f"{title}: {self._troubles[server]}"
        return ""

    def refresh(self, query: Query, now: float, output: Output) -> None:
        """Ask for what is known and soon over, so that nobody waits for it."""
        send = self._asking.refresh(self._question(query), now)
        if send is not None:
            self._counters.prefetched += 1
            output.sends.append(send)

    def wait(
        self,
        query: Query,
        wanted: Query,
        number: bytes,
        source: Source,
        peer: Peer,
        client: Client,
        now: float,
        since: float,
        halves: list[bytes],
        output: Output,
    ) -> bytes | None:
        """Let the asker, who asked at `since`, wait for `wanted` from upstream; the tail of a SERVFAIL when it
        cannot."""
        if wanted.qtype == wire.TXT and (server := self._loops.server(wanted.name, now)) is not None:
            if server < len(self._troubles):
                self._asking.loops(server, True)
            answer = self._loops.came_back(wanted)
            return self._replying.assembled(query, answer, answer.body, source, client, now)
        waiter: Waiter = (query, number, source, peer, since)
        key = wanted.key
        joined = self._asking.join(key, waiter)
        if joined:
            self._counters.coalesced += 1
            return None
        if joined is None:
            question = self._question(wanted)
            sends = self._asking.start(question, waiter, now)
            if sends:
                output.sends += sends
                return None
            if self._asking.looping and client.view is not None:
                answer = self._judge.learn_failure(key, answers.EDE_NO_AUTHORITY, now, self._why(wanted.name))
                finished = self._judge.told(query, wanted.name, answer, client.view, now)
                if not isinstance(finished, Query):
                    body, _ = finished.body(now)
                    self._replying.note(finished, client, halves)
                    return self._replying.assembled(query, finished.answer, body, source, client, now)
        self._counters.full += 1
        self._counters.servfail += 1
        halves.append(client.prefix)
        halves.append(querylog.tail_half(query.name, query.qtype, wire.SERVFAIL, _UNDECIDED))
        return self._replying.failed(query, answers.failure(wire.SERVFAIL, answers.EDE_NETWORK), source, client, now)

    def arrived(self, arrivals: list[Arrival], now: float, halves: list[bytes], output: Output) -> None:
        """Take what came from upstream, matched by socket, id and question."""
        for serial, data in arrivals:
            one = self._asking.of(serial)
            if one is None:
                useful = len(data) >= wire.HEAD and data[3] & 15 in (0, wire.NXDOMAIN)
                if not self._asking.answered_late(serial, useful, now):
                    self._counters.stray += 1
                continue
            question, server, sent = one
            self._asking.answered(server, sent, now)
            if question.probe:
                self._asking.finish(question)
                self._asking.loops(server, self._loops.says_so(question.name, data))
                continue
            end = wire.HEAD + len(question.name)
            try:
                reply = read_reply(data, question.name, question.qtype, question.do)
            except WireError:
                self._asking.failed(server, now)
                if question.serial == serial:
                    question.error = True
                    self._try_again(question, server, now, halves, output, blame=False)
                continue
            bad = reply.lame or reply.rcode not in (0, wire.NXDOMAIN)
            if (bad or reply.truncated) and question.serial != serial:
                continue  # another try runs already
            if reply.rcode in (wire.FORMERR, wire.NOTIMP) and not reply.truncated:
                send = self._asking.without_edns(question, server, now)
                if send is not None:
                    output.sends.append(send)
                    continue
            if reply.truncated or data[wire.HEAD : end] != question.message[wire.HEAD : end]:
                # Too long, or not in the case we chose: a forger's, or an old server's. TCP settles both.
                self._try_again(question, server, now, halves, output, stream=True)
            elif bad:
                question.error = True
                self._try_again(question, server, now, halves, output, blame=reply.rcode != wire.SERVFAIL)
            else:
                self._asking.worked(question, server, now)
                reply.ad = reply.ad and self._trusted[server]
                answer = self._judge.learn(question.key, question.name, reply, now)
                self._tell(question, answer, now, halves, output)

    def unreachable(self, serials: Iterable[int], now: float, halves: list[bytes], output: Output) -> None:
        """Take the hint that these tries cannot be answered (ECONNREFUSED and the like). Another upstream is asked at
        once; with none, the try keeps its time, since anybody can forge the hint, and only the upstream's health
        suffers."""
        for serial in serials:
            one = self._asking.of(serial)
            if one is None:
                continue
            question, server, _ = one
            if question.serial != serial:
                self._asking.failed(server, now)
            elif len(question.servers) > 1:
                self._try_again(question, server, now, halves, output)
            else:
                self._asking.failed(server, now)

    def tick(self, now: float, halves: list[bytes], output: Output) -> None:
        """Ask again, or give up, where a try has had its time."""
        if self._config.loop_check:
            for server in self._asking.due_for_probe(self._config.loop_check, now):
                self._probe(server, now, output)
        for question, server, sent in self._asking.expired(now):
            self._asking.silent(server, sent, now)
            self._try_again(question, server, now, halves, output, blame=False)

    def _probe(self, server: int, now: float, output: Output) -> None:
        """Ask an upstream what comes back to us when it leads here; unvalidated, since nobody has signed our answer."""
        name = self._loops.name(server, self._zones[server], now)
        if name is not None:
            asked = name + wire.TXT.to_bytes(2, "big") + b"\0\1"
            message = wire.upstream_query(
                random_case(name, self._chance.draw()) + asked[-4:], False, True, self._config.udp_size
            )
            question = Question(asked + bytes((wire.CD_FLAG,)), name, wire.TXT, False, message, (server,))
            output.sends.append(self._asking.probe(question, now))

    def _try_again(
        self,
        question: Question,
        server: int,
        now: float,
        halves: list[bytes],
        output: Output,
        *,
        stream: bool = False,
        blame: bool = True,
    ) -> None:
        """Ask once more, or give up. `blame`: the upstream's health suffers; a SERVFAIL may be the zone's own."""
        if question.probe:
            self._asking.finish(question)
            return
        if not stream:
            self._counters.upstream_failed += 1
            if blame:
                self._asking.failed(server, now)
        send = self._asking.again(question, server, now, stream=stream)
        if send is not None:
            output.sends.append(send)
            return
        if not question.waiters:  # asked ahead of time: what is known stays good until its end
            self._asking.finish(question)
            return
        code = answers.EDE_NETWORK if question.error else answers.EDE_NO_AUTHORITY
        self._tell(
            question, self._judge.learn_failure(question.key, code, now, self._why(question.name)), now, halves, output
        )

    def _tell(self, question: Question, answer: Answer, now: float, halves: list[bytes], output: Output) -> None:
        """Give `answer` to all who wait for it, each by the policy that is in force for it now."""
        for query, number, source, peer, asked_at in self._asking.finish(question):
            who = query.who or peer[0]
            client = source.clients.get(who) or self._askers.find(source, who)
            if client.view is None:
                continue
            finished = self._judge.told(query, question.name, answer, client.view, now, now - asked_at)
            if isinstance(finished, Query):  # another name answers in its place
                tail = self.wait(query, finished, number, source, peer, client, now, asked_at, halves, output)
                if tail is not None:
                    output.late.append((source, number + tail, peer))
                continue
            body, _ = finished.body(now)
            tail = self._replying.assembled(query, finished.answer, body, source, client, now)
            output.late.append((source, number + tail, peer))
            self._replying.note(finished, client, halves)
