"""Sight: what resolvers counted by group and hour; codes of blocked names"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "group_hour",
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("queries", sa.BigInteger(), nullable=False),
        sa.Column("blocked", sa.BigInteger(), nullable=False),
        sa.Column("bypass", sa.BigInteger(), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.Column("bypass_devices", sa.Integer(), nullable=False),
        sa.Column("forwarder", sa.Boolean(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"], name=op.f("fk_group_hour_node_id")),
        sa.PrimaryKeyConstraint("node_id", "hour", "group", name=op.f("pk_group_hour")),
    )
    op.create_table(
        "blocked_code",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_blocked_code")),
    )
    with op.batch_alter_table("blocked_code", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_blocked_code_made_at"), ["made_at"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
