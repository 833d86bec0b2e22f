"""The written request: submit, ask, answer, approve, deny, withdraw, appeal, renew.

Every change goes through `workflow.TABLE` and is compare-and-set on `revision`: of two reviewers who decide at once one
wins and the other is told who did what. An approval, its grant, its audit event and the row that asks for publication
are one transaction. Nobody decides their own request; a machine decides nothing. Looking at requests: `queue.py`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import desc, func, update
from sqlmodel import Session, col, select

from blocklists.policy import EVERY_SITE, Audience
from portal import access, audit, moments
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.desk import workflow
from portal.desk.tools import MAX_TOOLS, Tool, ToolDraft, store, stored, understand
from portal.desk.workflow import Event, Party
from portal.doors import grants
from portal.doors.grants import EntryDraft, GrantDraft
from portal.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, TooMany
from portal.fields import Mistakes
from portal.models.people import User
from portal.models.requests import Request, RequestNote
from portal.models.words import State, Use
from portal.outbox import ask_publication
from portal.places import district
from portal.rules.blocking import known_services

MAX_TEXT = 4000
MAX_PER_HOUR = 30  # requests of one person
SAME_WITHIN = 3600  # seconds


@dataclass(frozen=True, slots=True)
class Draft:
    """A request as typed. Only tools and purpose are required; what is left empty is taken from `defaults`."""

    tools: tuple[ToolDraft, ...]
    purpose: str
    use: str = ""
    audiences: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    starts_on: str = ""  # ISO date in the district's zone
    ends_on: str = ""  # ISO date, that day included


def defaults(session: Session, actor: Actor, now: float) -> Draft:
    """Return the prefilled request: own school, my students and me, today, end of term."""
    today = district.today(session, now)
    return Draft(
        tools=(),
        purpose="",
        use=Use.VIEW,
        audiences=(Audience.STUDENTS, Audience.STAFF),
        sites=(actor.site_id or EVERY_SITE,),
        starts_on=today.isoformat(),
        ends_on=_end_of_term(session, today).isoformat(),
    )


def _end_of_term(session: Session, start: date) -> date:
    """The term's last day; once that has passed, a month from `start`."""
    end = date.fromisoformat(district.get(session).term_ends_on)
    return end if end >= start else start + timedelta(days=30)


def submit(session: Session, actor: Actor, now: float, draft: Draft, *, once: bool = False) -> Request:
    """Return the new request; with `once`, the one that says the same and still waits, when there is one: a form that
    was sent twice. Raises `Invalid` with every field's error at once, `Forbidden` for machines, `TooMany`."""
    access.require(access.may_submit(actor), "A request is written by a person: sign in with your own account.")
    mistakes = Mistakes()
    tools = _tools(session, mistakes, draft.tools)
    purpose = mistakes.text(
        "purpose", draft.purpose, "say what students will learn or do with it; the policy asks for it", MAX_TEXT
    )
    usual = defaults(session, actor, now)
    row = _read(session, mistakes, draft, usual, now)
    mistakes.stop()
    row.tools, row.purpose = [store(tool) for tool in tools], purpose
    if once and (same := _sent_already(session, row, actor, now)) is not None:
        return same
    _not_too_many(session, actor, now)
    return _create(session, actor, now, row)


def _sent_already(session: Session, row: Request, actor: Actor, now: float) -> Request | None:
    """The request that says the same, when it was sent lately and waits."""
    wanted = select(Request).where(
        col(Request.requester_id) == actor.user_id,
        col(Request.state) == State.SUBMITTED,
        col(Request.created_at) > int(now) - SAME_WITHIN,
    )
    fields = ("tools", "purpose", "use", "audiences", "sites", "starts_on", "ends_on")
    found = session.exec(wanted.order_by(col(Request.id)))
    return next((one for one in found if all(getattr(one, name) == getattr(row, name) for name in fields)), None)


def _not_too_many(session: Session, actor: Actor, now: float) -> None:
    """Raises `TooMany` beyond what a person can mean: the queue is people's time."""
    lately = col(Request.requester_id) == actor.user_id, col(Request.created_at) > int(now) - 3600
    if session.exec(select(func.count()).select_from(Request).where(*lately)).one() >= MAX_PER_HOUR:
        raise TooMany(f"You have sent {MAX_PER_HOUR} requests within an hour. Try again later, or ask the desk.")


