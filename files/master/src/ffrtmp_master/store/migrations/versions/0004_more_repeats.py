"""Runs that get further jobs while they are active."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; existing runs get no further jobs."""
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("unsettled_nodes", sa.JSON()))
