"""Epochs of positions, the times of leases, and an index of the jobs of a requirement set."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the new tables and the index. Creating the index reads the table of jobs once."""
    op.create_table(
        "epochs",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.Column("server", sa.Text()),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("transaction_offset", sa.BigInteger(), nullable=False),
        sa.Column("results_transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("results_sequence", sa.BigInteger(), nullable=False),
        sa.Column("transitions_transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("transitions_sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_epochs")),
        sa.UniqueConstraint("token", name=op.f("uq_epochs_token")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "lease_times",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("listening_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("extended_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease_times")),
    )
    op.create_index("ix_jobs_requirement_id", "jobs", ["requirement_id"])
    # Earlier releases kept the requirement sets of jobs that retention had removed.
    op.execute(
        "DELETE FROM requirements WHERE NOT EXISTS"
        " (SELECT 1 FROM jobs WHERE jobs.requirement_id = requirements.id)"
    )
