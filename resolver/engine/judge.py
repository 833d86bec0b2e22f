"""What may be answered to a question under one effective policy: the memo, the verdict, the cache, in this order.

Pure: `now` comes in, nothing is sent. A question that none of them answers must be asked upstream; what comes back is
put in with `learn` and judged like everything else.
"""

from __future__ import annotations

from dataclasses import replace

from blocklists.decide import NO_GRANTS
from blocklists.policy import Action, AnswerStyle, Policy, ReasonKind, Verdict
from blocklists.snapshot import Snapshot
from resolver import answers, querylog, wire
from resolver.answers import Answer
from resolver.cache import Cache
from resolver.config import ResolverConfig
from resolver.engine.memo import NO_CAP, Finished, Memo, View
from resolver.engine.seam import Counters
from resolver.reply import Reply
from resolver.wire import Query


class Judge:
    """Finished answers by question and view. The cache outlives an install; memo and views do not."""

    __slots__ = ("_config", "_counters", "_memo", "_policy", "_views", "cache", "snapshot")

    def __init__(self, config: ResolverConfig, counters: Counters) -> None:
        self._config = config
        self._counters = counters
        self._memo = Memo(config.memo_entries)
        self._views: dict[int, View] = {}
        self._policy: Policy | None = None
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

    def remembered(self, query: Query, view: View, now: float) -> Finished | None:
        """Return the finished answer to `query`, or None when upstream must be asked."""
        key = query.key
        route_key = key + view.route
        finished = self._memo.get(route_key, now)
        if finished is not None:
            self._counters.memo_hits += 1
            return finished
        verdict = view.verdict(query.name, now)
        if verdict.action is not Action.ALLOW:
            finished = self._blocked(query, verdict, verdict.valid_until)
        elif query.qtype == wire.ANY:
            finished = self._finished(query, answers.any_answer(), verdict, verdict.valid_until, NO_CAP)
        else:
            answer = self.cache.get(key, now)
            if answer is None:
                return None
            self._counters.cache_hits += 1
            finished = self.judged(query, answer, view, now)
        if finished.until > now and self._memo.offer(route_key, finished):
            finished.hits += 1
        return finished

    def judged(self, query: Query, answer: Answer, view: View, now: float, latency: float = 0.0) -> Finished:
        """Return an upstream `answer` as this view may have it: a blocked target blocks the question. `latency` is
        how long the asker waited, seconds."""
        verdict = view.verdict(query.name, now)
        until = verdict.valid_until
        if verdict.action is not Action.ALLOW:
            return self._blocked(query, verdict, until, latency)
        lifted = verdict.lifted is not None
        if answer.targets:
            number = verdict.reason.number
            via = frozenset((number,)) if verdict.reason.kind is ReasonKind.GRANT and number is not None else NO_GRANTS
            for target in answer.targets:
                found = view.verdict(target, now, via)
                until = min(until, found.valid_until)
                lifted = lifted or found.lifted is not None
                if found.action is not Action.ALLOW:
                    if found.style is AnswerStyle.NXDOMAIN:  # would deny what lies below the question (RFC 8020)
                        found = replace(found, style=AnswerStyle.NODATA)
                    return self._blocked(query, found, min(until, answer.expires), latency)
        return self._finished(query, answer, verdict, until, answers.LIFTED_TTL if lifted else NO_CAP, 0, latency)

    def learn(self, key: bytes, reply: Reply, now: float) -> Answer:
        """Return the answer that an upstream reply holds, and keep it for as long as it says (and settings allow)."""
        config = self._config
        if reply.negative_ttl is not None:
            lifetime = min(reply.negative_ttl, config.max_negative_ttl)
        elif reply.answers and reply.rcode == 0:
            lifetime = min((ttl for _, ttl in reply.ttls), default=0)
        else:
            lifetime = 0  # a denial without a SOA is given, never kept (RFC 2308 §5)
        lifetime = min(lifetime, config.max_ttl)
        cap = config.max_ttl if reply.negative_ttl is None else lifetime
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
            usable_until=now + lifetime + answers.STALE_FOR,
        )
        if lifetime > 0:
            self.cache.put(key, answer)
        return answer

    def learn_failure(self, key: bytes, code: int, now: float) -> Answer:
        """Return what a question gets that no upstream answered, and keep it for a moment: the last good answer when
        it is not too old, else a SERVFAIL with the extended error `code`."""
        old = self.cache.stale(key, now)
        if old is not None:
            answer = answers.revived(old, now)
            self.cache.put(key, answer)
            return answer
        expires = now + self._config.failure_ttl
        answer = answers.failure(wire.SERVFAIL, code, expires=expires)
        if self._config.failure_ttl > 0:
            self.cache.put(key, answer)
        return answer

    def _blocked(self, query: Query, verdict: Verdict, until: float, latency: float = 0.0) -> Finished:
        assert self._policy is not None
        answer = answers.blocked(query, verdict, self._policy)
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
