"""Sums over hours by group: an index that holds what they add up"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SUMMED = ("group", "hour", "queries", "blocked", "bypass", "devices", "bypass_devices", "forwarder")


def upgrade() -> None:
    op.create_index("ix_group_hour_sums", "group_hour", list(_SUMMED), unique=False)


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
