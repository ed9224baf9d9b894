"""Nodes that got no jobs of a run."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column for the nodes that were not active when a run was created."""
    op.add_column("runs", sa.Column("omitted_nodes", sa.JSON()))
