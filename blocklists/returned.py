"""What comes *back* from upstream, judged: the second half of the one decider, for the resolver and for `explain`.

An answer to an allowed question is passed on when

- every name that it leads to (CNAME and DNAME targets; HTTPS/SVCB TargetNames of either mode) passes steps 1 to 7 for
  the same group. `via` entries count for targets of the grant that let the question through;
- no target is answered as another name for this group (safe search, YouTube's modes): then that one is asked instead;
- it holds no private address, unless the name is the district's own or the policy excepts it (DNS rebinding).

Pure. Names are wire bytes in the resolver and text in `explain`; what judges one name is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Generic, TypeVar

from blocklists import decide, names
from blocklists.decide import NO_GRANTS, Explanation, Step
from blocklists.policy import FOREVER, Action, AnswerStyle, Policy, Reason, ReasonKind, Verdict
from blocklists.private import is_private
from blocklists.rules import Rules

Name = TypeVar("Name", bytes, str)

OURS = (Action.BLOCK, Action.SYNTHESIZE)  # answered by ourselves, nobody is asked
TYPES = ("A", "AAAA", "HTTPS", "SVCB")  # what `explain` can be asked for; the rest is judged like any of them
ADDRESSES = ("A", "AAAA")
BINDINGS = ("HTTPS", "SVCB")
NUMBER = 9  # the step's, behind those of `decide`
TITLE = "what comes back"
_OVER_REWRITES = (ReasonKind.BRAKE, ReasonKind.LOCKED)  # what stops a name that answers in another's place


@dataclass(frozen=True, slots=True)
class Returned:
    """What upstream says to one question: the names it leads to, the first `aliases` of them by CNAME or DNAME, and
    whether it holds an address of a private network that this server has no business to give."""

    targets: tuple[str, ...] = ()
    aliases: int = 0
    private: bool = False


Asks = Callable[[str], Returned | None]
"""What upstream says to the question for a name; None when that is not known."""


@dataclass(slots=True)
class Judged(Generic[Name]):
    """`stopped`: the verdict of the target that may not be reached. `instead`: the name that must be asked in place of
    the question's. `hintless`: targets whose addresses must be asked for. `until`, seconds since 1970."""

    until: float
    lifted: bool
    hintless: set[Name]
    stopped: Verdict | None = None
    instead: str | None = None


def over_targets(
    targets: Sequence[Name],
    aliases: int,
    verdict_of: Callable[[Name, float, frozenset[int]], Verdict],
    now: float,
    via: frozenset[int],
    replaced: bool,
) -> Judged[Name]:
    """Judge the names that an answer leads to, up to the first that may not be reached. `replaced`: the answer is that
    of the name in the question's place already, which is not rewritten again."""
    judged = Judged[Name](FOREVER, False, set())
    for position, name in enumerate(targets):
        found = verdict_of(name, now, via)
        judged.until = min(judged.until, found.valid_until)
        judged.lifted = judged.lifted or found.lifted is not None
        if found.action in OURS:
            judged.stopped = as_target(found)
            return judged
        if found.target is not None and not replaced:
            if position < aliases:
                judged.instead = judged.instead or found.target
            judged.hintless.add(name)
    return judged


def via_of(verdict: Verdict) -> frozenset[int]:
    """Return the numbers of the grants whose `via` entries count for what comes back to a question with `verdict`."""
    number = verdict.reason.number
    return NO_GRANTS if verdict.reason.kind is not ReasonKind.GRANT or number is None else frozenset((number,))


def as_target(verdict: Verdict) -> Verdict:
    """Return a blocked target's verdict for the question: NXDOMAIN would deny what lies below that (RFC 8020)."""
    return replace(verdict, style=AnswerStyle.NODATA) if verdict.style is AnswerStyle.NXDOMAIN else verdict


def stops_replacing(verdict: Verdict) -> bool:
    """True when a name with this verdict may not even answer in another's place."""
    return verdict.reason.kind in _OVER_REWRITES


