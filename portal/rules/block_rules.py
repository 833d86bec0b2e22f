"""Rules of what is blocked, and how groups inherit them.

A rule says of one category or service, for one scope: block or allow. The nearest rule decides for a group: its own,
then its site's level's, then the district's for its audience; without any, the group keeps what it was made with.
Guests take the students' rules. Rules are written by changes (`changes.py`), by a group's own page, and by the answer
about staff; the groups' stored blocks, which policies are made of, follow from them in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlmodel import Session, col, select

from blocklists.policy import Audience, Switch
from portal.errors import NotFound
from portal.fields import Mistakes
from portal.models.district import ClientGroup, GroupService, Site
from portal.models.people import User
from portal.models.rules import BlockRule, PolicyChange
from portal.places import district, setup
from portal.rules import rule_book
from portal.rules.blocking import categories, known_services
from portal.rules.rule_book import INHERIT, Line, Rules

MAX_LINES = 200


@dataclass(frozen=True, slots=True)
class Ruling:
    """Which rule decides one thing for one group. `scope` is empty where no rule does."""

    thing: str
    say: str  # block | allow | inherit (a service without a rule follows its category)
    scope: str
    change: int | None
    author: str
    reason: str
    since: int | None


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that becomes different for one group."""

    group: str
    thing: str
    before: str
    after: str


def scopes_of(group_id: str, level: str) -> tuple[str, ...]:
    """Return the scopes that rule a group, the nearest first. Guests take the students' rules."""
    site, _, audience = group_id.partition("/")
    if audience == Audience.GUESTS:
        audience = str(Audience.STUDENTS)
    middle = (f"level/{level}/{audience}",) if level else ()
    return (f"group/{site}/{audience}", *middle, f"district/{audience}")


def ruling(standing: Rules, group_id: str, level: str, thing: str) -> tuple[str, Switch] | None:
    """Return the scope and word of the nearest rule; None without one."""
    for scope in scopes_of(group_id, level):
        if (say := standing.get((scope, thing))) is not None:
            return scope, say
    return None


def inheritance(session: Session, group_id: str) -> tuple[Ruling, ...]:
    """Return, for every category that is local policy and every service with a rule, which rule decides here."""
    row = session.get(ClientGroup, group_id)
    if row is None:
        raise NotFound(f"There is no group {group_id[:80]!r}.")
    site = session.get(Site, row.site_id)
    level = "" if site is None else site.level
    standing = {(one.scope, one.thing): one for one in session.exec(select(BlockRule))}
    says = {key: one.say for key, one in standing.items()}
    made = {
        one.id: one
        for one in session.exec(
            select(PolicyChange).where(col(PolicyChange.id).in_({one.change_id for one in standing.values()}))
        )
    }
    authors = names_of(session, [one.created_by for one in made.values()])
    things = [f"category/{one}" for one in _local(session)]
    mine = scopes_of(group_id, level)
    things += sorted({thing for scope, thing in standing if scope in mine and thing.startswith("service/")})
    found = []
    for thing in things:
        decided = ruling(says, group_id, level, thing)
        if decided is None:
            kind, _, name = thing.partition("/")
            word = INHERIT if kind == "service" else _word(name in row.blocks)
            found.append(Ruling(thing, word, "", None, "", "", None))
            continue
        scope, say = decided
        change = made[standing[scope, thing].change_id]
        author = authors.get(change.created_by, "Schoolgate")
        found.append(Ruling(thing, str(say), scope, change.id, author, change.reason, change.published_at))
    return tuple(found)


