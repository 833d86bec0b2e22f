"""What resolvers counted, kept by hour, and read back by resolver and by building.

A node sends its own counts with its heartbeats; here they are written down and summed. No client is in them, only how
many there were, up to `ENOUGH`: counts over fewer devices are shown to nobody (`hidden`). Devices of two nodes cannot
be told apart, so the larger number counts, never the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sqlalchemy
from sqlalchemy import case, delete, func
from sqlmodel import Session, col, select

from blocklists.exchange import ENOUGH, MinuteCount, Sight
from blocklists.policy import UNASSIGNED
from portal import access, natural
from portal.access import Actor
from portal.models.delivery import Node
from portal.models.district import ClientGroup, Site
from portal.models.sight import GroupHourRow

HOUR, DAY = 3600, 86_400
KEEP = 35 * DAY
TOP = 5


def keep(session: Session, node_id: int, sight: Sight) -> None:
    """Write down what a node said of its groups; of two figures for one hour the larger is the later one."""
    hours = {one.hour for one in sight.groups}
    if not hours:
        return
    wanted = select(GroupHourRow).where(col(GroupHourRow.node_id) == node_id, col(GroupHourRow.hour).in_(hours))
    known = {(row.hour, row.group): row for row in session.exec(wanted)}
    if not known:  # a new hour: the time to forget old ones
        session.execute(delete(GroupHourRow).where(col(GroupHourRow.hour) < max(hours) - KEEP))
    for one in sight.groups:
        row = known.get((one.hour, one.group)) or GroupHourRow(node_id=node_id, hour=one.hour, group=one.group)
        if one.queries < row.queries:
            continue
        row.queries, row.blocked, row.bypass = one.queries, one.blocked, one.bypass
        row.devices, row.bypass_devices = one.devices, one.bypass_devices
        row.forwarder = row.forwarder or one.forwarder
        row.categories = [part.model_dump(mode="json") for part in one.categories]
        session.add(row)


@dataclass(slots=True)
class Counts:
    """A sum over hours, groups or nodes. Over fewer than `ENOUGH` devices it is `hidden`: shown to nobody."""

    queries: int = 0
    blocked: int = 0
    bypass: int = 0
    devices: int = 0
    bypass_devices: int = 0
    forwarder: bool = False
    _categories: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def hidden(self) -> bool:
        return self.devices < ENOUGH

    @property
    def bypass_hidden(self) -> bool:
        """Signals from few devices are not counted out; that there is none at all may be said."""
        return self.bypass > 0 and self.bypass_devices < ENOUGH

    @property
    def top(self) -> tuple[tuple[str, int], ...]:
        """The most blocked categories with their counts, of those that enough devices asked for."""
        shown = [(name, count) for name, (count, devices) in self._categories.items() if devices >= ENOUGH]
        return tuple(sorted(shown, key=lambda one: (-one[1], one[0]))[:TOP])

    def add(self, row: GroupHourRow, *, more_devices: bool = False) -> None:
        """`more_devices`: this row's are others than those before (another group at the same node)."""
        self.queries += row.queries
        self.blocked += row.blocked
        self.bypass += row.bypass
        self.devices = _devices(self.devices, row.devices, more_devices)
        self.bypass_devices = _devices(self.bypass_devices, row.bypass_devices, more_devices)
        self.forwarder = self.forwarder or row.forwarder
        for part in row.categories:
            count, devices = self._categories.get(part["category"], (0, 0))
            self._categories[part["category"]] = (
                count + part["blocked"],
                _devices(devices, part["devices"], more_devices),
            )


def _devices(before: int, more: int, other: bool) -> int:
    return min(ENOUGH, before + more) if other else max(before, more)


@dataclass(frozen=True, slots=True)
class Building:
    """One site's groups over some hours. The site `""` is nobody's: addresses that no group claims."""

    site: str
    name: str
    all: Counts
    groups: tuple[tuple[str, Counts], ...]  # audience, counts


def per_second(minutes: Sequence[MinuteCount], now: float) -> float:
    """Return the questions a second of the last whole minute; a minute without a word had none."""
    last = int(now) // 60 * 60 - 60
    return next((one.queries for one in minutes if one.at == last), 0) / 60


