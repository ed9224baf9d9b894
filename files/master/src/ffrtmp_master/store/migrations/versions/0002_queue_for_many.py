"""Priorities, requirements, single jobs, logs, the audit log, and content in the database."""

import json
from datetime import UTC

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MEDIUM = 2
_STEP_US = 3600 * 1_000_000
_COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_QUEUED = sa.text("state = 'queued'")
_HELD = sa.text("state IN ('leased', 'running')")
_FINISHED = sa.text("finished_at IS NOT NULL")
_UNFINISHED = sa.text("finished_at IS NULL")
_KEYED = sa.text("key IS NOT NULL")


def upgrade() -> None:
    """Add the new tables and columns; existing data is kept."""
    _add_tables()
    _change_credentials_nodes_runs()
    _change_jobs()
    _change_tables_of_jobs()


def _add_tables() -> None:
    op.create_table(
        "requirements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("requirements", sa.JSON(), nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requirements")),
        sa.UniqueConstraint("key", name=op.f("uq_requirements_key")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("deed", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "content",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("piece", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "sha256", "number", name=op.f("pk_content")),
    )


def _change_credentials_nodes_runs() -> None:
    with op.batch_alter_table("credentials") as credentials:
        credentials.add_column(
            sa.Column("is_listed", sa.Boolean(), nullable=False, server_default=sa.text("true"))
        )
        credentials.add_column(sa.Column("created_at", sa.DateTime(timezone=True)))
        credentials.add_column(sa.Column("created_by", sa.String(length=64)))
        credentials.add_column(sa.Column("expires_at", sa.DateTime(timezone=True)))
        credentials.add_column(sa.Column("last_used_at", sa.DateTime(timezone=True)))
    with op.batch_alter_table("nodes") as nodes:
        nodes.add_column(
            sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("1"))
        )
    with op.batch_alter_table("runs") as runs:
        runs.add_column(
            sa.Column(
                "priority", sa.SmallInteger(), nullable=False, server_default=sa.text(str(_MEDIUM))
            )
        )
    op.create_index(
        "ix_runs_unfinished",
        "runs",
        ["id"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )


def _change_jobs() -> None:
    op.drop_index("ix_jobs_queued", "jobs")
    op.drop_index("ix_jobs_held", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(
            sa.Column(
                "priority", sa.SmallInteger(), nullable=False, server_default=sa.text(str(_MEDIUM))
            )
        )
        jobs.add_column(
            sa.Column("rank", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
        )
        jobs.add_column(sa.Column("requirement_id", sa.Integer()))
        jobs.add_column(sa.Column("deadline_s", sa.Double()))
        jobs.add_column(
            sa.Column("created_by", sa.String(length=64), nullable=False, server_default="")
        )
        jobs.add_column(sa.Column("key", sa.String(length=255)))
        jobs.add_column(sa.Column("retry_of", sa.Uuid()))
        jobs.add_column(sa.Column("superseded_by", sa.Uuid()))
    _fill_jobs()
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("run_id", existing_type=sa.Uuid(), nullable=True)
        jobs.alter_column("requirement_id", existing_type=sa.Integer(), nullable=False)
        jobs.alter_column("priority", existing_type=sa.SmallInteger(), server_default=None)
        jobs.alter_column("rank", existing_type=sa.BigInteger(), server_default=None)
        jobs.alter_column("created_by", existing_type=sa.String(length=64), server_default=None)
        jobs.create_foreign_key(
            op.f("fk_jobs_requirement_id"), "requirements", ["requirement_id"], ["id"]
        )
        jobs.drop_column("encoder")
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["requirement_id", "rank", "id", "not_before"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    op.create_index(
        "ix_jobs_held", "jobs", ["leased_to"], sqlite_where=_HELD, postgresql_where=_HELD
    )
    op.create_index(
        "ix_jobs_finished_at",
        "jobs",
        ["finished_at"],
        sqlite_where=_FINISHED,
        postgresql_where=_FINISHED,
    )
    op.create_index(
        "uq_jobs_created_by_key",
        "jobs",
        ["created_by", "key"],
        unique=True,
        sqlite_where=_KEYED,
        postgresql_where=_KEYED,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE jobs SET (fillfactor = 70)")


def _fill_jobs() -> None:
    """Set the requirement set, the rank and the submitter of every job."""
    connection = op.get_bind()
    jobs = sa.table(
        "jobs",
        sa.column("run_id", sa.Uuid()),
        sa.column("node", sa.String()),
        sa.column("encoder", sa.String()),
        sa.column("requirement_id", sa.Integer()),
        sa.column("rank", sa.BigInteger()),
        sa.column("created_by", sa.String()),
    )
    requirements = sa.table(
        "requirements",
        sa.column("id", sa.Integer()),
        sa.column("key", sa.Text()),
        sa.column("requirements", sa.JSON()),
        sa.column("exclusive", sa.Boolean()),
    )
    runs = sa.table(
        "runs",
        sa.column("id", sa.Uuid()),
        sa.column("created_at", sa.DateTime(timezone=True)),
        sa.column("created_by", sa.String()),
    )
    pairs = connection.execute(sa.select(jobs.c.node, jobs.c.encoder).distinct()).all()
    for number, (node, encoder) in enumerate(pairs, start=1):
        wanted = {"encoder": encoder} | ({"node": node} if node is not None else {})
        # The fields are in the order in which the queue encodes them.
        key = {"requirements": wanted, "exclusive": True}
        connection.execute(
            requirements.insert().values(
                id=number,
                key=json.dumps(key, separators=(",", ":")),
                requirements=wanted,
                exclusive=True,
            )
        )
        connection.execute(
            jobs.update()
            .where(jobs.c.encoder == encoder, jobs.c.node.is_not_distinct_from(node))
            .values(requirement_id=number)
        )
    for run in connection.execute(sa.select(runs)).all():
        born = run.created_at if run.created_at.tzinfo else run.created_at.replace(tzinfo=UTC)
        rank = int(born.timestamp() * 1_000_000) - _MEDIUM * _STEP_US
        connection.execute(
            jobs.update()
            .where(jobs.c.run_id == run.id)
            .values(rank=rank, created_by=run.created_by)
        )


def _change_tables_of_jobs() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    with op.batch_alter_table("transitions", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.alter_column("id", existing_type=sa.Integer(), type_=_COUNTED)
        table.add_column(_transaction())
        table.drop_constraint(op.f("fk_transitions_job_id"), type_="foreignkey")
        table.create_foreign_key(
            op.f("fk_transitions_job_id"), "jobs", ["job_id"], ["id"], ondelete="CASCADE"
        )
    with op.batch_alter_table("results", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.alter_column("sequence", existing_type=sa.Integer(), type_=_COUNTED)
        table.add_column(_transaction())
        table.alter_column("run_id", existing_type=sa.Uuid(), nullable=True)
        table.drop_constraint(op.f("fk_results_job_id"), type_="foreignkey")
        table.drop_constraint(op.f("fk_results_run_id"), type_="foreignkey")
    with op.batch_alter_table("artifacts") as table:
        table.drop_constraint(op.f("fk_artifacts_job_id"), type_="foreignkey")
    op.create_index(op.f("ix_artifacts_sha256"), "artifacts", ["sha256"])
    op.create_index(op.f("ix_artifacts_stored_at"), "artifacts", ["stored_at"])
    for name, column in (("transitions", "id"), ("results", "sequence")):
        op.create_index(f"ix_{name}_transaction_id_{column}", name, ["transaction_id", column])
        if is_postgresql:
            op.execute(
                f"ALTER TABLE {name} ALTER COLUMN transaction_id"
                " SET DEFAULT pg_current_xact_id()::text::bigint"
            )
    op.create_table(
        "job_logs",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("offset_bytes", sa.Integer(), nullable=False),
        sa.Column("piece", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_logs_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "attempt", "offset_bytes", name=op.f("pk_job_logs")),
    )


def _transaction() -> sa.Column[int]:
    return sa.Column("transaction_id", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
