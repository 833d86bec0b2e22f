"""The yearly register of platforms"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "platform",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("year", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("services", sa.JSON(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("leaders", sa.String(), nullable=False),
        sa.Column("parents", sa.String(length=32), nullable=False),
        sa.Column("parents_why", sa.String(), nullable=False),
        sa.Column("sites", sa.JSON(), nullable=False),
        sa.Column("audiences", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("carried_from", sa.Integer(), nullable=True),
        sa.Column("grant_id", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("published_by", sa.Integer(), nullable=True),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.Column("retired_by", sa.Integer(), nullable=True),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.Column("retire_reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["carried_from"], ["platform.id"], name=op.f("fk_platform_carried_from")),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_.id"], name=op.f("fk_platform_grant_id")),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_platform_created_by")),
        sa.ForeignKeyConstraint(["published_by"], ["account.id"], name=op.f("fk_platform_published_by")),
        sa.ForeignKeyConstraint(["retired_by"], ["account.id"], name=op.f("fk_platform_retired_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform")),
    )
    with op.batch_alter_table("platform", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_platform_year"), ["year"], unique=False)
        batch_op.create_index(batch_op.f("ix_platform_grant_id"), ["grant_id"], unique=False)
    op.create_table(
        "platform_distribution",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("year", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("recipients", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("recorded_by", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["recorded_by"], ["account.id"], name=op.f("fk_platform_distribution_recorded_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_distribution")),
    )
    with op.batch_alter_table("platform_distribution", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_platform_distribution_year"), ["year"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
