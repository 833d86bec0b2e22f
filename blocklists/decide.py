"""The one decider: (name, rules, now) -> Verdict. Pure; resolver, portal and command line all call it.

First match wins:

1. a *brake* at or above the name -> block;
2. *corrections* and the protected set remove the listings they name (and nothing else) before the steps below;
3. bypass signals (Firefox canary, Private Relay, `resolver.arpa`, …) -> synthesized answer;
4. **locked** categories -> block; no grant lifts it;
5. the district's own names -> allow: local records or conditional forwarding answer;
6. grants in force for this group now, and an administrator's ordinary custom blocks: most specific wins, exact beats
   subtree, block beats grant at the same name;
7. categories and services blocked for this group -> block, with list and entry;
8. otherwise allow.

A name matches an entry when it equals it or (subtree) lies below it, by labels. With several lists above a name the
verdict uses the union of their categories over all matching ancestors. A service that the group's policy allows takes
the name out of that service's category (in step 7 only), whichever of the category's lists holds it.

An allow of step 6 or later then passes the group's *rewrites* (safe search, YouTube's modes): the name is answered as
another one. A grant lifts a block, never a rewrite, unless the grant itself says so.

A *mode* that is on for the group changes steps 6 and 7 while it lasts: testing leaves out the grants that it suspends;
a lock-down leaves out every grant and blocks every category (and rewrites at its strictest); emergency open allows
what step 7 would block. A group that is only *observed* allows it too, and says what it would have been. None of them
reaches steps 1 to 5.

`now` is never earlier than the policy's `created_at`: a clock set back cannot reopen what had ended before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from blocklists import names, windows
from blocklists.base import Listing, ListKind
from blocklists.bypass import SIGNALS
from blocklists.layers import Opening
from blocklists.policy import (
    FOREVER,
    Action,
    AnswerStyle,
    Category,
    CustomBlock,
    Grant,
    Match,
    Mode,
    ModeKind,
    Reason,
    ReasonKind,
    Verdict,
)
from blocklists.rules import STRICTEST, Rules

NO_GRANTS: frozenset[int] = frozenset()
_ALLOWED = Verdict(Action.ALLOW, Reason(ReasonKind.DEFAULT))  # by nothing but step 8, for ever


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the decision order, for `explain`: what it looked for, what it found, whether it decided."""

    number: int
    title: str
    found: str
    decided: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    verdict: Verdict
    steps: tuple[Step, ...]


def decide(name: str, rules: Rules, now: float, via: frozenset[int] = NO_GRANTS) -> Verdict:
    """Return the verdict on a canonical `name` for the group of `rules` at `now` (seconds since 1970).

    `via`: numbers of the grants that let the question through, when `name` is a target met on the way to its answer;
    their `via` entries count then, and only then.
    """
    question = _Question(name, rules, max(now, rules.created_at), via)
    for _, _, step in _STEPS:
        verdict = step(question)
        if verdict is not None:
            return _rewritten(question, verdict)
    raise AssertionError("step 8 always decides")


def explain(name: str, rules: Rules, now: float, via: frozenset[int] = NO_GRANTS) -> Explanation:
    """Return the same verdict as `decide`, with every step that led to it."""
    question = _Question(name, rules, max(now, rules.created_at), via)
    steps: list[Step] = []
    for number, title, step in _STEPS:
        question.found = ""
        verdict = step(question)
        if verdict is not None:
            verdict = _rewritten(question, verdict)
        steps.append(Step(number, title, question.found or "nothing", verdict is not None))
        if verdict is not None:
            return Explanation(verdict, tuple(steps))
    raise AssertionError("step 8 always decides")


