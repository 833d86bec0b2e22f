"""Why is this name blocked, or not: the resolver's own decision on the current snapshot, with every step.

There is one decider; this asks it. Nothing here looks at a client's queries: it answers for a name and a group. What
comes back for an allowed name is judged too: by what the caller was told, or by what upstream says now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from blocklists import decide, names, reasons, returned
from blocklists.clients import Membership, parse_address
from blocklists.names import BadName
from blocklists.policy import UNASSIGNED, AuthorityKind, ReasonKind, Verdict
from blocklists.returned import Asks, Returned
from blocklists.rules import Rules
from blocklists.snapshot import Snapshot
from portal.errors import FieldError, Invalid
from portal.verdicts.current import Current

LookUp = Callable[[str, str], Returned | None]
"""What upstream says to the question for a name and a type; None when that is not known."""


def no_look_up(name: str, rtype: str) -> None:
    """The `LookUp` of a portal that asks nobody."""


def asks(look_up: LookUp, answers: Sequence[str] = (), rtype: str = "A") -> Asks:
    """Return what `explain` learns from what comes back: `answers` as somebody told them, else what `look_up` says.
    Raises `Invalid` for what can be no answer."""
    told = [one for one in answers if one.strip()]
    if not told:
        return lambda name: look_up(name, rtype)
    try:
        given = returned.given(told, rtype)
    except ValueError as error:
        raise Invalid("This answer cannot be judged.", (FieldError("answer", str(error)),)) from None
    return lambda name: given


@dataclass(frozen=True, slots=True)
class Explained:
    """The verdict on one name for one group at one moment (seconds since 1970), by one snapshot. `by`: how the client
    was known to be in the group, when a client was given. `request`: the one whose grant lets the name through. `told`:
    the extended error's text."""

    name: str
    group: str
    by: str
    at: float
    version: int
    digest: str
    verdict: Verdict
    steps: tuple[decide.Step, ...]
    request: int | None
    told: str


def explain(
    snapshot: Snapshot,
    name: str,
    at: float,
    group: str | None = None,
    client: str | None = None,
    rtype: str = "A",
    ask: Asks = lambda name: None,
) -> Explained:
    """Return the decision and every step. Neither group nor client: an unassigned client's, the strictest. `ask`: what
    comes back for an allowed name.

    Raises `Invalid` for a name, group or address that cannot be.
    """
    try:
        canonical = names.understand(name).name
    except BadName as error:
        raise Invalid("This name cannot be explained.", (FieldError("name", error.reason),)) from None
    membership = _membership(snapshot, group, client)
    explanation = returned.explain(canonical, snapshot.rules(membership.group), snapshot.policy, at, rtype, ask)
    authority = explanation.verdict.reason.authority
    return Explained(
        name=canonical,
        group=membership.group,
        by=membership.by,
        at=at,
        version=snapshot.version,
        digest=snapshot.digest,
        verdict=explanation.verdict,
        steps=explanation.steps,
        request=authority.number if authority is not None and authority.kind is AuthorityKind.REQUEST else None,
        told=reasons.told(explanation.verdict, snapshot.policy),
    )


def _membership(snapshot: Snapshot, group: str | None, client: str | None) -> Membership:
    if group and client:
        raise Invalid("Give a group or a client, not both.", (FieldError("client", "Leave one of the two out."),))
    if client:
        try:
            return snapshot.clients.find(parse_address(client.strip()))
        except ValueError:
            error = FieldError("client", f"{client[:60]!r} is not an IP address.")
            raise Invalid("This client cannot be looked up.", (error,)) from None
    if group and group != UNASSIGNED and group not in snapshot.by_group:
        known = ", ".join(sorted(snapshot.by_group)[:20])
        raise Invalid("There is no such group.", (FieldError("group", f"The groups are: {known}."),))
    return Membership(group or UNASSIGNED, "")


class SnapshotCatalogue:
    """The services' `Catalogue`, answered from the current snapshot. Raises `NothingPublished` before there is one."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def locked(self, name: str) -> str | None:
        """Return the title of the locked category that holds `name` now, or None. Corrections count, and what ships
        protected; a brake does not matter here (it hides the step that is asked for)."""
        rules = self._current.get().rules(UNASSIGNED)
        reason = decide.decide(name, without_brakes(rules), 0).reason
        if reason.kind is not ReasonKind.LOCKED or reason.category is None:
            return None
        return rules.categories[reason.category].title

    def lists(self) -> Mapping[str, str]:
        return {one.id: one.category for one in self._current.get().base.lists}


def without_brakes(rules: Rules) -> Rules:
    return replace(rules, brakes={}) if rules.brakes else rules
