"""The token with which each source was uploaded."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Sources that are already stored count toward the limits of no token."""
    with op.batch_alter_table("sources") as sources:
        sources.add_column(sa.Column("uploaded_by", sa.String(length=64)))
    op.create_index("ix_sources_uploaded_by", "sources", ["uploaded_by"])
