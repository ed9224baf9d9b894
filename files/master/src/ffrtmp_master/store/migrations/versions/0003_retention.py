"""Counts of removed jobs, and content that is listed only after its upload is complete."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the new tables and columns. The dropped table was never written to."""
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("removed_counts", sa.JSON()))
    op.drop_table("content")
    op.create_table(
        "contents",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("upload", sa.Uuid(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "sha256", name=op.f("pk_contents")),
        sa.UniqueConstraint("upload", name=op.f("uq_contents_upload")),
    )
    op.create_table(
        "content_pieces",
        sa.Column("upload", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("piece", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("upload", "number", name=op.f("pk_content_pieces")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Compression does not reduce the size of video.
        op.execute("ALTER TABLE content_pieces ALTER COLUMN piece SET STORAGE EXTERNAL")