@dataclass(slots=True)
class _Question:
    """One decision under way. `found` is the note of the step that runs, in words for `explain`."""

    name: str
    rules: Rules
    now: float
    via: frozenset[int]
    listings: tuple[Listing, ...] = ()  # set by step 2
    openings: tuple[tuple[str, Opening], ...] = ()  # set by step 6: what touches this name, in force or not
    valid_until: float = FOREVER  # set by step 6: when the first of them may start or end
    found: str = ""
    modes: tuple[Mode, ...] = ()  # set by step 6: those that are on now
    as_it_is: bool = False  # set by step 6: a grant lifts the name's rewrite too
    ancestors: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.ancestors = tuple(names.ancestors(self.name))

    def mode(self, kind: ModeKind) -> Mode | None:
        """The mode of this kind that is on now, if any."""
        return next((mode for mode in self.modes if mode.kind is kind), None) if self.modes else None

    def touched_by(self, above: str, match: Match, grant: int = 0) -> bool:
        """True when an entry at `above` (the name or an ancestor) matches. `via` matches like a subtree, but only
        targets of its own grant's names."""
        if match is Match.EXACT:
            return above == self.name
        return match is Match.SUBTREE or grant in self.via


def _brake(question: _Question) -> Verdict | None:
    for above in question.ancestors:
        number = question.rules.brakes.get(above)
        if number is not None:
            question.found = f"brake {number} at {above}"
            return _block(question, Reason(ReasonKind.BRAKE, entry=above, number=number), AnswerStyle.NXDOMAIN)
    return None


def _corrections(question: _Question) -> Verdict | None:
    """Never decides: takes the corrected listings away, so that the later steps do not see them."""
    rules = question.rules
    listings = rules.base.listings(question.name)
    if not listings:
        return None
    removed: set[str] = set()
    notes: list[str] = []
    for above in question.ancestors:
        match = rules.protected.get(above)
        if match is not None and question.touched_by(above, match):
            question.found = f"{above} is in the protected set: no list may block it"
            return None
        for correction in rules.corrections.get(above, ()):
            if question.touched_by(above, correction.match):
                removed.update(correction.lists)
                notes.append(f"correction {correction.number} at {above} takes {', '.join(correction.lists)} away")
    question.found = "; ".join(notes)
    if "*" not in removed:
        question.listings = tuple(one for one in listings if rules.base.lists[one.list].id not in removed)
    return None


def _bypass(question: _Question) -> Verdict | None:
    for above in question.ancestors:
        style = SIGNALS.get(above)
        if style is not None:
            question.found = f"{above} asks whether a device may leave the filter"
            return Verdict(Action.SYNTHESIZE, Reason(ReasonKind.BYPASS, entry=above), style)
    return None


def _locked(question: _Question) -> Verdict | None:
    rules = question.rules
    for listing in question.listings:
        if listing.list in rules.locked:
            question.found = _listed_by(question, listing)
            category = _category(question, listing)
            return _block(question, _listing_reason(question, listing, ReasonKind.LOCKED), category.style)
    return None


def _own(question: _Question) -> Verdict | None:
    for above in question.ancestors:
        if above in question.rules.own:
            question.found = f"{above} is the district's own"
            return Verdict(Action.ALLOW, Reason(ReasonKind.OWN, entry=above))
    return None


