"""Use: which names of grants were asked for, and since when a node says so"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "grant_use",
        sa.Column("grant_id", sa.Integer(), nullable=False),
        sa.Column("entry", sa.String(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_.id"], name=op.f("fk_grant_use_grant_id")),
        sa.PrimaryKeyConstraint("grant_id", "entry", name=op.f("pk_grant_use")),
    )
    with op.batch_alter_table("node", schema=None) as batch_op:
        batch_op.add_column(sa.Column("use_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