def for_new_group(
    session: Session, group_id: str, level: str, usual: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the blocks and switches of a group that is about to be made: what is usual, and the rules over it."""
    stood = rule_book.standing(session)
    blocks, switches = set(usual), {}
    for thing in {thing for _, thing in stood}:
        if (decided := ruling(stood, group_id, level, thing)) is None:
            continue
        kind, _, name = thing.partition("/")
        if kind == "service":
            switches[name] = str(decided[1])
        elif decided[1] is Switch.BLOCK:
            blocks.add(name)
        else:
            blocks.discard(name)
    return tuple(one for one in _local(session) if one in blocks), switches


def effects(session: Session, lines: Sequence[Line]) -> tuple[Effect, ...]:
    """Return what publishing these lines would change, group by group. Reads only."""
    before = rule_book.standing(session)
    after = dict(before)
    for line in lines:
        if line.say == INHERIT:
            after.pop((line.scope, line.thing), None)
        else:
            after[line.scope, line.thing] = Switch(line.say)
    found = []
    touched = sorted({line.thing for line in lines})
    for row, blocks, switches in _settled(session, before, after, lines):
        for thing in touched:
            kind, _, name = thing.partition("/")
            if kind == "category":
                was, will = _word(name in row.blocks), _word(name in blocks)
            else:
                was, will = switches[0].get(name, INHERIT), switches[1].get(name, INHERIT)
            if was != will:
                found.append(Effect(row.id, thing, was, will))
    return tuple(found)


def _word(blocked: bool) -> str:
    return str(Switch.BLOCK if blocked else Switch.ALLOW)


def _settled(
    session: Session, stood: Rules, standing: Rules, lines: Sequence[Line]
) -> list[tuple[ClientGroup, list[str], tuple[dict[str, str], dict[str, str]]]]:
    """Every group in a touched scope, with the blocks it would have, and its switches before and after."""
    touched = {line.thing for line in lines}
    scopes = {line.scope for line in lines}
    levels = {site.id: site.level for site in session.exec(select(Site))}
    now: dict[str, dict[str, str]] = {}
    for one in session.exec(select(GroupService)):
        now.setdefault(one.group_id, {})[one.service] = str(one.switch)
    local = _local(session)
    rows = session.exec(select(ClientGroup).order_by(col(ClientGroup.id))).all()
    ids = {row.id for row in rows}
    usual = {audience: setup.usual_blocks(session, audience, local) for audience in Audience}
    found = []
    for row in rows:
        level = levels.get(row.site_id, "")
        if scopes.isdisjoint(scopes_of(row.id, level)):
            continue
        if row.audience is Audience.GUESTS and district.group_id(row.site_id, Audience.STUDENTS) in ids:
            continue  # follows its students: nothing of its own to store
        blocks, before = list(row.blocks), now.get(row.id, {})
        after = dict(before)
        for thing in touched:
            kind, _, name = thing.partition("/")
            decided = ruling(standing, row.id, level, thing)
            if decided is None and ruling(stood, row.id, level, thing) is None:
                continue  # no rule decided it and none does: as the group was made
            if kind == "service":
                after.pop(name, None)
                if decided is not None:
                    after[name] = str(decided[1])
                continue
            block = decided[1] is Switch.BLOCK if decided is not None else name in usual[row.audience]
            blocks = [one for one in blocks if one != name] + ([name] if block else [])
        found.append((row, blocks, (before, after)))
    return found


def _local(session: Session) -> tuple[str, ...]:
    return tuple(one.id for one in categories(session) if not one.locked)


def read(session: Session, mistakes: Mistakes, lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines in order, the last one of a scope and thing counting; every mistake noted."""
    titles = {one.id: one for one in categories(session)}
    known = {site.id for site in session.exec(select(Site))}
    found: dict[tuple[str, str], Line] = {}
    if not lines:
        mistakes.add("lines", "say what shall be different")
    if len(lines) > MAX_LINES:
        mistakes.add("lines", f"a change has at most {MAX_LINES} lines")
    for at, line in enumerate(lines[:MAX_LINES]):
        where = f"lines[{at}]"
        if problem := _scope_problem(line.scope, known):
            mistakes.add(f"{where}.scope", problem)
        kind, _, name = line.thing.partition("/")
        service = known_services(session).get(name) if kind == "service" else None
        category = titles.get(name if kind == "category" else "" if service is None else service.category)
        if category is None:
            mistakes.add(f"{where}.thing", f"there is no category or service {line.thing[:60]!r}")
        elif category.locked:
            mistakes.add(f"{where}.thing", f"{category.title} is locked by law or for safety: it is always blocked")
        if line.say not in ("block", "allow", INHERIT):
            mistakes.add(f"{where}.say", f"{line.say[:20]!r} is not one of block, allow, inherit")
        found[line.scope, line.thing] = line
    return tuple(found.values())


def _scope_problem(scope: str, sites: set[str]) -> str:
    kind, *rest = scope.split("/")
    audience = rest[-1] if rest else ""
    if audience == Audience.GUESTS:
        return "guests take the students' blocks; change the students'"
    if audience not in list(Audience):
        return "say for whom: students or staff"
    match kind, len(rest):
        case "district", 1:
            return ""
        case "level", 2:
            return "" if rest[0] in district.LEVELS else f"there is no level {rest[0][:40]!r}"
        case "group", 2:
            return "" if rest[0] in sites else f"there is no site {rest[0][:40]!r}"
    return f"{scope[:60]!r} is not the district, a level or a group"


def carry_out(session: Session, stood: Rules, lines: Sequence[Line]) -> list[str]:
    """Give every group in a touched scope what the rules that stand now say; `stood`: those before. Returns which
    groups changed."""
    changed = []
    for group, blocks, (before, after) in _settled(session, stood, rule_book.standing(session), lines):
        if set(blocks) == set(group.blocks) and before == after:
            continue
        group.blocks, group.revision = blocks, group.revision + 1
        session.add(group)
        if before != after:
            session.execute(delete(GroupService).where(col(GroupService.group_id) == group.id))
            session.add_all(
                GroupService(group_id=group.id, service=name, switch=Switch(say)) for name, say in after.items()
            )
        changed.append(group.id)
    session.flush()
    return changed


def names_of(session: Session, ids: Iterable[int | None]) -> dict[int | None, str]:
    wanted = {one for one in ids if one is not None}
    return {user.id: user.name for user in session.exec(select(User).where(col(User.id).in_(wanted)))} if wanted else {}