def _grants_and_blocks(question: _Question) -> Verdict | None:
    rules = question.rules
    _find_modes(question)
    _find_openings(question)
    if not question.openings and not rules.blocks:
        return None
    # Each rule in force, with its rank: most specific, then exact before subtree, then block before grant.
    ranked: list[tuple[tuple[int, bool, bool, int], CustomBlock | Grant]] = []
    for depth, above in enumerate(question.ancestors):
        ranked += [
            ((depth, block.match is not Match.EXACT, False, block.number), block)
            for block in rules.blocks.get(above, ())
            if question.touched_by(above, block.match)
        ]
    for above, opening in question.openings:
        grant = opening.grant
        if windows.is_open(grant.window, question.now, rules.zone):
            depth = question.ancestors.index(above)
            ranked.append(((depth, opening.match is not Match.EXACT, True, grant.number), grant))
    if not ranked:
        question.found = "; ".join(
            f"grant {opening.grant.number} at {above} is not in force now" for above, opening in question.openings
        )
        return None
    rank, winner = min(ranked, key=lambda one: one[0])
    above = question.ancestors[rank[0]]
    if isinstance(winner, CustomBlock):
        question.found = f"custom block {winner.number} at {above}"
        reason = Reason(ReasonKind.CUSTOM, entry=above, number=winner.number)
        # An exact block says nothing of the names below, which NXDOMAIN would deny (RFC 8020).
        style = AnswerStyle.NODATA if winner.match is Match.EXACT else AnswerStyle.NXDOMAIN
        return _block(question, reason, style)
    question.as_it_is = winner.lifts_rewrites
    question.found = f"grant {winner.number} ({winner.authority.kind} {winner.authority.number}) at {above}"
    reason = Reason(ReasonKind.GRANT, entry=above, number=winner.number, authority=winner.authority)
    return Verdict(Action.ALLOW, reason, lifted=_lifted(question, ranked), valid_until=question.valid_until)


def _lifted(
    question: _Question, ranked: list[tuple[tuple[int, bool, bool, int], CustomBlock | Grant]]
) -> Reason | None:
    """What would block the name without a grant: the most specific custom block, else what step 7 finds."""
    blocks = [(rank, one) for rank, one in ranked if isinstance(one, CustomBlock)]
    if blocks:
        rank, block = min(blocks, key=lambda one: one[0])
        return Reason(ReasonKind.CUSTOM, entry=question.ancestors[rank[0]], number=block.number)
    blocked = _listed(question)
    return None if blocked is None else blocked.reason


def _find_modes(question: _Question) -> None:
    """Note the modes that are on, and when one starts or ends, or observing does."""
    rules = question.rules
    if not rules.modes and rules.observe_until is None:
        return
    changes = [mode.ends_at if mode.starts_at <= question.now else mode.starts_at for mode in rules.modes]
    changes += [] if rules.observe_until is None else [rules.observe_until]
    question.valid_until = min((at for at in changes if at > question.now), default=FOREVER)
    question.modes = tuple(mode for mode in rules.modes if mode.starts_at <= question.now < mode.ends_at)


def _find_openings(question: _Question) -> None:
    """Note the grants' entries that touch this name, and when the first of them may start or end."""
    rules = question.rules
    found = rules.openings.above(question.name, question.ancestors)
    if not found or question.mode(ModeKind.LOCK_DOWN) is not None:
        return
    suspended = {number for mode in question.modes for number in mode.suspended}
    question.openings = tuple(
        [
            (above, opening)
            for above, opening in found
            if question.touched_by(above, opening.match, opening.grant.number) and opening.grant.number not in suspended
        ]
    )
    if question.openings:
        question.valid_until = min(
            question.valid_until,
            *(windows.next_change(opening.grant.window, question.now, rules.zone) for _, opening in question.openings),
        )


def _listed_or_switched(question: _Question) -> Verdict | None:
    verdict = _listed(question)
    if verdict is None:
        if question.listings:
            question.found = f"{_listed_by(question, question.listings[0])}, not blocked for this group"
        return None
    if question.mode(ModeKind.LOCK_DOWN) is not None:
        return verdict
    if (mode := question.mode(ModeKind.OPEN)) is not None:
        question.found += f"; mode {mode.number} opens it"
        reason = replace(verdict.reason, kind=ReasonKind.MODE, number=mode.number)
        return Verdict(Action.ALLOW, reason, lifted=verdict.reason, valid_until=question.valid_until)
    until = question.rules.observe_until
    if until is not None and question.now < until:
        question.found += "; this group is only observed yet"
        reason = replace(verdict.reason, kind=ReasonKind.OBSERVED)
        return Verdict(Action.ALLOW, reason, lifted=verdict.reason, valid_until=question.valid_until)
    return verdict