def led_to_rewrite(verdict: Verdict, target: str) -> Verdict:
    """Return the verdict on a question whose alias leads to a name that is answered as `target`."""
    if verdict.action is Action.REWRITE:
        return verdict
    default = verdict.reason.kind is ReasonKind.DEFAULT
    reason = Reason(ReasonKind.REWRITE, entry=target) if default else verdict.reason
    return replace(verdict, action=Action.REWRITE, reason=reason, target=target)


def may_be_private(name: str, verdict: Verdict, policy: Policy) -> bool:
    """True when the answer to an allowed question may hold private addresses, whoever gives it."""
    allowed = policy.answering.private
    return verdict.reason.kind is ReasonKind.OWN or (
        bool(allowed) and any(above in allowed for above in names.ancestors(name))
    )


def rebound(name: str) -> Verdict:
    """Return the verdict on a public `name` whose answer holds a private address."""
    return Verdict(Action.BLOCK, Reason(ReasonKind.REBINDING, entry=name), AnswerStyle.NODATA)


def given(texts: Sequence[str], rtype: str = "A") -> Returned:
    """Return what upstream says, told by a person: addresses, and names that the answer leads to in this order. Raises
    `ValueError` with a sentence."""
    targets: list[str] = []
    private = False
    for text in texts:
        try:
            address = ip_address(text.strip().strip("[]"))
        except ValueError:
            targets.append(_name(text))
        else:
            private = private or is_private(address.packed)
    return Returned(tuple(dict.fromkeys(targets)), 0 if rtype in BINDINGS else len(targets), private)


def _name(text: str) -> str:
    try:
        name = names.understand(text).name
    except names.BadName as error:
        raise ValueError(f"{text[:60]!r} is neither an address nor a name: {error.reason}") from None
    if name.rpartition(".")[2].isdecimal():
        raise ValueError(f"{text[:60]!r} is neither an address nor a name")
    return name


def explain(name: str, rules: Rules, policy: Policy, now: float, rtype: str, ask: Asks) -> Explanation:
    """Return what a question for `name` and `rtype` gets, as the resolver decides it, with every step: the decision on
    the name, and for an allowed one the judgement of what `ask` says comes back."""
    first = decide.explain(name, rules, now)
    verdict = first.verdict
    if verdict.action in OURS or (verdict.target is not None and rtype not in ADDRESSES):
        return first
    notes: list[str] = []
    found = _judged(name, verdict, rules, policy, now, rtype, ask, notes)
    stopped = found.action in OURS
    steps = tuple(replace(one, decided=False) for one in first.steps) if stopped else first.steps
    return Explanation(found, (*steps, Step(NUMBER, TITLE, "; ".join(notes), stopped)))


def _judged(
    name: str, first: Verdict, rules: Rules, policy: Policy, now: float, rtype: str, ask: Asks, notes: list[str]
) -> Verdict:
    def verdict_of(target: str, now: float, via: frozenset[int]) -> Verdict:
        explained = decide.explain(target, rules, now, via)
        notes.append(f"it leads to {target}: {explained.steps[-1].found}")
        return explained.verdict

    via, verdict, asked = via_of(first), first, first.target or name
    while True:  # at most twice: what answers in another's place is not rewritten again
        replaced = asked != name
        if replaced and stops_replacing(found := verdict_of(asked, now, via)):
            return as_target(found)
        came = ask(asked)
        if came is None:
            notes.append(f"upstream's answer for {asked} is not known")
            return verdict
        judged = over_targets(came.targets, came.aliases, verdict_of, now, via, replaced)
        if judged.stopped is not None:
            return replace(judged.stopped, valid_until=min(verdict.valid_until, judged.until))
        verdict = replace(verdict, valid_until=min(verdict.valid_until, judged.until))
        if judged.instead is not None and rtype in (*ADDRESSES, *BINDINGS):
            verdict, asked = led_to_rewrite(verdict, judged.instead), judged.instead
            notes.append(f"so {name} is answered as {asked}")
            if rtype in ADDRESSES:
                continue
            return verdict
        if came.private and not may_be_private(name, first, policy):
            notes.append(f"the answer for {asked} holds a private address, and {name} is a public name")
            return rebound(name)
        notes.append(f"the answer for {asked} holds nothing that is blocked")
        return verdict
