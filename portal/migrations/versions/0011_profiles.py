"""Device profiles: tokens of client groups"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_profile",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_device_profile_created_by")),
        sa.ForeignKeyConstraint(["group_id"], ["client_group.id"], name=op.f("fk_device_profile_group_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_profile")),
        sa.UniqueConstraint("digest", name=op.f("uq_device_profile_digest")),
    )
    with op.batch_alter_table("device_profile", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_profile_group_id"), ["group_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
