"""Documents that PostgreSQL compresses are compressed by LZ4 where the server knows it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What is more than some 2 KB a row. The default, pglz, took half of the time that storing a result
# took.
_LARGE = {
    "jobs": ("scenario", "progress", "failure"),
    "results": ("scenario", "measurement", "artifacts"),
    "job_logs": ("piece",),
}

_KNOWS_LZ4 = (
    "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
)


def upgrade() -> None:
    """Compress what is written from now on by LZ4; what there is stays as it is, and readable."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    if not connection.execute(sa.text(_KNOWS_LZ4)).scalar():
        # A server older than 14, or built without it.
        return
    for table, columns in _LARGE.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET COMPRESSION lz4")
