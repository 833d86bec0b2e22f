"""Where the portal's tests keep their tables: SQLite files, or a PostgreSQL server that is started for them.

`SCHOOLGATE_TEST_DATABASE=postgresql` chooses the server of Debian's package; it listens on a Unix socket only, and ends
with the run. A test's database is a copy of a pristine one: a copied file here, a `TEMPLATE` there.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url

POSTGRESQL = os.environ.get("SCHOOLGATE_TEST_DATABASE", "sqlite") == "postgresql"
FILE = "portal.sqlite"


def new(folder: Path) -> str:
    """Return the URL of an empty database: of a file in `folder`, or of a fresh one on the server."""
    if not POSTGRESQL:
        return f"sqlite:///{folder / FILE}"
    name = f"t{uuid.uuid4().hex}"
    _run(f'CREATE DATABASE "{name}"')
    return f"{server()}&dbname={name}"


def copy(pristine: str, folder: Path) -> str:
    """Return the URL of a copy of `pristine`, which nobody may have open."""
    if not POSTGRESQL:
        source = make_url(pristine).database
        assert source is not None
        shutil.copyfile(source, folder / FILE)
        return f"sqlite:///{folder / FILE}"
    name = f"t{uuid.uuid4().hex}"
    _run(f'CREATE DATABASE "{name}" TEMPLATE "{make_url(pristine).query["dbname"]}"')
    return f"{server()}&dbname={name}"


def drop(url: str) -> None:
    """Forget a database of the server; a file goes with its folder."""
    if POSTGRESQL:
        _run(f'DROP DATABASE IF EXISTS "{make_url(url).query["dbname"]}" WITH (FORCE)')


def tamper(engine: Engine, *statements: str) -> None:
    """Change the audit's rows, as somebody who owns the database can: the guards are taken away first."""
    guards = ["DROP TRIGGER audit_event_update", "DROP TRIGGER audit_event_delete"]
    with engine.begin() as connection:
        for statement in (["ALTER TABLE audit_event DISABLE TRIGGER USER"] if POSTGRESQL else guards) + list(
            statements
        ):
            connection.exec_driver_sql(statement)


def _run(statement: str) -> None:
    engine = create_engine(f"{server()}&dbname=postgres", poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))


@functools.cache
def server() -> str:
    """Start PostgreSQL, once; return the beginning of its URLs. It stops when this process ends."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is not installed: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="schoolgate-pg-"))
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    data = folder / "data"

    def run(program: str, *words: str) -> None:
        command = [*as_user, str(programs[-1] / program), "-D", str(data), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd="/")
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def stop() -> None:
        run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    run("initdb", "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=200 -c fsync=off"
    run("pg_ctl", "-o", options, "-l", str(folder / "log"), "-w", "start")
    atexit.register(stop)
    return f"postgresql://postgres@/?host={folder}"