def _tools(session: Session, mistakes: Mistakes, drafts: tuple[ToolDraft, ...]) -> tuple[Tool, ...]:
    if not drafts:
        mistakes.add("tools", "say which website or app")
    if len(drafts) > MAX_TOOLS:
        mistakes.add("tools", f"one request names at most {MAX_TOOLS} tools; write another one")
    found: list[Tool] = []
    services = known_services(session)
    for at, draft in enumerate(drafts[:MAX_TOOLS]):
        tool, errors = understand(draft, services, f"tools[{at}]")
        for error in errors:
            mistakes.add(error.field, error.message)
        if tool is not None:
            found.append(tool)
    return tuple(found)


def _read(session: Session, mistakes: Mistakes, draft: Draft, usual: Draft, now: float) -> Request:
    """Return a new row with everything but tools and purpose, what was left empty taken from `usual`."""
    audiences = draft.audiences or usual.audiences
    start = mistakes.date("starts_on", draft.starts_on or usual.starts_on)
    end = mistakes.date("ends_on", draft.ends_on or _later(usual.ends_on, start))
    if start is not None and start < district.today(session, now):
        mistakes.add("starts_on", "this day is over; choose today or a later one")
    if start is not None and end is not None:
        if end < start:
            mistakes.add("ends_on", "this is before the first day")
        elif (end - start).days >= grants.MAX_DAYS:
            mistakes.add("ends_on", f"a request covers at most {grants.MAX_DAYS} days; it can be renewed")
        elif end.year >= 2099:
            mistakes.add("ends_on", "that year is not meant")
    return Request(
        uuid=str(uuid.uuid4()),
        requester_id=0,
        purpose="",
        use=mistakes.word("use", draft.use or usual.use, Use, Use.VIEW),
        audiences=[str(one) for one in mistakes.words("audiences", audiences, Audience, "say who needs it")],
        sites=list(grants.read_sites(session, mistakes, "sites", draft.sites or usual.sites)),
        starts_on="" if start is None else start.isoformat(),
        ends_on="" if end is None else end.isoformat(),
        created_at=int(now),
        updated_at=int(now),
    )


def _later(usual: str, start: date | None) -> str:
    """The usual end, unless the request starts after it."""
    if start is None or start <= date.fromisoformat(usual):
        return usual
    return (min(start, date(9999, 1, 1)) + timedelta(days=30)).isoformat()


def _create(session: Session, actor: Actor, now: float, row: Request) -> Request:
    assert actor.user_id is not None
    row.requester_id = actor.user_id
    row.state = workflow.after(None, Event.SUBMIT)
    session.add(row)
    session.flush()
    _note(session, actor, now, row, Event.SUBMIT, "")
    detail: audit.Detail = {
        "names": [name for tool in row.tools for name in tool["names"]],
        "audiences": row.audiences,
        "sites": row.sites,
        "from": row.starts_on,
        "until": row.ends_on,
        "renews": row.renews_id,
    }
    audit.record(session, actor, int(now * 1000), "request.request.submit", f"request:{row.id}", detail)
    return row


def answer(session: Session, actor: Actor, now: float, request_id: int, revision: int, text: str) -> Request:
    row = _turn(session, actor, now, request_id, revision, Event.ANSWER)
    return _advance(session, actor, now, row, Event.ANSWER, _required(text, "text", "write your answer"))


def withdraw(session: Session, actor: Actor, now: float, request_id: int, revision: int, text: str = "") -> Request:
    row = _turn(session, actor, now, request_id, revision, Event.WITHDRAW)
    return _advance(session, actor, now, row, Event.WITHDRAW, _required(text, "text", ""))


def appeal(session: Session, actor: Actor, now: float, request_id: int, revision: int, text: str) -> Request:
    """Bring a denied (or "not our block") request back to the desk, with what it should consider."""
    row = _turn(session, actor, now, request_id, revision, Event.APPEAL)
    return _advance(
        session, actor, now, row, Event.APPEAL, _required(text, "text", "say what the desk should consider")
    )


