"""What answers hold: the block page, ECH, private addresses, structured errors; safe search and YouTube's modes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW = {
    "district": (("block_page", sa.JSON(), "[]"), ("strip_ech", sa.Boolean(), sa.false()))
    + (("private_names", sa.JSON(), "[]"), ("structured_errors", sa.Boolean(), sa.false())),
    "client_group": (("safe_search", sa.Boolean(), sa.false()), ("youtube", sa.String(length=32), "off")),
    "grant_": (("lifts_rewrites", sa.Boolean(), sa.false()),),
}


def upgrade() -> None:
    for table, columns in NEW.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for name, kind, default in columns:
                batch_op.add_column(sa.Column(name, kind, nullable=False, server_default=default))
        with op.batch_alter_table(table, schema=None) as batch_op:
            for name, _, _ in columns:
                batch_op.alter_column(name, server_default=None)


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
