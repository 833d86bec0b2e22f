"""The database's shape, step by step (Alembic), run from code: no ini file, no working directory."""

from __future__ import annotations

from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest shape, in one transaction."""
    raise NotImplementedError
