"""The district: its sites and client groups. Rows in; rows and policy values out.

Every change is compare-and-set on the group's `revision`, audited with the changed values, and asks for publication.
`preview` shows a change before it is made. Guests take the blocks of their site's students: a guests group follows its
students group wherever there is one. Categories and services are in `blocking.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import delete, desc, update
from sqlmodel import Session, col, select

from blocklists import policy
from blocklists.policy import EVERY_SITE, UNASSIGNED, Audience, Switch, YouTube
from portal import access, audit, natural
from portal.access import Actor
from portal.errors import Conflict, NotFound
from portal.fields import Mistakes
from portal.models.audit import AuditEvent
from portal.models.district import CategoryRow, ClientGroup, District, GroupService, Site
from portal.outbox import record_change
from portal.places import claims, profiles
from portal.rules import rule_book
from portal.rules.blocking import known_services

LEVELS = ("elementary", "middle", "high", "office", "away")
_SITE_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
OBSERVE_SECONDS = 14 * 86_400  # a new group logs what it would block, this long at most
_ONLY_ADMINISTRATORS = "Only an administrator changes the district's sites, groups and blocks."


@dataclass(frozen=True, slots=True)
class SiteDraft:
    id: str  # small letters, digits and hyphens; never changes
    name: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class GroupDraft:
    """A whole group as it shall be. `services`: service id -> allow | block; the rest follows its category."""

    site: str
    audience: str
    networks: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    safe_search: bool = False
    youtube: str = "off"  # off | moderate | strict


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group with its revision, to compare and set. `follows`: the group whose blocks it takes."""

    group: policy.Group
    site_name: str
    revision: int
    follows: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a preview: what of which group becomes what."""

    group: str
    what: str  # group | networks | asked | category ID | service ID
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    before: tuple[policy.Group, ...]
    after: tuple[policy.Group, ...]
    changes: tuple[Change, ...]


def get(session: Session) -> District:
    """Return the one district; raises `NotFound` before the first run."""
    row = session.get(District, 1)
    if row is None:
        raise NotFound("This portal has no district yet. Start it once with `schoolgate up` or `schoolgate portal`.")
    return row


def zone(session: Session) -> ZoneInfo:
    return ZoneInfo(get(session).zone)


def today(session: Session, now: float) -> date:
    """Return the date in the district's zone."""
    return datetime.fromtimestamp(now, zone(session)).date()


def sites(session: Session) -> tuple[Site, ...]:
    """Return every site, in the order in which people look for names."""
    return tuple(sorted(session.exec(select(Site)), key=lambda site: (natural.order(site.name), site.id)))


def site(session: Session, wanted: str) -> Site:
    row = session.get(Site, wanted)
    if row is None:
        raise NotFound(f"There is no site {wanted[:40]!r}.")
    return row


def create_site(session: Session, actor: Actor, now: float, draft: SiteDraft) -> Site:
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes = Mistakes()
    if not _SITE_ID.match(draft.id) or len(draft.id) > 40 or draft.id in (EVERY_SITE, UNASSIGNED):
        mistakes.add("id", "write a short id: small letters, digits and hyphens, like `edison-high`")
    elif session.get(Site, draft.id) is not None:
        mistakes.add("id", f"there is a site {draft.id!r} already")
    name, level = _site_fields(mistakes, draft)
    mistakes.stop()
    row = Site(id=draft.id, name=name, level=level)
    session.add(row)
    record_change(session, actor, now, "district.site.create", f"site:{row.id}", {"name": name, "level": level})
    return row


def update_site(session: Session, actor: Actor, now: float, site_id: str, draft: SiteDraft) -> Site:
    """Change a site's name and level; its id stays."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    row = site(session, site_id)
    mistakes = Mistakes()
    name, level = _site_fields(mistakes, draft)
    mistakes.stop()
    detail: audit.Detail = {"name": [row.name, name], "level": [row.level, level]}
    row.name, row.level = name, level
    record_change(session, actor, now, "district.site.update", f"site:{row.id}", detail)
    return row


def _site_fields(mistakes: Mistakes, draft: SiteDraft) -> tuple[str, str]:
    if draft.level and draft.level not in LEVELS:
        mistakes.add("level", f"{draft.level[:40]!r} is not one of {', '.join(LEVELS)}")
    return mistakes.text("name", draft.name, "write the site's name", 100), draft.level


def groups(session: Session) -> tuple[GroupView, ...]:
    """Return every group, by id; `[view.group for view in groups(session)]` is what a policy holds."""
    site_names = {site.id: site.name for site in session.exec(select(Site))}
    switches: dict[str, list[policy.ServiceSwitch]] = {}
    for row in session.exec(select(GroupService).order_by(col(GroupService.service))):
        switches.setdefault(row.group_id, []).append(policy.ServiceSwitch(row.service, row.switch))
    held = profiles.digests(session)
    views = [
        GroupView(
            replace(_policy_group(row, switches.get(row.id, ())), profiles=held.get(row.id, ())),
            site_names[row.site_id],
            row.revision,
        )
        for row in session.exec(select(ClientGroup).order_by(col(ClientGroup.id)))
    ]
    return _following(views)


def groups_by_name(session: Session) -> tuple[GroupView, ...]:
    """Return every group in the order in which people look for them: by its site's name, students first."""
    audiences = list(Audience)
    return tuple(
        sorted(
            groups(session),
            key=lambda view: (natural.order(view.site_name), view.group.site, audiences.index(view.group.audience)),
        )
    )


