"""The snapshot that this portal reasons from: the newest published policy over its base, opened once.

Swapped by one reference after each publication; readers keep what they hold. `refresh` also finds what another portal
process published.
"""

from __future__ import annotations

import threading

from sqlalchemy import func
from sqlmodel import Session, select

from blocklists.snapshot import Snapshot, open_snapshot
from portal.errors import Refused
from portal.lists.bases import Bases
from portal.models.delivery import PolicyVersion
from portal.nodes.publication import newest_version


class NothingPublished(Refused):
    """Nothing to reason from yet: the first start is not finished."""

    status = 503
    title = "Not ready"


class Current:
    """Thread-safe; `get` never waits."""

    def __init__(self, bases: Bases) -> None:
        self._bases = bases
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None

    def get(self) -> Snapshot:
        """Return the newest snapshot known to this process, or raise `NothingPublished`."""
        if self._snapshot is None:
            raise NothingPublished("No policy has been published yet. Try again in a moment.")
        return self._snapshot

    def swap(self, snapshot: Snapshot) -> None:
        """Take a newly published snapshot; an older one than the present is passed over."""
        with self._lock:
            if self._snapshot is None or snapshot.version > self._snapshot.version:
                self._snapshot = snapshot

    def refresh(self, session: Session) -> Snapshot:
        """Return the newest published snapshot, opened from the database when this process has an older one.

        Raises `NothingPublished`; `BadBase` or `OSError` when its base cannot be read.
        """
        newest = session.exec(select(func.max(PolicyVersion.version))).one()
        known = self._snapshot
        if newest is not None and (known is None or known.version < newest):
            row = newest_version(session)
            assert row is not None  # versions are never removed
            self.swap(open_snapshot(row.body, self._bases.open(row.base)))
        return self.get()