def renew(
    session: Session,
    actor: Actor,
    now: float,
    request_id: int,
    revision: int,
    purpose: str = "",
    starts_on: str = "",
    ends_on: str = "",
) -> Request:
    """Return the new request that renews an approved one: the same tools, purpose, audience and sites unless said
    otherwise, from today (or the day after the old one's last) to the end of term."""
    old = _turn(session, actor, now, request_id, revision, Event.RENEW)
    live = (State.SUBMITTED, State.ASKED, State.APPROVED)
    renewals = select(Request.id).where(Request.renews_id == old.id, col(Request.state).in_(live))
    if (other := session.exec(renewals).first()) is not None:
        raise Conflict(f"Request {other} renews this one already.")
    mistakes = Mistakes()
    first = max(district.today(session, now), date.fromisoformat(old.ends_on) + timedelta(days=1))
    usual = Draft(
        (),
        "",
        old.use,
        tuple(old.audiences),
        tuple(old.sites),
        first.isoformat(),
        _end_of_term(session, first).isoformat(),
    )
    row = _read(session, mistakes, Draft((), "", starts_on=starts_on, ends_on=ends_on), usual, now)
    row.purpose = mistakes.text("purpose", purpose or old.purpose, "say what it is needed for", MAX_TEXT)
    mistakes.stop()
    row.tools, row.renews_id = list(old.tools), old.id
    _advance(session, actor, now, old, Event.RENEW, "")
    return _create(session, actor, now, row)


def proposal(session: Session, request_id: int) -> GrantDraft:
    """Return the grant that the request asks for: what a reviewer starts from, and what an approval without a grant
    of its own gives."""
    row = session.get(Request, request_id)
    if row is None:
        raise NotFound(f"There is no request {request_id}.")
    wanted = dict.fromkeys(name for tool in row.tools for name in stored(tool).names)
    return GrantDraft(
        entries=tuple(EntryDraft(name) for name in wanted),
        sites=tuple(row.sites),
        audiences=tuple(row.audiences),
        starts_at=row.starts_on,
        ends_at=row.ends_on,
    )


def decide(
    session: Session,
    actor: Actor,
    now: float,
    request_id: int,
    revision: int,
    decision: Event,
    reason: str,
    grant: GrantDraft | None,
    catalogue: Catalogue,
) -> Request:
    """Approve, deny, ask or answer "not our block". All but an approval need a reason.

    Raises `Conflict` when somebody was faster (and says who did what) or the state does not allow it, `Forbidden` for
    one's own request, machines and everybody who is no reviewer, `Invalid` with every mistake of the grant.
    """
    if workflow.PARTIES[decision] is not Party.REVIEWER:
        what = f"{str(decision)!r} is not a decision; choose approve, deny, ask or not-our-block"
        raise Invalid("This is not a decision.", (FieldError("decision", what),))
    row = _turn(session, actor, now, request_id, revision, decision)
    mistakes = Mistakes()
    missing = "" if decision is Event.APPROVE else "say why, in a sentence for the requester"
    reason = mistakes.text("reason", reason, missing, MAX_TEXT)
    scope: grants.Scope | None = None
    if decision is Event.APPROVE:
        draft = proposal(session, request_id) if grant is None else grant
        scope, errors = grants.check(session, now, draft, catalogue, "grant.")
        for error in errors:
            mistakes.add(error.field, error.message)
    elif grant is not None:
        mistakes.add("grant", "only an approval gives a grant")
    mistakes.stop()
    if scope is None:
        return _advance(session, actor, now, row, decision, reason)
    return _approve(session, actor, now, row, reason, scope)


