"""Heartbeats of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns for the last heartbeat of each node."""
    op.add_column("nodes", sa.Column("heartbeat", sa.JSON()))
    op.add_column("nodes", sa.Column("heartbeat_at", sa.DateTime(timezone=True)))
