"""What may be answered to a question under one effective policy: the memo, the verdict, the cache, in this order.

Pure: `now` comes in, nothing is sent. A question that none of them answers must be asked upstream; what comes back is
put in with `learn` and judged like everything else.
"""

from __future__ import annotations

from blocklists import names, returned
from blocklists.policy import Policy, Verdict
from blocklists.returned import OURS
from blocklists.snapshot import Snapshot
from resolver.config import ResolverConfig
from resolver.engine.memo import NO_CAP, Finished, Memo, View
from resolver.engine.seam import Counters
from resolver.log import querylog
from resolver.message import answers, bindings, rewriting, wire
from resolver.message.answers import Answer
from resolver.message.designated import Designated
from resolver.message.local import LocalRecords
from resolver.message.reply import Reply
from resolver.message.wire import Query
from resolver.upstreams.cache import Cache
from resolver.upstreams.routes import Routes


class Judge:
    """Finished answers by question and view. The cache outlives an install; memo and views do not."""

    __slots__ = (
        "_config",
        "_counters",
        "_designated",
        "_local",
        "_memo",
        "_policy",
        "_routes",
        "_views",
        "cache",
        "snapshot",
    )

    def __init__(self, config: ResolverConfig, routes: Routes, counters: Counters) -> None:
        self._config = config
        self._counters = counters
        self._designated = Designated(config)
        self._routes = routes
        self._memo = Memo(config.memo_entries)
        self._views: dict[int, View] = {}
        self._policy: Policy | None = None
        self._local = LocalRecords(config.local) if config.local else None
        self.cache = Cache(config.cache_bytes)
        self.snapshot: Snapshot | None = None

    def install(self, snapshot: Snapshot) -> None:
        """Judge by `snapshot` from now on."""
        self.snapshot = snapshot
        self._policy = snapshot.policy
        self.start_over()

    def start_over(self) -> None:
        """Forget every verdict and every finished answer."""
        rules = self.snapshot.by_group.values() if self.snapshot is not None else ()
        self._views = {one.number: View(one) for one in rules}
        self._memo = Memo(self._config.memo_entries)

    def sizes(self) -> tuple[int, int, int]:
        """Return how many upstream answers are kept, in how many bytes, and how many finished answers."""
        return len(self.cache), self.cache.bytes, len(self._memo)

    def view(self, group: str) -> View:
        """Return the view of `group`; a snapshot must be installed."""
        assert self.snapshot is not None
        return self._views[self.snapshot.rules(group).number]

    def remembered(self, query: Query, view: View, now: float) -> Finished | Query:
        """Return the finished answer to `query`, or the question that must be asked upstream before there is one:
        `query` itself, or the one for the name that answers in its place."""
        key = query.key
        route_key = key + view.route
        finished = self._memo.get(route_key, now)
        if finished is not None:
            newer = self.cache.get(key, now) if finished.ageing(now) else None
            if newer is None or newer is finished.answer:
                self._counters.memo_hits += 1
                return finished
        verdict = view.verdict(query.name, now)
        if verdict.action in OURS:
            finished = self._blocked(query, verdict, verdict.valid_until)
        elif query.qtype == wire.ANY:
            finished = self._finished(query, answers.any_answer(), verdict, verdict.valid_until, NO_CAP)
        else:
            found = self._from_cache(query, verdict, view, now)
            if isinstance(found, Query):
                return found
            finished = found
        if finished.until > now and self._memo.offer(route_key, finished):
            finished.hits += 1
        return finished

    def _from_cache(self, query: Query, verdict: Verdict, view: View, now: float) -> Finished | Query:
        target = rewriting.target_of(verdict)
        wanted = query if target is None else rewriting.asked_instead(query, target)
        if target is not None and query.qtype not in rewriting.ADDRESSES:
            return self._rewritten(query, target, None, verdict, verdict.valid_until, 0.0)
        answer = self._known(wanted, now)
        if isinstance(answer, Query):
            return answer
        return self.told(query, wanted.name, answer, view, now)

    def _known(self, wanted: Query, now: float) -> Answer | Query:
        """The answer to `wanted` that is at hand, from our own records or the cache; else what must be asked first."""
        if self._local is not None:
            assert self._policy is not None
            found = self._local.find(wanted, self._policy)
            if isinstance(found, Answer):
                return found
            if found is not None:
                beyond = rewriting.asked_instead(wanted, found.target)
                answer = self.cache.get(beyond.key, now)
                return beyond if answer is None else found.joined(wanted.name, answer, now)
        answer = self.cache.get(wanted.key, now)
        if answer is None:
            return wanted
        self._counters.cache_hits += 1
        return answer

    def told(
        self, query: Query, asked: bytes, answer: Answer, view: View, now: float, latency: float = 0.0
    ) -> Finished | Query:
        """Return what `judged` does; when another name answers in the asked one's place, from what is at hand if it
        can."""
        if self._local is not None and asked != query.name and (leading := self._local.leading_to(asked)):
            by_name = query.name if query.name in leading else None
            if by_name is None and not view.rewrites_to(asked):
                by_name = next((name for name in leading if view.rewrites_to(name)), None)
            if by_name is not None:
                asked, answer = by_name, self._local.alias(by_name).joined(by_name, answer, now)
        found = self.judged(query, asked, answer, view, now, latency)
        while isinstance(found, Query):  # at most twice: what answers in another's place is not rewritten again
            known = self._known(found, now)
            if isinstance(known, Query):
                return known
            found = self.judged(query, found.name, known, view, now, latency)
        return found

    def judged(
        self, query: Query, asked: bytes, answer: Answer, view: View, now: float, latency: float = 0.0
    ) -> Finished | Query:
        """Return an upstream `answer` as this view may have it, or what must be asked instead: a blocked target blocks
        the question, a rewritten one rewrites it. `asked` is the name that it is the answer for: the query's own, or
        the one that answers in its place. `latency` is how long the asker waited, seconds."""
        verdict = view.verdict(query.name, now)
        until = verdict.valid_until
        if verdict.action in OURS:
            return self._blocked(query, verdict, until, latency)
        target = rewriting.target_of(verdict)
        rewritten = asked != query.name
        if target is not None and query.qtype not in rewriting.ADDRESSES:
            return self._rewritten(query, target, None, verdict, until, latency)
        if target is not None and asked != target:
            return rewriting.asked_instead(query, target)
        if rewritten and not view.rewrites_to(asked):  # the policy is another one by now
            return query
        via = returned.via_of(verdict)
        lifted = verdict.lifted is not None
        if rewritten:
            found = view.verdict(asked, now, via)
            if returned.stops_replacing(found):
                return self._blocked(query, returned.as_target(found), min(until, found.valid_until), latency)
        hintless: set[bytes] = set()
        if answer.targets:
            led = returned.over_targets(answer.targets, answer.aliases, view.verdict, now, via, rewritten)
            until = min(until, led.until)
            lifted = lifted or led.lifted
            hintless = led.hintless
            if led.stopped is not None:
                return self._blocked(query, led.stopped, min(until, answer.expires), latency)
            if led.instead is not None and query.qtype in rewriting.ADDRESSES:
                return rewriting.asked_instead(query, names.to_wire(led.instead))
            if led.instead is not None and query.qtype in bindings.TYPES:
                instead = names.to_wire(led.instead)
                return self._rewritten(query, instead, None, verdict, min(until, answer.expires), latency)
        assert self._policy is not None
        binding = query.qtype in bindings.TYPES and answer.answers > 0
        if answer.private or binding:
            private = self._may_be_private(query, asked, verdict)
            if answer.private and not private:
                rebound = returned.rebound(names.from_wire(query.name))
                return self._blocked(query, rebound, min(until, answer.expires), latency)
            if binding:
                ech = self._policy.answering.strip_ech
                answer = bindings.cleaned(
                    answer, query.name, query.qtype, strip_ech=ech, hintless=frozenset(hintless), private=private
                )
        if rewritten:
            return self._rewritten(query, asked, answer, verdict, until, latency, lifted)
        return self._finished(query, answer, verdict, until, answers.LIFTED_TTL if lifted else NO_CAP, 0, latency)

    def _may_be_private(self, query: Query, asked: bytes, verdict: Verdict) -> bool:
        """True when what `asked` is answered with may be an address of the district's own networks."""
        assert self._policy is not None
        return (
            returned.may_be_private(names.from_wire(query.name), verdict, self._policy)
            or (self._local is not None and self._local.holds(asked))
            or self._routes.find(asked).forwarded
        )

    def _rewritten(
        self,
        query: Query,
        target: bytes,
        answer: Answer | None,
        verdict: Verdict,
        until: float,
        latency: float,
        lifted: bool = False,
    ) -> Finished:
        """What a rewritten name answers: by `answer`, which is the target's, or (None) without addresses."""
        assert self._policy is not None
        verdict = returned.led_to_rewrite(verdict, names.from_wire(target))  # when an alias leads to the rewritten name
        if answer is None:
            made = rewriting.without_addresses(query, target, verdict, self._policy)
        else:
            made = rewriting.given(query, target, answer, verdict, self._policy)
        return self._finished(query, made, verdict, until, answers.LIFTED_TTL if lifted else NO_CAP, 0, latency)

    def learn(self, key: bytes, name: bytes, reply: Reply, now: float) -> Answer:
        """Return the answer that an upstream reply to the question for `name` holds, and keep it for as long as it says
        (and settings allow)."""
        config = self._config
        cap = config.max_ttl
        if reply.negative_ttl is not None:
            cap = min(reply.negative_ttl, config.max_negative_ttl, config.max_ttl)
            lifetime = min([cap, *[ttl for _, ttl in reply.ttls]])
        elif reply.answers and reply.rcode == 0:
            lifetime = min([ttl for _, ttl in reply.ttls], default=0)
        else:
            lifetime = 0  # a denial without a SOA is given, never kept (RFC 2308 §5)
        lifetime = min(lifetime, config.max_ttl)
        ttls = tuple([(at, ttl if ttl < cap else cap) for at, ttl in reply.ttls])
        answer = Answer(
            reply.rcode,
            reply.answers,
            reply.authority,
            reply.body,
            ttls,
            reply.targets,
            reply.ad,
            now,
            now + lifetime,
            aliases=reply.aliases,
            private=reply.private and not self._routes.find(name).forwarded,
            usable_until=now + lifetime + answers.STALE_FOR,
        )
        if lifetime > 0:
            self.cache.put(key, answer)
        return answer

    def learn_failure(self, key: bytes, code: int, now: float, text: str = "") -> Answer:
        """Return what a question gets that no upstream answered, and keep it for a moment: the last good answer when
        it is not too old, else a SERVFAIL with the extended error `code` and its `text`."""
        old = self.cache.stale(key, now)
        if old is not None:
            answer = answers.revived(old, now)
            self.cache.put(key, answer)
            return answer
        expires = now + self._config.failure_ttl
        answer = answers.failure(wire.SERVFAIL, code, text, expires)
        if self._config.failure_ttl > 0:
            self.cache.put(key, answer)
        return answer

    def _blocked(self, query: Query, verdict: Verdict, until: float, latency: float = 0.0) -> Finished:
        assert self._policy is not None
        answer = self._designated.answer(query) or answers.blocked(query, verdict, self._policy)
        return self._finished(query, answer, verdict, until, NO_CAP, 1, latency)

    def _finished(
        self,
        query: Query,
        answer: Answer,
        verdict: Verdict,
        until: float,
        cap: int,
        blocked: int = 0,
        latency: float = 0.0,
    ) -> Finished:
        record = querylog.tail_half(query.name, query.qtype, answer.rcode, verdict, latency)
        return Finished(answer, until, cap, record, blocked)