def _approve(session: Session, actor: Actor, now: float, row: Request, reason: str, scope: grants.Scope) -> Request:
    tag = _advance_row(session, actor, now, row, Event.APPROVE, reason)
    grant = grants.create_for_request(session, actor, now, row, scope, reason)
    detail: audit.Detail = {
        "revision": row.revision,
        "grant": grant.id,
        "entries": [f"{entry.name} {entry.match}" for entry in scope.entries],
        "sites": list(scope.sites),
        "audiences": [str(one) for one in scope.audiences],
        "from": scope.window.starts_at,
        "until": scope.window.ends_at,
        "lifts_rewrites": scope.lifts_rewrites,
        "hours": grant.hours,
    }
    now_ms = int(now * 1000)
    ask_publication(session, now_ms, audit.record(session, actor, now_ms, tag, f"request:{row.id}", detail))
    return row


def _required(text: str, field: str, missing: str) -> str:
    mistakes = Mistakes()
    text = mistakes.text(field, text, missing, MAX_TEXT)
    mistakes.stop()
    return text


def _turn(session: Session, actor: Actor, now: float, request_id: int, revision: int, event: Event) -> Request:
    """Return the request when it is this actor's turn for `event`: visible, theirs to do, unchanged, and in a state
    for it; in that order, so that nobody learns of a request that is not theirs."""
    row = session.get(Request, request_id)
    if row is None or not access.may_see_request(actor, row.requester_id):
        raise NotFound(f"There is no request {request_id}.")
    if workflow.PARTIES[event] is Party.REVIEWER:
        access.require(access.may_review(actor), _who_decides(actor))
        access.require(actor.user_id != row.requester_id, "Nobody decides their own request; another reviewer does.")
    elif not actor.is_person or actor.user_id != row.requester_id:
        raise Forbidden("Only the person who wrote the request does this.")
    if row.revision != revision:
        raise _lost(session, now, row)
    workflow.after(row.state, event)
    return row


def _who_decides(actor: Actor) -> str:
    if actor.machine:
        return "A machine's token decides nothing."
    return "Only a reviewer decides requests; being an administrator is not enough."


def _advance(session: Session, actor: Actor, now: float, row: Request, event: Event, text: str) -> Request:
    tag = _advance_row(session, actor, now, row, event, text)
    detail: audit.Detail = {"revision": row.revision, "state": str(row.state)}
    audit.record(session, actor, int(now * 1000), tag, f"request:{row.id}", detail)
    return row


def _advance_row(session: Session, actor: Actor, now: float, row: Request, event: Event, text: str) -> str:
    """Compare and set; note what was said. Returns the tag to record it under."""
    reviewing = workflow.PARTIES[event] is Party.REVIEWER
    values: dict[str, object] = {
        "state": workflow.after(row.state, event),
        "revision": row.revision + 1,
        "updated_at": int(now),
    }
    if reviewing and event is not Event.ASK:
        values |= {"decided_by": actor.user_id, "decided_at": int(now)}
    elif event is Event.APPEAL:
        values |= {"decided_by": None, "decided_at": None}
    mine = update(Request).where(
        col(Request.id) == row.id, col(Request.revision) == row.revision, col(Request.state) == row.state
    )
    won = session.execute(mine.values(values).execution_options(synchronize_session=False))
    session.refresh(row)
    if getattr(won, "rowcount", 0) != 1:
        raise _lost(session, now, row)
    _note(session, actor, now, row, event, text)
    return f"request.{'decision' if reviewing else 'request'}.{event}"


def _note(session: Session, actor: Actor, now: float, row: Request, event: Event, text: str) -> None:
    assert row.id is not None and actor.user_id is not None
    session.add(RequestNote(request_id=row.id, author_id=actor.user_id, event=event, text=text, at=int(now)))


def _lost(session: Session, now: float, row: Request) -> Conflict:
    """Say who was faster, and with what: "Rosa Diaz approved this at 10:42 CST; reload to see it"."""
    newest = select(RequestNote, User).join(User, col(User.id) == col(RequestNote.author_id))
    newest = newest.where(RequestNote.request_id == row.id).order_by(desc(col(RequestNote.id))).limit(1)
    found = session.exec(newest).first()
    if found is None:
        return Conflict("This request has changed; reload to see it.")
    note, author = found
    at = moments.words(note.at, now, district.zone(session))
    return Conflict(f"{author.name} {workflow.PAST[Event(note.event)]} this {at}; reload to see it.")