def _listed(question: _Question) -> Verdict | None:
    """Step 7, also asked by step 6 for what a grant lifts. Among the listings that block, the one that explains best is
    told: a service's own switch, then a service's bundle, then a plain list; of equals the most specific."""
    rules = question.rules
    closed = question.mode(ModeKind.LOCK_DOWN) is not None
    allowed, blocked = (NO_GRANTS, rules.strict) if closed else (rules.allowed, rules.blocked)
    opened = {rules.base.lists[listing.list].category for listing in question.listings if listing.list in allowed}
    blocking = [
        listing
        for listing in question.listings
        if listing.list in rules.by_switch
        or (listing.list in blocked and rules.base.lists[listing.list].category not in opened)
    ]
    if not blocking:
        return None
    lists = rules.base.lists
    listing = min(blocking, key=lambda one: (one.list not in rules.by_switch, lists[one.list].kind is ListKind.LIST))
    kind = ReasonKind.SERVICE if listing.list in rules.by_switch else ReasonKind.CATEGORY
    question.found = question.found or _listed_by(question, listing)
    reason = _listing_reason(question, listing, kind)
    return _block(question, reason, _category(question, listing).style)


def _default(question: _Question) -> Verdict:
    question.found = "no rule forbids it"
    return _ALLOWED if question.valid_until == FOREVER else replace(_ALLOWED, valid_until=question.valid_until)


def _rewritten(question: _Question, verdict: Verdict) -> Verdict:
    """The verdict, or for an allowed name that the group's settings rewrite: the rewrite. The district's own names
    never are."""
    if verdict.action is not Action.ALLOW or verdict.reason.kind is ReasonKind.OWN:
        return verdict
    rules = question.rules
    table = rules.rewrites if question.mode(ModeKind.LOCK_DOWN) is None else STRICTEST
    target = table.get(question.name)
    if target is None:
        return verdict
    rewrite = Reason(ReasonKind.REWRITE, entry=question.name)
    if question.as_it_is:
        question.found += f"; not answered as {target}: the grant says so"
        return replace(verdict, lifted=verdict.lifted or rewrite)
    question.found += f"; answered as {target}"
    reason = rewrite if verdict.reason.kind is ReasonKind.DEFAULT else verdict.reason
    return replace(verdict, action=Action.REWRITE, reason=reason, target=target)


def _block(question: _Question, reason: Reason, style: AnswerStyle) -> Verdict:
    """A block; NODATA in place of NXDOMAIN where an exception lies below, which NXDOMAIN would deny (RFC 8020)."""
    if style is AnswerStyle.NXDOMAIN and any(question.name in layer for layer in question.rules.carved):
        style = AnswerStyle.NODATA
    return Verdict(Action.BLOCK, reason, style, valid_until=question.valid_until)


def _category(question: _Question, listing: Listing) -> Category:
    return question.rules.categories[question.rules.base.lists[listing.list].category]


def _listing_reason(question: _Question, listing: Listing, kind: ReasonKind) -> Reason:
    info = question.rules.base.lists[listing.list]
    service = info.id if info.kind is ListKind.SERVICE else None
    return Reason(kind, entry=listing.entry, category=info.category, list=info.id, service=service)


def _listed_by(question: _Question, listing: Listing) -> str:
    info = question.rules.base.lists[listing.list]
    return f"{listing.entry} is in {info.kind} {info.id} ({info.category})"


_STEPS: tuple[tuple[int, str, Callable[[_Question], Verdict | None]], ...] = (
    (1, "brake", _brake),
    (2, "corrections and protected set", _corrections),
    (3, "bypass signal", _bypass),
    (4, "locked category", _locked),
    (5, "the district's own name", _own),
    (6, "grants and custom blocks", _grants_and_blocks),
    (7, "categories and services", _listed_or_switched),
    (8, "otherwise allow", _default),
)
