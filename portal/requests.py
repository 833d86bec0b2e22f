"""The written request: submit, ask, answer, approve, deny, withdraw, appeal, renew.

Every change goes through `workflow.TABLE` and is compare-and-set on `revision`: of two reviewers who decide at once one
wins and the other is told who did what. An approval, its grant, its audit event and the row that asks for publication
are one transaction. Nobody decides their own request; a machine decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from blocklists.policy import Audience
from portal.access import Actor
from portal.catalogue import Catalogue
from portal.errors import FieldError
from portal.grants import GrantDraft, GrantView
from portal.models import State, Use
from portal.workflow import Event


@dataclass(frozen=True, slots=True)
class ToolDraft:
    """What the requester names: a service by id or title, a host name, or a pasted URL; `urls` are examples."""

    name: str
    urls: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as understood. `names`: the service's bundle, or the hosts of name and URLs. `dropped_path`: a page was
    pasted, and the request is for its whole site."""

    name: str
    service: str | None
    urls: tuple[str, ...]
    names: tuple[str, ...]
    dropped_path: bool


@dataclass(frozen=True, slots=True)
class Note:
    author: str
    author_id: int
    event: Event
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request with everything a page shows. `may`: what the actor who asked may do to it now."""

    id: int
    uuid: str
    state: State
    revision: int
    requester_id: int
    requester: str
    tools: tuple[Tool, ...]
    purpose: str
    use: Use
    audiences: tuple[Audience, ...]
    sites: tuple[str, ...]
    starts_on: str
    ends_on: str
    renews_id: int | None
    created_at: int
    updated_at: int
    decided_by: str | None
    decided_at: int | None
    notes: tuple[Note, ...]
    grants: tuple[GrantView, ...]
    may: frozenset[Event]


def defaults(session: Session, actor: Actor, now: float) -> Draft:
    """Return the prefilled request: own school, my students and me, today, end of term."""
    raise NotImplementedError


def understand(draft: ToolDraft, where: str = "tools[0]") -> tuple[Tool | None, list[FieldError]]:
    """Return what one tool means, or what is wrong with it. Pure; for pages while typing, and for `submit`."""
    raise NotImplementedError


def submit(session: Session, actor: Actor, now: float, draft: Draft) -> RequestView:
    """Raises `Invalid` with every field's error at once, `Forbidden` for machines."""
    raise NotImplementedError


def answer(session: Session, actor: Actor, now: float, request_id: int, revision: int, text: str) -> RequestView:
    raise NotImplementedError


def withdraw(session: Session, actor: Actor, now: float, request_id: int, revision: int, text: str = "") -> RequestView:
    raise NotImplementedError


def appeal(session: Session, actor: Actor, now: float, request_id: int, revision: int, text: str) -> RequestView:
    raise NotImplementedError


def renew(
    session: Session,
    actor: Actor,
    now: float,
    request_id: int,
    revision: int,
    purpose: str = "",
    starts_on: str = "",
    ends_on: str = "",
) -> RequestView:
    """Return the new request that renews an approved one: the same tools, purpose, audience and sites unless said
    otherwise, from today (or the day after the old one's last) to the end of term."""
    raise NotImplementedError


def proposal(session: Session, request_id: int) -> GrantDraft:
    """Return the grant that the request asks for: what a reviewer starts from, and what an approval without a grant
    of its own gives."""
    raise NotImplementedError


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
) -> RequestView:
    """Approve, deny, ask or answer "not our block". All but an approval need a reason.

    Raises `Conflict` when somebody was faster (and says who did what) or the state does not allow it, `Forbidden` for
    one's own request, machines and everybody who is no reviewer, `Invalid` with every mistake of the grant.
    """
    raise NotImplementedError


def get(session: Session, actor: Actor, now: float, request_id: int) -> RequestView:
    """Raises `NotFound` when there is none, or none that this actor may see."""
    raise NotImplementedError


def find(
    session: Session,
    actor: Actor,
    now: float,
    states: frozenset[State] = frozenset(),
    mine: bool = False,
    before: int | None = None,
    limit: int = 100,
) -> tuple[RequestView, ...]:
    """Return requests that the actor may see, newest first; empty `states`: all; `before` a number, to page on."""
    raise NotImplementedError