def this_hour(session: Session, actor: Actor, now: float) -> dict[int, Counts]:
    """Return the present hour's counts by node number."""
    access.require(access.may_see_district(actor), "Figures are for reviewers, administrators and auditors.")
    found: dict[int, Counts] = {}
    for row in _rows(session, int(now) // HOUR * HOUR):
        found.setdefault(row.node_id, Counts()).add(row, more_devices=True)
    return found


def buildings(session: Session, actor: Actor, now: float, seconds: int = DAY) -> tuple[Building, ...]:
    """Return every site with a group, most bypass signals first; clients without a group come last, when there are."""
    access.require(access.may_see_district(actor), "Figures are for reviewers, administrators and auditors.")
    sites = {site.id: site.name for site in session.exec(select(Site))}
    where = {one.id: (one.site_id, str(one.audience)) for one in session.exec(select(ClientGroup))}
    by_group = _by_group(session, int(now) - seconds)
    parts: dict[str, list[tuple[str, Counts]]] = {site: [] for site, _ in where.values()}
    for group, counts in by_group.items():
        if group == UNASSIGNED:
            parts.setdefault("", []).append(("no group", counts))
        elif group in where:
            site, audience = where[group]
            parts[site].append((audience, counts))
    found = [
        Building(site, sites.get(site, "No group"), _sum(all_), tuple(sorted(all_, key=lambda part: part[0])))
        for site, all_ in parts.items()
    ]
    return tuple(sorted(found, key=lambda one: (not one.site, -one.all.bypass, natural.order(one.name))))


def forwarders(session: Session, actor: Actor, now: float) -> list[tuple[str, str]]:
    """Return the sites' names and audiences where, in the last day, one address asked like a forwarder."""
    found = buildings(session, actor, now)
    return [(one.name, audience) for one in found for audience, counts in one.groups if counts.forwarder]


def _by_group(session: Session, since: int) -> dict[str, Counts]:
    """Sums over hours and nodes, by the database; without the categories."""
    summed = (func.sum(col(one)) for one in (GroupHourRow.queries, GroupHourRow.blocked, GroupHourRow.bypass))
    most = (func.max(col(one)) for one in (GroupHourRow.devices, GroupHourRow.bypass_devices))
    forwarder = func.max(case((col(GroupHourRow.forwarder), 1), else_=0))
    query = sqlalchemy.select(col(GroupHourRow.group), *summed, *most, forwarder)
    rows = session.execute(query.where(col(GroupHourRow.hour) >= since).group_by(col(GroupHourRow.group)))
    return {
        group: Counts(int(queries), int(blocked), int(bypass), devices, by, bool(like))
        for group, queries, blocked, bypass, devices, by, like in rows
    }


def _rows(session: Session, since: int) -> Iterable[GroupHourRow]:
    nodes = select(Node.id)  # named so that the key (node, hour, group) finds the few rows
    wanted = select(GroupHourRow).where(col(GroupHourRow.node_id).in_(nodes), col(GroupHourRow.hour) >= since)
    return session.exec(wanted.order_by(col(GroupHourRow.hour)))


def _sum(groups: Iterable[tuple[str, Counts]]) -> Counts:
    """A device belongs to one group, so devices of a site's groups may be added. A single hidden group beside others
    is left out, for a subtraction would show it."""
    groups = tuple(groups)
    lonely = len(groups) > 1 and sum(one.hidden for _, one in groups) == 1
    lonely_bypass = len(groups) > 1 and sum(one.bypass_hidden for _, one in groups) == 1
    total = Counts()
    for _, one in groups:
        if not (lonely and one.hidden):
            total.queries += one.queries
            total.blocked += one.blocked
        if not (lonely_bypass and one.bypass_hidden):
            total.bypass += one.bypass
        total.devices = min(ENOUGH, total.devices + one.devices)
        total.bypass_devices = min(ENOUGH, total.bypass_devices + one.bypass_devices)
        total.forwarder = total.forwarder or one.forwarder
    return total
