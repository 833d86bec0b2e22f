"""What is blocked as dated policy; operational exceptions; the district's logo"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_change",
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("publish_at", sa.BigInteger(), nullable=True),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.Column("published_by", sa.Integer(), nullable=True),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_policy_change_created_by")),
        sa.ForeignKeyConstraint(["published_by"], ["account.id"], name=op.f("fk_policy_change_published_by")),
        sa.ForeignKeyConstraint(["undoes"], ["policy_change.id"], name=op.f("fk_policy_change_undoes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_change")),
    )
    with op.batch_alter_table("policy_change", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_policy_change_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_policy_change_undoes"), ["undoes"], unique=False)
    op.create_table(
        "block_rule",
        sa.Column("say", sa.String(length=32), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("thing", sa.String(), nullable=False),
        sa.Column("change_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["change_id"], ["policy_change.id"], name=op.f("fk_block_rule_change_id")),
        sa.PrimaryKeyConstraint("scope", "thing", name=op.f("pk_block_rule")),
    )
    with op.batch_alter_table("block_rule", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_block_rule_change_id"), ["change_id"], unique=False)
    op.create_table(
        "operational_exception",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("grant_id", sa.Integer(), nullable=False),
        sa.Column("review_on", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_.id"], name=op.f("fk_operational_exception_grant_id")),
        sa.PrimaryKeyConstraint("grant_id", name=op.f("pk_operational_exception")),
    )
    op.create_table(
        "logo",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logo")),
    )


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
