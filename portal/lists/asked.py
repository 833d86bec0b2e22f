"""Names that many devices ask for, as resolvers told: what no update of the lists may block unseen.

A resolver tells the names of its last whole day that at least a hundredth of its devices asked for (and at least five
of them), never who; here each resolver's newest day is kept.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import delete
from sqlmodel import Session, col, select

from blocklists.exchange import AskedDay
from portal.models.sight import AskedNameRow

DAY = 86_400
RECENT = 3 * DAY  # what a resolver that went silent told last is watched for this long


def keep(session: Session, node_id: int, asked: AskedDay) -> None:
    """Write down a resolver's last day, once; an older one than is known changes nothing."""
    known = session.exec(select(AskedNameRow.day).where(col(AskedNameRow.node_id) == node_id).limit(1)).first()
    if known is not None and known >= asked.day:
        return
    session.execute(delete(AskedNameRow).where(col(AskedNameRow.node_id) == node_id))
    found = {one.name: one.permille for one in asked.names}
    session.add_all(
        AskedNameRow(node_id=node_id, name=name, day=asked.day, permille=permille) for name, permille in found.items()
    )


def watched(session: Session, now: float) -> tuple[tuple[str, str, str, str], ...]:
    """Return the names that an update is looked through for: (name, match, why, what), as `update.Job` has them."""
    rows = session.exec(select(AskedNameRow).where(col(AskedNameRow.day) >= int(now) - RECENT))
    most: dict[str, AskedNameRow] = {}
    for row in rows:
        if row.name not in most or row.permille > most[row.name].permille:
            most[row.name] = row
    return tuple((name, "exact", "recent", _sentence(row)) for name, row in sorted(most.items()))


def below(session: Session, now: float, names: Collection[str]) -> tuple[str, ...] | None:
    """Return what many devices ask for at or below these names, the most asked first; None: no resolver has told yet.

    What is blocked everywhere already is not among them: resolvers tell only what they let through."""
    rows = session.exec(select(AskedNameRow).where(col(AskedNameRow.day) >= int(now) - RECENT)).all()
    most: dict[str, int] = {}
    for row in rows:
        labels = row.name.split(".")
        if any(".".join(labels[at:]) in names for at in range(len(labels))):
            most[row.name] = max(most.get(row.name, 0), row.permille)
    return tuple(sorted(most, key=lambda name: (-most[name], name))) if rows else None


def _sentence(row: AskedNameRow) -> str:
    day = datetime.fromtimestamp(row.day, UTC)
    return f"{row.permille / 10:.1f} % of a resolver's devices asked for it on {day:%Y-%m-%d}"
