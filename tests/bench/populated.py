"""A district of some size, written straight into the database of a stopped portal: live grants, schools, nodes."""

from __future__ import annotations

import itertools
import secrets
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlmodel import Session

from blocklists.policy import Audience, AuthorityKind
from portal.database import connect, transaction
from portal.models.delivery import Node
from portal.models.district import ClientGroup, Site
from portal.models.levers import GrantRow
from portal.models.requests import Request
from portal.models.words import State
from portal.outbox import record_change
from portal.people import accounts
from portal.people.sessions import hash_secret, user_actor
from tests.accounts import REVIEWER, TEACHER

DAYS = 90


def database(data: Path) -> Path:
    return data / "portal" / "portal.sqlite"


@contextmanager
def _writing(data: Path) -> Iterator[Session]:
    engine = connect(f"sqlite:///{database(data)}")
    try:
        with transaction(engine) as session:
            yield session
    finally:
        engine.dispose()


def grants(count: int) -> Callable[[Path], None]:
    """Return what adds `count` approved requests with a live grant of two names each, half of them for Edison."""

    def fill(data: Path) -> None:
        now = int(time.time())
        with _writing(data) as session:
            reviewer = user_actor(accounts.by_email(session, REVIEWER))
            teacher = accounts.by_email(session, TEACHER)
            assert teacher.id is not None
            for number in range(count):
                site = "edison" if number % 2 else "lincoln"
                request = Request(
                    uuid=str(uuid.uuid4()),
                    requester_id=teacher.id,
                    state=State.APPROVED,
                    purpose="Benchmark lesson",
                    audiences=["students"],
                    sites=[site],
                    starts_on=time.strftime("%Y-%m-%d", time.gmtime(now)),
                    ends_on=time.strftime("%Y-%m-%d", time.gmtime(now + DAYS * 86400)),
                    created_at=now,
                    updated_at=now,
                )
                session.add(request)
                session.flush()
                entries = [{"name": f"{one}{number}.granted.example", "match": "subtree"} for one in ("tool", "cdn")]
                session.add(
                    GrantRow(
                        authority=AuthorityKind.REQUEST,
                        request_id=request.id,
                        entries=entries,
                        sites=[site],
                        audiences=["students"],
                        starts_at=now - 60,
                        ends_at=now + DAYS * 86400 + number,
                        created_by=reviewer.user_id or 0,
                        created_at=now,
                    )
                )

    return fill


def schools(count: int) -> Callable[[Path], None]:
    """Return what adds `count` schools with a group of students each."""

    def fill(data: Path) -> None:
        with _writing(data) as session:
            for number in range(count):
                session.add(Site(id=f"school-{number}", name=f"School {number}", level="high"))
            session.flush()
            for number in range(count):
                network = f"10.{number}.0.0/16"
                group = ClientGroup(
                    id=f"school-{number}/students", site_id=f"school-{number}", audience=Audience.STUDENTS
                )
                group.networks, group.blocks = [network], ["social-media"]
                session.add(group)
            actor = user_actor(accounts.by_email(session, REVIEWER))
            record_change(session, actor, time.time(), "district.group.create", "groups")

    return fill


def nodes(data: Path, count: int) -> list[str]:
    """Enrol `count` nodes that serve every site; return their credentials. The portal may be running."""
    made = [f"sgc_{secrets.token_urlsafe(32)}" for _ in range(count)]
    with _writing(data) as session:
        for number, credential in enumerate(made):
            hashed = hash_secret(credential)
            session.add(Node(name=f"simulated {number}", credential_hash=hashed, enrolled_at=int(time.time())))
    return made


class Receipts:
    """Reads the portal's database beside it: which version carried a decision, and when nodes acknowledged it."""

    def __init__(self, data: Path) -> None:
        self._connection = sqlite3.connect(f"file:{database(data)}?mode=ro", uri=True)

    def close(self) -> None:
        self._connection.close()

    def newest(self) -> int:
        """Number of the newest row that asks for a publication."""
        return int(self._one("SELECT max(id) FROM publication") or 0)

    def version(self, publication: int) -> int | None:
        found = self._one("SELECT version FROM publication WHERE id = ?", publication)
        return None if found is None else int(found)

    def versions(self) -> int:
        """How many versions there are."""
        return int(self._one("SELECT count(*) FROM policy_version") or 0)

    def newest_version(self) -> int:
        return int(self._one("SELECT max(version) FROM policy_version") or 0)

    def decided_ms(self, version: int) -> int:
        return int(self._one("SELECT decided_at_ms FROM policy_version WHERE version = ?", version) or 0)

    def acked_ms(self, version: int, nodes: int) -> int | None:
        """When the last of `nodes` acknowledged `version`, ms since 1970; None while one is missing."""
        with closing(
            self._connection.execute(
                "SELECT count(acked_at_ms), max(acked_at_ms) FROM delivery WHERE version = ?", (version,)
            )
        ) as rows:
            count, last = rows.fetchone()
        return None if count < nodes else int(last)

    def wait(self, since: int, nodes: int, patience: float = 60.0) -> tuple[int, int]:
        """Return version and time of the last ack (ms) of the first publication asked for after row `since`."""
        deadline = time.monotonic() + patience
        for pause in itertools.repeat(0.01):
            asked = self._one("SELECT min(id) FROM publication WHERE id > ?", since)
            version = None if asked is None else self.version(int(asked))
            if version is not None and (acked := self.acked_ms(version, nodes)) is not None:
                return version, acked
            if time.monotonic() > deadline:
                raise RuntimeError(f"no ack of {nodes} nodes within {patience:.0f} s (version {version})")
            time.sleep(pause)
        raise AssertionError

    def _one(self, query: str, *values: int) -> int | None:
        with closing(self._connection.execute(query, values)) as rows:
            found = rows.fetchone()
        return None if found is None else found[0]
