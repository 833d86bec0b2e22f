"""What of a grant is in use: which of its names somebody asked for, and on which day last. Days in, names out.

Resolvers say it with their status, a piece at a time; no client and no count is in it. "Not asked for in a month" is
only said when every resolver has looked for that long, or for as long as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from blocklists.exchange import GrantUse
from portal.models.delivery import Node
from portal.models.levers import GrantRow
from portal.models.sight import GrantUseRow

DAY = 86_400
MONTH = 30 * DAY


def keep(session: Session, node_id: int, used: Sequence[GrantUse], now: int) -> None:
    """Write down what a node said; what it says of grants that do not exist is passed over."""
    node = session.get(Node, node_id)
    if node is not None and node.use_since is None:
        node.use_since = now
        session.add(node)
    wanted = {one.grant for one in used}
    known = {(row.grant_id, row.entry): row for row in _of(session, wanted)}
    grants = set(session.exec(select(GrantRow.id).where(col(GrantRow.id).in_(wanted))))
    for one in used:
        row = known.get((one.grant, one.entry))
        if row is None and one.grant in grants:
            session.add(GrantUseRow(grant_id=one.grant, entry=one.entry, day=one.day))
        elif row is not None and row.day < one.day:
            row.day = one.day
            session.add(row)


def unused(session: Session, now: float, grants: Iterable[GrantRow]) -> dict[int, tuple[str, ...] | None]:
    """Return, by number, the names that nobody asked for in the last month; None: not known yet, because the grant is
    younger, or a resolver has not looked for so long."""
    rows = tuple(grants)
    looked = _all_looked(session, now)
    asked = {(row.grant_id, row.entry): row.day for row in _of(session, {row.id or 0 for row in rows})}
    found: dict[int, tuple[str, ...] | None] = {}
    for row in rows:
        number = row.id or 0
        if not looked or max(row.starts_at, row.created_at) > now - MONTH:
            found[number] = None
            continue
        names = (one["name"] for one in row.entries)
        found[number] = tuple(one for one in names if asked.get((number, one), 0) + DAY <= now - MONTH)
    return found


def _all_looked(session: Session, now: float) -> bool:
    nodes = session.exec(select(Node).where(col(Node.retired_at).is_(None))).all()
    return bool(nodes) and all(
        node.use_since is not None and (node.use_since <= now - MONTH or node.use_since <= node.enrolled_at + DAY)
        for node in nodes
    )


def _of(session: Session, grants: Iterable[int]) -> Sequence[GrantUseRow]:
    return session.exec(select(GrantUseRow).where(col(GrantUseRow.grant_id).in_(set(grants)))).all()
