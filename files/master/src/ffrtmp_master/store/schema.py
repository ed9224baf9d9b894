"""The tables."""

from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Artifact, Failure, Progress, Registration
from ffrtmp_shared.scenario import Scenario
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from ffrtmp_master.store.types import Typed, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(64)
_STATE = String(16)
_DIGEST = String(64)

credentials = Table(
    "credentials",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("node", _NAME),
    Column("sha256", _DIGEST, nullable=False, unique=True),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    # What the operator wants: active or draining. Offline is seen from last_seen_at.
    Column("state", _STATE, nullable=False),
    Column("registration", Typed(Registration), nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("sha256", _DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("suite_name", _NAME, nullable=False),
    Column("suite", Text, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("nodes", Typed(tuple[str, ...]), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", _NAME, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("key", String(255)),
    # One submitter's keys do not meet another's.
    UniqueConstraint("created_by", "key"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("state", _STATE, nullable=False),
    Column("node", _NAME),
    Column("leased_to", _NAME),
    Column("slot", Integer),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("encoder", String(64), nullable=False),
    Column("not_before", UtcDateTime),
    Column("lease_expires_at", UtcDateTime),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("scenario", Typed(Scenario), nullable=False),
    Column("progress", Typed(Progress)),
    Column("failure", Typed(Failure)),
    # A claim seeks one place in this index for each encoder that its node has.
    Index(
        "ix_jobs_queued",
        "node",
        "encoder",
        "run_id",
        "position",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    # Only what is being worked on: as small as the farm has slots.
    Index(
        "ix_jobs_held",
        "leased_to",
        "lease_expires_at",
        sqlite_where=text("state IN ('leased', 'running')"),
        postgresql_where=text("state IN ('leased', 'running')"),
    ),
    Index("ix_jobs_run_id_state", "run_id", "state"),
)

transitions = Table(
    "transitions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("before", _STATE),
    Column("after", _STATE, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
)

results = Table(
    "results",
    metadata,
    # The order in which results were stored; cursors are made of it.
    Column("sequence", Integer, primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("run_id", Uuid, ForeignKey("runs.id"), nullable=False, index=True),
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node", _NAME, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("scenario", Typed(Scenario), nullable=False),
    Column("measurement", Typed(Measurement), nullable=False),
    Column("artifacts", Typed(tuple[Artifact, ...]), nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
    UniqueConstraint("job_id", "attempt"),
    # Never hand out a number twice: a cursor would skip what came under it.
    sqlite_autoincrement=True,
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("sha256", _DIGEST, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
)
