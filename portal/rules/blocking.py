"""What can be blocked: categories, and services with their switches per group."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from blocklists import policy
from blocklists.policy import AnswerStyle, Switch
from blocklists.seed import SeedService, load_seed
from portal import access, audit
from portal.access import Actor
from portal.errors import FieldError, Invalid, NotFound
from portal.fields import Mistakes
from portal.models.district import CategoryRow, ClientGroup, GroupService
from portal.outbox import record_change
from portal.rules import rule_book
from portal.rules.rule_book import Line
from portal.rules.services import Known, known

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_ONLY_ADMINISTRATORS = "Only an administrator changes what is blocked."


@dataclass(frozen=True, slots=True)
class CategoryDraft:
    title: str
    description: str
    locked: bool
    style: str


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service, and the groups that switch it."""

    id: str
    title: str
    category: str
    kind: str
    names: tuple[str, ...]
    exceptions: tuple[str, ...]
    origin: str  # `seed`, `district`, or the source that brought it
    revision: int
    switches: Mapping[str, Switch]  # group id -> switch


def known_services(session: Session) -> Mapping[str, SeedService]:
    """Return every service by id: of the seed, of collections that are on, and the district's own, as edited."""
    return {id: one.service for id, one in known(session).items()}


@cache
def _locked_by_seed() -> frozenset[str]:
    return frozenset(one.id for one in load_seed().categories if one.locked)


def categories(session: Session) -> tuple[CategoryRow, ...]:
    return tuple(session.exec(select(CategoryRow).order_by(col(CategoryRow.id))))


def category(session: Session, wanted: str) -> CategoryRow:
    row = session.get(CategoryRow, wanted)
    if row is None:
        raise NotFound(f"There is no category {wanted[:40]!r}.")
    return row


def policy_categories(session: Session) -> tuple[policy.Category, ...]:
    return tuple(policy.Category(row.id, row.title, row.locked, row.style) for row in categories(session))


def create_category(session: Session, actor: Actor, now: float, category_id: str, draft: CategoryDraft) -> CategoryRow:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes = Mistakes()
    if not _ID.match(category_id) or len(category_id) > 40:
        mistakes.add("id", "write a short id: small letters, digits and hyphens, like `games`")
    elif session.get(CategoryRow, category_id) is not None:
        mistakes.add("id", f"there is a category {category_id!r} already")
    title, description, style = _read(mistakes, draft)
    mistakes.stop()
    row = CategoryRow(id=category_id, title=title, description=description, locked=draft.locked, style=style)
    session.add(row)
    detail: audit.Detail = {"title": title, "locked": draft.locked, "style": style}
    record_change(session, actor, now, "district.category.create", f"category:{row.id}", detail)
    return row


def update_category(session: Session, actor: Actor, now: float, category_id: str, draft: CategoryDraft) -> CategoryRow:
    """A category that ships locked (law, safety) stays locked."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = category(session, category_id)
    mistakes = Mistakes()
    title, description, style = _read(mistakes, draft)
    if not draft.locked and category_id in _locked_by_seed():
        mistakes.add("locked", f"{row.title} is locked by law or for safety; it cannot be opened to requests")
    mistakes.stop()
    detail: audit.Detail = {
        "title": [row.title, title],
        "locked": [row.locked, draft.locked],
        "style": [row.style, style],
    }
    row.title, row.description, row.locked, row.style = title, description, draft.locked, style
    record_change(session, actor, now, "district.category.update", f"category:{row.id}", detail)
    return row


def _read(mistakes: Mistakes, draft: CategoryDraft) -> tuple[str, str, AnswerStyle]:
    return (
        mistakes.text("title", draft.title, "write the category's title", 80),
        mistakes.text("description", draft.description, "", 500),
        mistakes.word("style", draft.style, AnswerStyle, AnswerStyle.NXDOMAIN),
    )


def services(session: Session) -> tuple[ServiceView, ...]:
    """Return every service, by title, with the groups' own switches (a guests group follows its students)."""
    switches: dict[str, dict[str, Switch]] = {}
    for row in session.exec(select(GroupService).order_by(col(GroupService.group_id))):
        switches.setdefault(row.service, {})[row.group_id] = row.switch
    found = sorted(known(session).values(), key=lambda one: one.service.title.casefold())
    return tuple(_service_view(one, switches.get(one.service.id, {})) for one in found)


def service(session: Session, wanted: str) -> ServiceView:
    for view in services(session):
        if view.id == wanted:
            return view
    raise NotFound(f"There is no service {wanted[:40]!r}.")


def _service_view(one: Known, switches: Mapping[str, Switch]) -> ServiceView:
    of = one.service
    return ServiceView(
        of.id, of.title, of.category, of.kind, of.names, of.exceptions, one.origin, one.revision, switches
    )


def switch_service(
    session: Session, actor: Actor, now: float, service_id: str, group_ids: tuple[str, ...], switch: Switch | None
) -> ServiceView:
    """Switch one service for these groups; None: it follows its category again."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    service = known_services(session).get(service_id)
    if service is None:
        raise NotFound(f"There is no service {service_id[:40]!r}.")
    held = session.get(CategoryRow, service.category)
    if held is not None and held.locked:
        what = f"{service.title} is in {held.title}, which is locked; it cannot be switched"
        raise Invalid("This service cannot be switched.", (FieldError("service", what),))
    mistakes = Mistakes()
    groups = {row.id: row for row in session.exec(select(ClientGroup))}
    wanted = mistakes.known("groups", group_ids, groups, "group")
    if not group_ids:
        mistakes.add("groups", "name at least one group")
    mistakes.stop()
    mine = col(GroupService.service) == service_id, col(GroupService.group_id).in_(wanted)
    session.execute(delete(GroupService).where(*mine))
    if switch is not None:
        session.add_all(GroupService(group_id=one, service=service_id, switch=switch) for one in wanted)
    session.execute(
        update(ClientGroup)
        .where(col(ClientGroup.id).in_(wanted))
        .values(revision=ClientGroup.revision + 1)
        .execution_options(synchronize_session=False)
    )
    session.flush()
    session.expire_all()
    say = rule_book.INHERIT if switch is None else str(switch)
    lines = [Line(f"group/{one}", f"service/{service_id}", say) for one in wanted if not one.endswith("/guests")]
    rule_book.record(session, actor.user_id, now, lines, "Switched for these groups.")
    word = "as its category" if switch is None else str(switch)
    detail: audit.Detail = {"groups": list(wanted), "switch": word}
    record_change(session, actor, now, "district.service.switch", f"service:{service_id}", detail)
    return next(view for view in services(session) if view.id == service_id)
