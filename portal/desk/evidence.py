"""What a request's names mean before anybody decides: blocked for whom and why, what a yes would open, what was said
about them before, and which platforms of the register open them already.

Text in (a name, a pasted URL, a service's name), findings out; a text that is none of these is a finding too, with a
sentence for the person. Reads the current snapshot and earlier requests; changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import String, cast
from sqlmodel import Session, col, select

from blocklists import decide, names
from blocklists.base import ListKind
from blocklists.names import BadName
from blocklists.policy import UNASSIGNED, Action, Audience, AuthorityKind, Reason, ReasonKind, Verdict
from blocklists.snapshot import Snapshot
from portal.doors import register_grants
from portal.models.requests import Request
from portal.models.words import State
from portal.verdicts.explain import without_brakes

MAX_TEXTS = 20  # tools of one request
MAX_EARLIER = 5


@dataclass(frozen=True, slots=True)
class Blocked:
    """What one audience meets now, over its groups: at which sites it is blocked, at which open; the first reason."""

    audience: Audience
    blocked: tuple[str, ...]
    open: tuple[str, ...]
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A decision on the same site: number and date, no person and no purpose."""

    request: int
    state: State
    decided_at: int | None
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """About one text. `problem`: why it is no name; then the rest is empty. `refusal`: why no request can open it,
    in words; None when one can. `entries`: what a grant would open, the service's whole bundle where there is one.
    `platforms`: entries of the register that open it for somebody already, as `register 2026-27: NAME`."""

    typed: str
    problem: str | None = None
    name: str = ""
    dropped_path: bool = False
    is_blocked: bool = False  # for at least one group
    blocked: tuple[Blocked, ...] = ()
    category: str | None = None
    category_title: str | None = None
    service: str | None = None
    service_title: str | None = None
    list: str | None = None
    entry: str | None = None
    refusal: str | None = None
    registrable: str | None = None
    entries: tuple[str, ...] = ()
    opens: str = ""  # the blast radius, in words
    earlier: tuple[Earlier, ...] = ()
    platforms: tuple[str, ...] = ()


def evidence(session: Session, snapshot: Snapshot, texts: Sequence[str], at: float) -> tuple[Finding, ...]:
    """Return a finding for each of the first `MAX_TEXTS` texts, in their order. `at`: seconds since 1970."""
    return tuple(_finding(session, snapshot, text, at) for text in texts[:MAX_TEXTS])


def _finding(session: Session, snapshot: Snapshot, text: str, at: float) -> Finding:
    bundle = _service_named(snapshot, text)
    try:
        typed = names.Typed(bundle[0], False) if bundle else names.understand(text)
    except BadName as error:
        return Finding(text, problem=error.reason)
    name = typed.name
    if not bundle and name == "localhost":
        return Finding(text, problem="localhost is the device itself; no resolver answers for it")
    if not bundle and "." not in name:
        return Finding(text, problem=f"{name} is one word; write the site's whole address, like {name}.com")
    met, grants = _met(snapshot, name, at)
    reason = _strictest(snapshot, name, at)
    info = next((one for one in snapshot.base.lists if one.id == reason.list), None)
    service = next((one for one in snapshot.base.lists if one.id == reason.service), None)
    categories = {one.id: one for one in snapshot.policy.categories}
    if not bundle and reason.service is not None:
        bundle = _bundle(snapshot, reason.service)
    registrable = names.registrable(name)
    entries = bundle or (_without_www(name, registrable),)
    return Finding(
        typed=text,
        name=name,
        dropped_path=typed.had_path,
        is_blocked=any(one.blocked for one in met),
        blocked=met,
        category=reason.category,
        category_title=categories[reason.category].title if reason.category in categories else None,
        service=reason.service,
        service_title=None if service is None else service.title,
        list=None if info is None else info.id,
        entry=reason.entry,
        refusal=_refusal(snapshot, name, reason),
        registrable=registrable,
        entries=entries,
        opens=_opens(entries, typed.had_path, None if service is None else service.title),
        earlier=() if registrable is None else _earlier(session, registrable),
        platforms=_platforms(session, grants),
    )


def _service_named(snapshot: Snapshot, text: str) -> tuple[str, ...]:
    """The bundle of the service that `text` names by title or id; empty when it names none."""
    wanted = text.strip().casefold()
    for one in snapshot.base.lists:
        if one.kind is ListKind.SERVICE and wanted in (one.id.casefold(), one.title.casefold()):
            return _bundle(snapshot, one.id)
    return ()


def _bundle(snapshot: Snapshot, service: str) -> tuple[str, ...]:
    for index, one in enumerate(snapshot.base.lists):
        if one.kind is ListKind.SERVICE and one.id == service:
            return _telling_first(service, snapshot.base.bundles[index])
    return ()


