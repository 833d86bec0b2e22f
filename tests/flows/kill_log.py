"""What the query log and the database say after a kill loop: every verdict is one published version's own.

Each record is decided again, purely, by the policy and the base that its version names: a verdict from an unverified
snapshot, or from parts of two, would differ. Versions never go back in time but for the moments that a swap takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlmodel import select

from blocklists import names
from blocklists.base import Base
from blocklists.decide import decide
from blocklists.signature import verify
from blocklists.snapshot import Snapshot, open_snapshot
from portal.database import connect, reading
from portal.models.delivery import PolicyVersion
from resolver.delivery.enrolment import read_identity
from resolver.log import logwriter
from resolver.log.querylog import Record

SLOW = 0.5  # seconds: a worker that has not swapped by then is killed


@dataclass
class Findings:
    """Of one node. `spreads`: for each version, seconds from its first verdict to the last one of an older version."""

    records: int = 0
    versions: int = 0
    spreads: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def slow(self) -> int:
        return sum(spread > SLOW for spread in self.spreads)


class Published(Protocol):
    """What was published, by version."""

    def of(self, version: int) -> Snapshot | None:
        """The snapshot of a version; None when its base is not kept any more. Raises `KeyError` for an unknown one."""

    def __len__(self) -> int:
        """How many versions there are."""


class Snapshots:
    """Every published version, opened once: bytes by digest, signature by the key that the nodes pinned."""

    def __init__(self, data: Path, database: str) -> None:
        identity = read_identity(data / "node")
        engine = connect(database)
        with reading(engine) as session:
            rows = session.exec(select(PolicyVersion)).all()
            self._rows = {row.version: row for row in rows}
        engine.dispose()
        for row in self._rows.values():
            assert hashlib.sha256(row.body).hexdigest() == row.digest, f"version {row.version} has another digest"
            verify(row.body, row.signature, bytes.fromhex(identity.public_key))
        self._objects = data / "portal" / "objects", data / "node" / "objects"
        self._bases: dict[str, Base | None] = {}
        self._open: tuple[int, Snapshot | None] = 0, None

    def of(self, version: int) -> Snapshot | None:
        """The snapshot of a version; None when its base is not kept any more. Raises `KeyError` for an unknown one."""
        row = self._rows[version]
        if self._open[0] != version:
            base = self._base(row.base)
            before = self._open[1]
            self._open = version, None if base is None else open_snapshot(row.body, base, before)
        return self._open[1]

    def _base(self, digest: str) -> Base | None:
        if digest not in self._bases:
            paths = [folder / digest for folder in self._objects if (folder / digest).exists()]
            self._bases[digest] = Base.open(paths[0], digest) if paths else None
        return self._bases[digest]

    def __len__(self) -> int:
        return len(self._rows)


def read(state: Path) -> list[Record]:
    """Return the whole query log of the node with this state folder."""
    return list(logwriter.read(state))


def check(found: Iterable[Record], published: Published, restarts: Sequence[tuple[float, float]]) -> Findings:
    """Look at the whole log of one node. `restarts`: when its supervisor was killed and when it was back, seconds since
    1970."""
    findings = Findings(versions=len(published))
    records = sorted(found, key=lambda one: (one.version, one.time))
    findings.records = len(records)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    decided: set[tuple[object, ...]] = set()
    for record in records:
        first.setdefault(record.version, record.time)
        last[record.version] = record.time
        if record.version == 0:
            if record.action.value == "allow":
                findings.wrong.append(f"allowed without a version: {record}")
            continue
        same = (record.version, record.group, record.name, record.action, record.reason, record.number)
        if same not in decided:
            decided.add(same)
            findings.wrong += _differs(published, record)
    newest = 0.0
    for version in sorted(last):
        findings.spreads.append(max(0.0, newest - first[version]) if version else 0.0)
        newest = max(newest, last[version])
    findings.wrong += _went_back(records, restarts)
    return findings


def _differs(published: Published, record: Record) -> list[str]:
    try:
        snapshot = published.of(record.version)
    except KeyError:
        return [f"version {record.version} was never published: {record}"]
    if snapshot is None:
        return []
    verdict = decide(names.from_wire(record.name), snapshot.rules(record.group), record.time)
    reason = verdict.reason
    wanted = (verdict.action, reason.kind, reason.number, reason.list or "")
    if wanted != (record.action, record.reason, record.number, record.list):
        return [f"version {record.version} says {wanted}: {record}"]
    return []


def _went_back(records: Sequence[Record], restarts: Sequence[tuple[float, float]]) -> list[str]:
    """What was served was kept before: workers of a new supervisor begin at least where the old one's were."""
    wrong = []
    by_time = sorted(records, key=lambda one: one.time)
    for killed, up in restarts:
        before = max((one.version for one in by_time if one.time < killed), default=0)
        after = [one for one in by_time if one.time > up]
        if after and after[0].version < before:
            wrong.append(f"version {after[0].version} was served after a restart, {before} before it")
    return wrong
