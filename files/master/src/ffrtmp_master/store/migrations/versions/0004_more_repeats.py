"""Runs that get more jobs while they go on."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new: the runs that there are get no more jobs."""
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("unsettled_nodes", sa.JSON()))
