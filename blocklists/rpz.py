"""An effective policy as two response policy zones, for districts that keep BIND, Unbound or PowerDNS.

The *block* zone holds what the base blocks for the group: large, and the same until the base or the group's categories
change. The *allow* zone stands before it and holds what decisions say: each name that the policy speaks of, with the
answer of the one decider, be it a grant's `rpz-passthru.` or the brake, the custom block or the locked listing that
beats the grant. So the first zone that knows a name is right, and an approval rewrites only the small zone.

Both zones are made the same way. An *edge* is a name at which the verdict may change; between edges it cannot. Each
edge is written twice, for itself and as a wildcard for what lies below it. Names between an edge and a wildcard above
are edges too: Unbound looks for a wildcard at the closest encloser only (RFC 4592), as in any zone.

Rules in, pairs of owner and answer out; no files, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from blocklists import names, windows
from blocklists.bypass import SIGNALS
from blocklists.decide import decide
from blocklists.layers import Stacked
from blocklists.policy import FOREVER, Action, AnswerStyle, Match, Policy
from blocklists.rules import Rules, above

TTL = 10  # seconds, as of our own blocked answers
_PASS = ("CNAME rpz-passthru.",)
_BELOW = "rpz-below--."  # a label that no list holds: canonical names have no label that ends in a hyphen
_SIGNAL_KEYS = tuple(names.key(name) for name in SIGNALS)

Answer = tuple[str, ...]  # records without owner; _PASS: let through


def zone_names(group: str) -> tuple[str, str]:
    """Return the origins of the allow and the block zone of the effective policy that `group` has."""
    slug = "".join(one if one.isalnum() and one.isascii() else "-" for one in group.lower()).strip("-")[:48]
    return f"allow.{slug}.rpz", f"block.{slug}.rpz"


def next_change(rules: Rules, now: float) -> float:
    """Return the first moment after `now` at which a zone of `rules` may change by itself, or FOREVER."""
    now = max(now, rules.created_at)
    moments = [] if rules.observe_until is None else [float(rules.observe_until)]
    for mode in rules.modes:
        moments += [float(mode.starts_at), float(mode.ends_at)]
    windows_ = {opening.grant.window for _, found in rules.openings.items() for opening in found}
    moments += [windows.next_change(window, now, rules.zone) for window in windows_]
    return min((one for one in moments if one > now), default=FOREVER)


def block_zone_identity(rules: Rules, policy: Policy, now: float) -> tuple[object, ...]:
    """Return what the block zone depends on: equal identities, equal zones."""
    now = max(now, rules.created_at)
    return (
        rules.base.digest,
        rules.blocked,
        rules.by_switch,
        rules.allowed,
        tuple((one.id, one.locked, one.style) for one in policy.categories),
        policy.answering.page,
        tuple(mode.kind for mode in rules.modes if mode.starts_at <= now < mode.ends_at),
        rules.observe_until is not None and now < rules.observe_until,
    )


def left_out(rules: Rules) -> int:
    """Return how many `via` entries of grants no zone can carry."""
    return len(
        {
            (name, opening.grant.number)
            for name, found in rules.openings.items()
            for opening in found
            if opening.match is Match.VIA
        }
    )


def allow_zone(rules: Rules, policy: Policy, now: float) -> Iterator[tuple[str, Answer]]:
    """Yield the allow zone's owners (relative) and answers, parents first."""
    listed = _listed_only(rules)
    edges = _allow_edges(rules, listed, now)
    kept: list[str] = []  # keys of the written edges above the present one
    for key in sorted(map(names.key, edges)):
        while kept and not key.startswith(kept[-1]):
            kept.pop()
        name = names.from_key(key)
        exact, below = _both(name, rules, policy, now)
        if not kept and (exact, below) == _both(name, listed, policy, now):
            continue  # the block zone says the same
        kept.append(key)
        yield name, exact
        yield f"*.{name}", below