def _policy_group(row: ClientGroup, switches: Iterable[policy.ServiceSwitch]) -> policy.Group:
    return policy.Group(
        id=row.id,
        site=row.site_id,
        audience=Audience(row.audience),
        networks=tuple(row.networks),
        asked=tuple(row.asked),
        blocks=tuple(row.blocks),
        services=tuple(switches),
        observe_until=row.observe_until,
        safe_search=row.safe_search,
        youtube=row.youtube,
    )


def _following(views: Iterable[GroupView]) -> tuple[GroupView, ...]:
    by_id = {view.group.id: view for view in views}
    for key, view in by_id.items():
        leader = by_id.get(group_id(view.group.site, Audience.STUDENTS))
        if view.group.audience is Audience.GUESTS and leader is not None:
            led = leader.group
            taken = replace(
                view.group,
                blocks=led.blocks,
                services=led.services,
                safe_search=led.safe_search,
                youtube=led.youtube,
            )
            by_id[key] = replace(view, group=taken, follows=leader.group.id)
    return tuple(by_id.values())


def group_id(site: str, audience: Audience) -> str:
    return f"{site}/{audience}"


def group(session: Session, wanted: str) -> GroupView:
    for view in groups(session):
        if view.group.id == wanted:
            return view
    raise NotFound(f"There is no group {wanted[:80]!r}.")


def create_group(session: Session, actor: Actor, now: float, draft: GroupDraft) -> GroupView:
    new = add_group(session, actor, now, draft, groups(session))
    return group(session, new.id)


def add_group(
    session: Session, actor: Actor, now: float, draft: GroupDraft, views: Collection[GroupView]
) -> policy.Group:
    """Make a group beside `views`, which are all that there are: whoever makes hundreds reads them once."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    mistakes = Mistakes()
    new = _read_group(session, mistakes, draft, views)
    if any(view.group.id == new.id for view in views):
        mistakes.add("audience", f"there is a group {new.id} already")
    mistakes.stop()
    session.add(
        ClientGroup(
            id=new.id,
            site_id=new.site,
            audience=new.audience,
            networks=list(new.networks),
            asked=list(new.asked),
            blocks=list(new.blocks),
            safe_search=new.safe_search,
            youtube=new.youtube,
            observe_until=int(now) + OBSERVE_SECONDS,
        )
    )
    session.flush()
    session.add_all(GroupService(group_id=new.id, service=one.service, switch=one.switch) for one in new.services)
    record_change(session, actor, now, "district.group.create", f"group:{new.id}", _plain(new))
    return new


def update_group(
    session: Session, actor: Actor, now: float, wanted: str, revision: int, draft: GroupDraft
) -> GroupView:
    """Set a whole group. Raises `Conflict` when somebody changed it since `revision` was read."""
    access.require(access.may_administer(actor), _ONLY_ADMINISTRATORS)
    views = groups(session)
    old = next((view for view in views if view.group.id == wanted), None)
    if old is None:
        raise NotFound(f"There is no group {wanted[:80]!r}.")
    mistakes = Mistakes()
    new = _read_group(session, mistakes, draft, views)
    if new.id != wanted and not mistakes.errors:
        mistakes.add(
            "audience", "a group keeps its site and audience; make another group, and remove this one's networks"
        )
    mistakes.stop()
    _store(session, new, revision)
    rule_book.record(
        session, actor.user_id, now, rule_book.own_rules(old.group, new), "Changed on the group's own page."
    )
    changed = {what: [before, after] for what, before, after in _differences(old.group, new)}
    record_change(session, actor, now, "district.group.update", f"group:{wanted}", changed)
    return group(session, wanted)


def _store(session: Session, new: policy.Group, revision: int) -> None:
    values: dict[str, object] = {"safe_search": new.safe_search, "youtube": new.youtube}
    values |= {"networks": list(new.networks), "asked": list(new.asked), "blocks": list(new.blocks)}
    mine = update(ClientGroup).where(col(ClientGroup.id) == new.id, col(ClientGroup.revision) == revision)
    won = session.execute(mine.values(**values, revision=revision + 1).execution_options(synchronize_session=False))
    if getattr(won, "rowcount", 0) != 1:
        raise Conflict(f"{_last_editor(session, new.id)} changed {new.id} in the meantime; reload to see it.")
    session.expire_all()
    session.execute(delete(GroupService).where(col(GroupService.group_id) == new.id))
    session.add_all(GroupService(group_id=new.id, service=one.service, switch=one.switch) for one in new.services)
    session.flush()


def _last_editor(session: Session, wanted: str) -> str:
    newest = select(AuditEvent).where(AuditEvent.subject == f"group:{wanted}").order_by(desc(col(AuditEvent.id)))
    row = session.exec(newest.limit(1)).first()
    return "Somebody" if row is None else row.actor_name


def preview(session: Session, drafts: Mapping[str, GroupDraft]) -> Preview:
    """Return what setting these groups (by id; new ones too) would change. Writes nothing; raises `Invalid` as the
    change itself would, with paths that begin with the group's id."""
    views = groups(session)
    after = {view.group.id: view for view in views}
    mistakes = Mistakes()
    for key, draft in drafts.items():
        inner = Mistakes()
        new = _read_group(session, inner, draft, after.values())
        for error in inner.errors:
            mistakes.add(f"{key}.{error.field}", error.message)
        after[new.id] = GroupView(new, "", 0)
    mistakes.stop()
    old = {view.group.id: view.group for view in views}
    new_groups = tuple(view.group for view in _following(after.values()))
    changes = [
        Change(one.id, what, before, now_)
        for one in new_groups
        for what, before, now_ in (
            _differences(old[one.id], one) if one.id in old else [("group", "does not exist", "is made")]
        )
    ]
    return Preview(tuple(view.group for view in views), new_groups, tuple(changes))


