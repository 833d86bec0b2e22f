"""A restored portal is held; what its nodes send back"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("district", schema=None) as batch_op:
        batch_op.add_column(sa.Column("held_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("version_floor", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("district", schema=None) as batch_op:
        batch_op.alter_column("version_floor", server_default=None)
    op.create_table(
        "recovered_policy",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"], name=op.f("fk_recovered_policy_node_id")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_recovered_policy")),
    )


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