def block_zone(rules: Rules, policy: Policy, now: float) -> Iterator[tuple[str, Answer]]:
    """Yield the block zone's owners (relative) and answers. Streaming: one pass over the base."""
    rules = _listed_only(rules)
    carved = frozenset[str]().union(*rules.carved)
    by_path: dict[tuple[int, ...], Answer] = {}  # what the base says from the root down -> the answer below
    written = set(SIGNALS)  # and names below other listed names: few
    for name in sorted(SIGNALS):
        answer = _answer(name, rules, policy, now)
        yield name, answer
        yield f"*.{name}", answer
    for key, _ in rules.base.entries():
        if key.startswith(_SIGNAL_KEYS):
            continue
        path = rules.base.path(key)
        below = by_path.get(path)
        if below is None:
            below = by_path[path] = _answer(_BELOW + names.from_key(key), rules, policy, now)
        if len(path) == 1:
            if below is not _PASS:
                name = names.from_key(key)
                yield name, _answer(name, rules, policy, now) if name in carved else below
                yield f"*.{name}", below
            continue
        yield from _fresh(_between(names.from_key(key), rules, policy, now), written, rules, policy, now)
    for name in sorted(carved):  # a blocked name with an exception below it, whatever lists it
        if rules.base.path(names.key(name)):
            yield from _fresh(_between(name, rules, policy, now, carved=True), written, rules, policy, now)


def _fresh(
    found: list[str], written: set[str], rules: Rules, policy: Policy, now: float
) -> Iterator[tuple[str, Answer]]:
    for name in found:
        if name not in written:
            written.add(name)
            exact, below = _both(name, rules, policy, now)
            yield name, exact
            yield f"*.{name}", below


def _between(name: str, rules: Rules, policy: Policy, now: float, carved: bool = False) -> list[str]:
    """This name and those up to (without) the topmost blocked one above it; none when all say the same and it is not
    `carved`, and none for a `carved` one that is topmost itself."""
    chain = list(names.ancestors(name))
    answers = [_answer(_BELOW + one, rules, policy, now) for one in chain]
    top = max((depth for depth, answer in enumerate(answers) if answer is not _PASS), default=-1)
    if top == -1:
        return []
    if top == 0:
        return [] if carved else [name]
    return chain[:top] if carved or len(set(answers[: top + 1])) > 1 else []


def _listed_only(rules: Rules) -> Rules:
    """The rules that the base, the categories and the services make, without what decisions add."""
    bundles = (name for index in rules.allowed for name in rules.base.bundles[index])
    carved = above((*rules.base.exceptions, *bundles))
    return replace(
        rules, brakes={}, corrections={}, protected={}, own=frozenset(), openings=Stacked(), blocks={}, carved=(carved,)
    )


def _allow_edges(rules: Rules, listed: Rules, now: float) -> set[str]:
    named = {*rules.brakes, *rules.corrections, *rules.protected, *rules.own, *rules.blocks, *SIGNALS}
    named.update(name for name, found in rules.openings.items() if any(one.match is not Match.VIA for one in found))
    # A blocked name with an exception below is answered NODATA in place of NXDOMAIN.
    for name in above(named):
        if name not in named and any(name in layer for layer in rules.carved):
            verdict = decide(name, rules, now)
            if verdict.action is Action.BLOCK and verdict.style != decide(name, listed, now).style:
                named = named | {name}
    edges = set(named)
    for name in named:
        edges.update(map(names.from_key, rules.base.below(names.key(name))))
    for name in tuple(edges):
        chain = list(names.ancestors(name))[1:]
        highest = max((depth for depth, one in enumerate(chain) if one in edges), default=0)
        edges.update(chain[:highest])
    return edges


def _both(name: str, rules: Rules, policy: Policy, now: float) -> tuple[Answer, Answer]:
    return _answer(name, rules, policy, now), _answer(_BELOW + name, rules, policy, now)


def _answer(name: str, rules: Rules, policy: Policy, now: float) -> Answer:
    verdict = decide(name, rules, now)
    if verdict.action in (Action.ALLOW, Action.REWRITE):
        return _PASS
    if verdict.style is AnswerStyle.NODATA:
        return ("CNAME *.",)
    if verdict.style is AnswerStyle.NULL:
        return ("A 0.0.0.0", "AAAA ::")
    if verdict.style is AnswerStyle.PAGE and policy.answering.page:
        return tuple(f"{'AAAA' if ':' in address else 'A'} {address}" for address in policy.answering.page)
    return ("CNAME .",)  # NXDOMAIN; RPZ has no REFUSED


def zone_text(origin: str, serial: int, entries: Iterable[tuple[str, Answer]]) -> Iterator[str]:
    """Yield the zone in master-file format (RFC 1035 §5), a record a line; what is too long for it is left out."""
    yield f"$ORIGIN {origin}.\n$TTL {TTL}\n@ SOA localhost. hostmaster.invalid. {serial} 60 30 604800 {TTL}\n"
    yield "@ NS localhost.\n"
    room = names.MAX_NAME - 1 - len(origin)
    for owner, answer in entries:
        if len(owner) <= room:
            for record in answer:
                yield f"{owner} {record}\n"
