"""The database's shape, step by step (Alembic), run from code: no ini file, no working directory."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

_LOCK = 4415  # PostgreSQL advisory lock: several portals may start at once


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, for `connection`."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def known() -> frozenset[str]:
    """Return the shapes that this release can bring up to date."""
    return frozenset(step.revision for step in ScriptDirectory.from_config(config()).walk_revisions())


def upgrade(engine: Engine, shape: str | None = None) -> None:
    """Bring the database to `shape` (None: the newest), in one transaction; one that has it is only looked at."""
    newest = shape or ScriptDirectory.from_config(config()).get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == newest:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(config(connection), newest or "head")
