"""What Alembic runs around each migration: the caller's connection and transaction, and the models' tables."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Enum
from sqlmodel import AutoString, SQLModel

from portal import models


def _render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write words and SQLModel's own string type as plain strings, so that migrations need SQLAlchemy alone."""
    if kind == "type" and isinstance(item, AutoString | Enum):
        return "sa.String()" if item.length is None else f"sa.String(length={item.length})"
    return False


assert models.audit.AuditEvent.metadata is SQLModel.metadata  # the import is what fills it
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_item=_render,
    render_as_batch=True,
)
context.run_migrations()
