"""Why was this blocked? Answered to anybody: the verdict on one name for one group, and nothing else.

A short code stands for the name and the place, so that a student can tell it to a teacher, who types it into a
request. The same name and place have the same code; codes are forgotten after `KEEP`. Whoever is not signed in looks
at few names a minute (`Pace`), and no group is named that was not asked for.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from blocklists import names
from blocklists.base import ListKind
from blocklists.policy import UNASSIGNED, Action, ReasonKind
from blocklists.returned import OURS
from blocklists.snapshot import Snapshot
from portal.models.district import CategoryRow, ClientGroup, Site
from portal.models.sight import BlockedCode
from portal.verdicts.explain import Explained

KEEP = 30 * 86_400
MAX_CODES = 20_000
LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is read as another one
LENGTH = 6


_NO_REQUEST = (ReasonKind.LOCKED, ReasonKind.BYPASS, ReasonKind.BRAKE, ReasonKind.REBINDING)


@dataclass(frozen=True, slots=True)
class Why:
    """What is said of one name. `category`, `service`: their titles, empty where there is none. `place`: where it is
    blocked, in words, empty for an address in no group. `led_to`: the blocked name that its answer leads to, when it is
    not listed itself. `rewritten`: let through in its safe mode."""

    name: str
    group: str
    place: str
    blocked: bool
    rewritten: bool
    kind: ReasonKind
    category: str
    service: str
    led_to: str

    @property
    def locked(self) -> bool:
        return self.kind is ReasonKind.LOCKED

    @property
    def askable(self) -> bool:
        """True when a written request can open it."""
        return self.blocked and self.kind not in _NO_REQUEST


def known_group(snapshot: Snapshot, group: str) -> str:
    """Return `group`; nobody's when it is not known."""
    return group if group in snapshot.by_group else UNASSIGNED


def why(session: Session, snapshot: Snapshot, found: Explained) -> Why:
    """Return what is said of an explained name."""
    reason = found.verdict.reason
    category = session.get(CategoryRow, reason.category) if reason.category else None
    named = (reason.service, reason.list)
    bundles = [one for one in snapshot.base.lists if one.kind is ListKind.SERVICE and one.id in named]
    blocked = found.verdict.action in OURS
    led = blocked and reason.entry is not None and reason.entry not in names.ancestors(found.name)
    return Why(
        name=found.name,
        group="" if found.group == UNASSIGNED else found.group,
        place=place(session, found.group),
        blocked=blocked,
        rewritten=found.verdict.action is Action.REWRITE,
        kind=reason.kind,
        category="" if category is None else category.title,
        service=bundles[0].title if bundles else "",
        led_to=reason.entry if led and reason.entry else "",
    )


def place(session: Session, group: str) -> str:
    """Return `students at Edison High School`; empty for what is no group."""
    row = session.get(ClientGroup, group)
    site = None if row is None else session.get(Site, row.site_id)
    return "" if row is None or site is None else f"{row.audience} at {site.name}"


def code_of(name: str, group: str, length: int = LENGTH) -> str:
    """Return the code of this name at this place: letters and digits of its hash."""
    number = int.from_bytes(hashlib.sha256(f"{name}\0{group}".encode()).digest(), "big")
    letters = []
    for _ in range(length):
        number, at = divmod(number, len(LETTERS))
        letters.append(LETTERS[at])
    return "".join(letters)


def remembered(session: Session, name: str, group: str) -> str:
    """Return the code that is kept for this name and place; empty when there is none."""
    wanted = select(BlockedCode.code).where(col(BlockedCode.name) == name, col(BlockedCode.group) == group)
    return session.exec(wanted).first() or ""


def make_code(session: Session, name: str, group: str, now: float) -> str:
    """Return a code for this name and place, kept from now on; empty when too many are kept already."""
    session.execute(delete(BlockedCode).where(col(BlockedCode.made_at) < int(now) - KEEP))
    if found := remembered(session, name, group):
        return found
    if session.exec(select(func.count()).select_from(BlockedCode)).one() >= MAX_CODES:
        return ""
    for length in (LENGTH, LENGTH + 2, LENGTH + 4):  # another name may have the short one
        code = code_of(name, group, length)
        if session.get(BlockedCode, code) is None:
            session.add(BlockedCode(code=code, name=name, group=group, made_at=int(now)))
            return code
    return ""


def read_code(session: Session, typed: str) -> tuple[str, str] | None:
    """Return name and group of a code as somebody typed it; None when it is not known (any more)."""
    code = "".join(letter for letter in typed.upper() if letter.isalnum())[:20]
    row = session.get(BlockedCode, code) if code else None
    return None if row is None else (row.name, row.group)


class Pace:
    """How often an address may look: `most` times in any minute that it begins. In memory, bounded, thread-safe."""

    KEPT = 10_000

    def __init__(self, most: int = 30, minute: float = 60.0) -> None:
        self._most = most
        self._minute = minute
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}  # address -> begin of its minute, looks in it

    def wait(self, address: str, now: float) -> int:
        """Count one look; return 0, or the seconds until the next one is answered."""
        with self._lock:
            begun, looks = self._seen.get(address, (now, 0))
            if not begun <= now < begun + self._minute:
                begun, looks = now, 0
            if looks >= self._most:
                return int(begun + self._minute - now) + 1
            self._seen.pop(address, None)
            self._seen[address] = (begun, looks + 1)
            while len(self._seen) > self.KEPT:
                del self._seen[next(iter(self._seen))]
        return 0
