"""Transactions, hooks, the portal's lock, and the shape of the tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlmodel import SQLModel, select

from portal import migrations
from portal.database import DatabaseInUse, after_commit, checkpoint, connect, reading, sole_portal, transaction
from portal.models.district import Site
from portal.models.people import WebSession
from tests.portal import databases
from tests.portal.frontdesk import Desk


def test_the_migrations_make_exactly_the_models_tables(desk: Desk) -> None:
    with desk.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata) == []


def test_upgrading_twice_and_by_several_at_once_is_upgrading_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        engine = connect(f"sqlite:///{tmp_path / 'new.sqlite'}")
        try:
            migrations.upgrade(engine)
            migrations.upgrade(engine)
        except BaseException as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_raises_leaves_nothing_and_runs_no_hook(desk: Desk) -> None:
    ran: list[str] = []
    with pytest.raises(RuntimeError), transaction(desk.engine) as session:
        session.add(Site(id="new", name="New"))
        after_commit(session, lambda: ran.append("hook"))
        session.flush()
        raise RuntimeError
    with reading(desk.engine) as session:
        assert session.get(Site, "new") is None
    assert ran == []


def test_hooks_run_after_the_commit_and_a_failing_one_stops_nobody(desk: Desk) -> None:
    seen: list[str] = []

    def look() -> None:
        with reading(desk.engine) as session:
            site = session.get(Site, "new")
            seen.append(site.name if site else "not there")

    with transaction(desk.engine) as session:
        session.add(Site(id="new", name="New"))
        after_commit(session, lambda: 1 // 0)
        after_commit(session, look)
    assert seen == ["New"]


def test_reading_refuses_writes_and_the_connection_writes_again_afterwards(desk: Desk) -> None:
    with reading(desk.engine) as session:
        session.add(Site(id="new", name="New"))
        with pytest.raises(DatabaseError, match=r"read.?only"):
            session.flush()
    with transaction(desk.engine) as session:
        session.add(Site(id="new", name="New"))


def test_a_reader_keeps_its_snapshot_while_a_writer_commits(desk: Desk) -> None:
    with reading(desk.engine) as session:
        before = len(session.exec(select(Site.id)).all())
        with transaction(desk.engine) as writer:
            writer.add(Site(id="new", name="New"))
        session.expire_all()
        assert len(session.exec(select(Site.id)).all()) == before


def test_foreign_keys_hold(desk: Desk) -> None:
    with pytest.raises(IntegrityError), transaction(desk.engine) as session:
        session.add(WebSession(secret_hash="x", user_id=99, csrf="", created_at=0, last_seen_at=0, expires_at=0))


@pytest.mark.skipif(databases.POSTGRESQL, reason="is about SQLite")
def test_sqlite_is_set_up_to_lose_nothing(desk: Desk) -> None:
    with desk.engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]


HOLDER = """
import sys
from portal.database import sole_portal
with sole_portal(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_portal_on_the_same_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'portal.sqlite'}"
    command = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(DatabaseInUse, match=f"in use by process {first.pid}"), sole_portal(url):
            pass
        first.kill()
    with sole_portal(url), pytest.raises(DatabaseInUse), sole_portal(url):
        pass
    with sole_portal("sqlite://"), sole_portal("postgresql://nowhere/x"):
        pass


def test_a_sqlite_file_and_its_journal_are_for_their_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "portal.sqlite"
    file.touch(0o644)
    engine = connect(f"sqlite:///{file}")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE one (number INTEGER)")
        connection.commit()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    engine.dispose()
    assert modes == dict.fromkeys(("portal.sqlite", "portal.sqlite-wal", "portal.sqlite-shm"), 0o600)


def test_a_checkpoint_moves_the_log_into_the_database_beside_readers(desk: Desk, tmp_path: Path) -> None:
    checkpoint(desk.engine)
    if desk.engine.dialect.name != "sqlite":
        return  # nothing to do there, and nothing done
    file = Path(desk.engine.url.database or "")
    with reading(desk.engine) as session:
        assert session.get(Site, "new") is None

    def has_it(name: str) -> bool:
        alone = connect(f"sqlite:///{shutil.copyfile(file, tmp_path / name)}")  # without the log beside it
        with reading(alone) as session:
            found = session.get(Site, "new") is not None
        alone.dispose()
        return found

    with transaction(desk.engine) as session:
        session.add(Site(id="new", name="New"))
    assert not has_it("before.sqlite")
    checkpoint(desk.engine)
    assert has_it("after.sqlite")
