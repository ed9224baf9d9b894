"""Speeds of control encodes, from which drifts of nodes are found."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_IS_DRIFT = sa.text("is_drift")


def upgrade() -> None:
    """Add the table. The history of each node begins with the next control encode."""
    op.create_table(
        "control_speeds",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ffmpeg_sha256", sa.String(64), nullable=False),
        sa.Column("speed", sa.Double(), nullable=False),
        sa.Column("duration_s", sa.Double()),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("low", sa.Double()),
        sa.Column("usual", sa.Double()),
        sa.Column("high", sa.Double()),
        sa.Column("side", sa.SmallInteger()),
        sa.Column("is_drift", sa.Boolean(), nullable=False),
        sa.Column("suspect_since", sa.DateTime(timezone=True)),
        sa.Column("suspect_run_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name="pk_control_speeds"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_control_speeds_node_id", "control_speeds", ["node", "id"])
    op.create_index("ix_control_speeds_run_id_node", "control_speeds", ["run_id", "node"])
    op.create_index(
        "ix_control_speeds_drifts",
        "control_speeds",
        ["run_id"],
        sqlite_where=_IS_DRIFT,
        postgresql_where=_IS_DRIFT,
    )