def _telling_first(service: str, bundle: tuple[str, ...]) -> tuple[str, ...]:
    """The bundle with the name that people know first: the one that is the service's id, at .com before other endings
    (`pinterest.com`, then `pinterest.at`); else the shortest."""

    def place(name: str) -> tuple[bool, bool, int, str]:
        label, _, ending = name.partition(".")
        return label != service, label == service and ending != "com", len(name), name

    return tuple(sorted(bundle, key=place))


def _platforms(session: Session, grants: frozenset[int]) -> tuple[str, ...]:
    """The register's entries among the authorities of these grants."""
    if not grants:
        return ()
    labels = register_grants.labels(session)
    return tuple(sorted(labels[number] for number in grants if number in labels))


def _met(snapshot: Snapshot, name: str, at: float) -> tuple[tuple[Blocked, ...], frozenset[int]]:
    """What each audience meets, and the numbers of the register's grants that let somebody through."""
    grants: set[int] = set()
    verdicts: dict[int, Verdict] = {}
    found: dict[Audience, tuple[list[str], list[str], list[Reason]]] = {}
    for group in snapshot.policy.groups:
        rules = snapshot.rules(group.id)
        if rules.number not in verdicts:
            verdicts[rules.number] = decide.decide(name, rules, at)
        verdict = verdicts[rules.number]
        shut, through, reasons = found.setdefault(group.audience, ([], [], []))
        if verdict.action is Action.ALLOW:
            through.append(group.site)
            authority = verdict.reason.authority
            if authority is not None and authority.kind is AuthorityKind.REGISTER:
                grants.add(authority.number)
        else:
            shut.append(group.site)
            reasons.append(verdict.reason)
    met = tuple(
        Blocked(
            audience,
            tuple(sorted(found[audience][0])),
            tuple(sorted(found[audience][1])),
            next(iter(found[audience][2]), None),
        )
        for audience in Audience
        if audience in found
    )
    return met, frozenset(grants)


def _strictest(snapshot: Snapshot, name: str, at: float) -> Reason:
    """Where the name is listed at all: what an unassigned client meets, brakes aside."""
    return decide.decide(name, without_brakes(snapshot.rules(UNASSIGNED)), at).reason


def _refusal(snapshot: Snapshot, name: str, reason: Reason) -> str | None:
    try:
        names.grantable(name)
    except BadName as error:
        return error.reason
    rules = snapshot.rules(UNASSIGNED)
    for above in names.ancestors(name):
        if (number := rules.brakes.get(above)) is not None:
            return f"an administrator has pulled the brake on {above} (brake {number})"
    if reason.kind is ReasonKind.LOCKED and reason.category is not None:
        return f"{rules.categories[reason.category].title} is locked: no request opens it"
    if reason.kind is ReasonKind.BYPASS:
        return "with this name a device asks whether it may leave the filter; no request opens it"
    if reason.kind is ReasonKind.OWN:
        return "this is the district's own name; the filter does not block it"
    return None


def _without_www(name: str, registrable: str | None) -> str:
    return name.removeprefix("www.") if registrable and name != registrable else name


def _opens(entries: tuple[str, ...], had_path: bool, service: str | None) -> str:
    if service is not None and len(entries) > 1:
        return f"this opens all of {service}: {', '.join(entries[:3])}" + (
            f" and {len(entries) - 3} more names" if len(entries) > 3 else ""
        )
    page = ", not one page" if had_path else " and everything below it"
    return f"this opens all of {entries[0]}{page}"


def _earlier(session: Session, name: str) -> tuple[Earlier, ...]:
    """The newest decided requests that name this site. The text search only narrows; the names are compared whole."""
    decided = (State.APPROVED, State.DENIED, State.NOT_OUR_BLOCK)
    rows = session.exec(
        select(Request)
        .where(col(Request.state).in_(decided))
        .where(cast(col(Request.tools), String).contains(name, autoescape=True))
        .order_by(col(Request.id).desc())
        .limit(50)
    )
    found = []
    for row in rows:
        tools = tuple(str(tool.get("name", "")) for tool in row.tools)
        if any(names.is_at_or_below(one, name) for tool in row.tools for one in _names_in(tool)):
            found.append(Earlier(row.id or 0, row.state, row.decided_at, tools))
    return tuple(found[:MAX_EARLIER])


def _names_in(tool: dict[str, object]) -> list[str]:
    """The names of a stored tool, however much of it was understood when it was written."""
    found: list[str] = []
    texts: list[object] = [tool.get("name")]
    for key in ("names", "urls"):
        if isinstance(many := tool.get(key), list):
            texts += many
    for text in texts:
        try:
            found.append(names.understand(str(text)).name)
        except BadName:
            continue
    return found