def _differences(old: policy.Group, new: policy.Group) -> list[tuple[str, str, str]]:
    """What differs, in words: (what, before, after)."""
    found: list[tuple[str, str, str]] = []
    for what, was, will in (("networks", old.networks, new.networks), ("asked", old.asked, new.asked)):
        if set(was) != set(will):
            found.append((what, ", ".join(was) or "none", ", ".join(will) or "none"))
    for category in sorted(set(old.blocks) ^ set(new.blocks)):
        words = ("allowed", "blocked") if category in new.blocks else ("blocked", "allowed")
        found.append((f"category {category}", *words))
    if old.safe_search != new.safe_search:
        found.append(("safe search", *(("on", "off") if old.safe_search else ("off", "on"))))
    if old.youtube != new.youtube:
        found.append(("YouTube mode", str(old.youtube), str(new.youtube)))
    before = {one.service: str(one.switch) for one in old.services}
    after = {one.service: str(one.switch) for one in new.services}
    for service in sorted(before.keys() | after.keys()):
        was_, will_ = before.get(service, "as its category"), after.get(service, "as its category")
        if was_ != will_:
            found.append((f"service {service}", was_, will_))
    return found


def _plain(one: policy.Group) -> audit.Detail:
    return {
        "networks": list(one.networks),
        "asked": list(one.asked),
        "blocks": list(one.blocks),
        "services": {switch.service: str(switch.switch) for switch in one.services},
        "safe_search": one.safe_search,
        "youtube": str(one.youtube),
    }


def _read_group(session: Session, mistakes: Mistakes, draft: GroupDraft, views: Iterable[GroupView]) -> policy.Group:
    """Return the drafted group, every mistake noted. A follower stores no blocks of its own."""
    audience = mistakes.word("audience", draft.audience, Audience, Audience.STUDENTS)
    if session.get(Site, draft.site) is None:
        mistakes.add("site", f"there is no site {draft.site[:40]!r}")
    categories = {row.id: row.locked for row in session.exec(select(CategoryRow))}
    blocks = tuple(one for one in mistakes.known("blocks", draft.blocks, categories, "category") if not categories[one])
    switches = []
    for service, switch in sorted(draft.services.items()):
        known = known_services(session).get(service)
        if known is None:
            mistakes.add(f"services.{service[:40]}", "there is no such service")
        elif categories.get(known.category, False):
            mistakes.add(f"services.{service}", f"{known.title} is in a locked category; it cannot be switched")
        else:
            switches.append(
                policy.ServiceSwitch(service, mistakes.word(f"services.{service}", switch, Switch, Switch.BLOCK))
            )
    new = policy.Group(
        id=group_id(draft.site, audience),
        site=draft.site,
        audience=audience,
        networks=claims.read_networks(mistakes, draft.networks),
        asked=claims.read_asked(mistakes, draft.asked),
        blocks=blocks,
        services=tuple(switches),
        safe_search=draft.safe_search,
        youtube=mistakes.word("youtube", draft.youtube, YouTube, YouTube.OFF),
    )
    others = {view.group.id: view.group for view in views if view.group.id != new.id}
    leader = others.get(group_id(draft.site, Audience.STUDENTS))
    if audience is Audience.GUESTS and leader is not None:
        if (set(new.blocks), set(new.services)) not in ((set(), set()), (set(leader.blocks), set(leader.services))):
            mistakes.add("blocks", f"guests take the students' blocks: change them at {leader.id}")
        new = replace(new, blocks=(), services=(), safe_search=False, youtube=YouTube.OFF)
    claims.note_claimed(mistakes, new, list(others.values()))
    return new
