"""Names that many devices of a resolver ask for; the bytes of lists"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "asked_name",
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("permille", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"], name=op.f("fk_asked_name_node_id")),
        sa.PrimaryKeyConstraint("node_id", "name", name=op.f("pk_asked_name")),
    )
    for table in ("uploaded_list", "list_copy"):
        op.create_table(
            table,
            sa.Column("body", sa.LargeBinary(), nullable=False),
            sa.Column("id", sa.String(), nullable=False),
            sa.Column("number", sa.Integer(), nullable=False),
            sa.Column("digest", sa.String(), nullable=False),
            sa.PrimaryKeyConstraint("id", "number", name=op.f(f"pk_{table}")),
        )


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
