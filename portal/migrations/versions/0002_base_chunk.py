"""Pieces of base files, for portals on several machines"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "base_chunk",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["base_file.digest"], name=op.f("fk_base_chunk_digest")),
        sa.PrimaryKeyConstraint("digest", "number", name=op.f("pk_base_chunk")),
    )


def downgrade() -> None:
    raise NotImplementedError("a database goes back by restoring a backup")
