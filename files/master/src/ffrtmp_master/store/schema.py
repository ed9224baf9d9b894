"""The tables."""

from datetime import datetime
from typing import Any

from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Artifact, Failure, Progress, Registration
from ffrtmp_shared.requirements import Requirements
from ffrtmp_shared.scenario import Scenario
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
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

# SQLite counts rows up by itself only in a column that is called INTEGER.
_COUNTED = BigInteger().with_variant(Integer, "sqlite")

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
    # Whether the operator's file lists it; what is made over the API stays when that changes.
    Column("is_listed", Boolean, nullable=False, server_default=text("true")),
    Column("created_at", UtcDateTime),
    Column("created_by", _NAME),
    Column("expires_at", UtcDateTime),
    # Exact to a minute: it is not worth a write for every call.
    Column("last_used_at", UtcDateTime),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _COUNTED, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", _NAME, nullable=False),
    Column("deed", _NAME, nullable=False),
    Column("target", String(255), nullable=False),
    Column("details", Typed(dict[str, Any]), nullable=False),
    sqlite_autoincrement=True,
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    # What the operator wants: active or draining. Offline is seen from last_seen_at.
    Column("state", _STATE, nullable=False),
    Column("registration", Typed(Registration), nullable=False),
    # Counts registrations, so that what was derived from one is known to be out of date.
    Column("revision", Integer, nullable=False, server_default=text("1")),
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

_UNFINISHED = text("finished_at IS NULL")

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
    Column("priority", SmallInteger, nullable=False, server_default=text("2")),
    # How its jobs ended that retention has removed: their number by state.
    Column("removed_counts", Typed(dict[str, int])),
    # Nodes on which more jobs of it may follow those that there are, and when each was last given
    # a control encode, or null; NULL when none follows.
    Column("unsettled_nodes", Typed(dict[str, datetime | None])),
    # One submitter's keys do not meet another's.
    UniqueConstraint("created_by", "key"),
    Index("ix_runs_unfinished", "id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
)

# Every different set of requirements once: a claim seeks by the sets that its node meets.
requirements = Table(
    "requirements",
    metadata,
    Column("id", Integer, primary_key=True),
    # Canonical JSON of the requirements and of whether the job is exclusive.
    Column("key", Text, nullable=False, unique=True),
    Column("requirements", Typed(Requirements), nullable=False),
    Column("exclusive", Boolean, nullable=False),
    sqlite_autoincrement=True,
)

_QUEUED = text("state = 'queued'")
_HELD = text("state IN ('leased', 'running')")
_FINISHED = text("finished_at IS NOT NULL")
_KEYED = text("key IS NOT NULL")
_OF_A_RUN = text("run_id IS NOT NULL")

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.id")),
    Column("position", Integer, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("state", _STATE, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    # Who goes first, the lowest: microseconds of its birth, earlier for a higher priority.
    Column("rank", BigInteger, nullable=False),
    Column("requirement_id", Integer, ForeignKey("requirements.id"), nullable=False),
    Column("node", _NAME),
    Column("leased_to", _NAME),
    Column("slot", Integer),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("not_before", UtcDateTime),
    Column("lease_expires_at", UtcDateTime),
    Column("cancel_requested", Boolean, nullable=False),
    Column("deadline_s", Double),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", _NAME, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("key", String(255)),
    Column("retry_of", Uuid),
    Column("superseded_by", Uuid),
    Column("scenario", Typed(Scenario), nullable=False),
    Column("progress", Typed(Progress)),
    Column("failure", Typed(Failure)),
    # A claim seeks one place in this index for each set of requirements that its node meets.
    Index(
        "ix_jobs_queued",
        "requirement_id",
        "rank",
        "id",
        "not_before",
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    ),
    # Only what is being worked on: as small as the farm has slots.
    Index("ix_jobs_held", "leased_to", sqlite_where=_HELD, postgresql_where=_HELD),
    Index(
        "ix_jobs_run_id_state",
        "run_id",
        "state",
        sqlite_where=_OF_A_RUN,
        postgresql_where=_OF_A_RUN,
    ),
    Index("ix_jobs_finished_at", "finished_at", sqlite_where=_FINISHED, postgresql_where=_FINISHED),
    Index(
        "uq_jobs_created_by_key",
        "created_by",
        "key",
        unique=True,
        sqlite_where=_KEYED,
        postgresql_where=_KEYED,
    ),
    # Room to change a row in its own page: a job's row changes four times.
    postgresql_with={"fillfactor": 70},
)


# The number of the transaction that wrote a row. On PostgreSQL transactions end in another order
# than they count rows up, so readers that go on from a place order by it and stay behind the
# oldest that is open; SQLite writes one after another, and it is 0 there.
def _transaction_id() -> Column[int]:
    return Column("transaction_id", BigInteger, nullable=False, server_default=text("0"))


transitions = Table(
    "transitions",
    metadata,
    Column("id", _COUNTED, primary_key=True),
    _transaction_id(),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("before", _STATE),
    Column("after", _STATE, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_transitions_transaction_id_id", "transaction_id", "id"),
    # Never hand out a number twice: whoever follows the events would skip what came under it.
    sqlite_autoincrement=True,
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    # Where this piece begins in the attempt's log, in bytes of UTF-8.
    Column("offset_bytes", Integer, primary_key=True),
    Column("piece", Text, nullable=False),
)

results = Table(
    "results",
    metadata,
    # The order in which results were stored; cursors are made of it.
    Column("sequence", _COUNTED, primary_key=True),
    _transaction_id(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("run_id", Uuid),
    # Results stay when retention removes their job.
    Column("job_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node", _NAME, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("scenario", Typed(Scenario), nullable=False),
    Column("measurement", Typed(Measurement), nullable=False),
    Column("artifacts", Typed(tuple[Artifact, ...]), nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
    UniqueConstraint("job_id", "attempt"),
    Index("ix_results_run_id", "run_id", sqlite_where=_OF_A_RUN, postgresql_where=_OF_A_RUN),
    Index("ix_results_transaction_id_sequence", "transaction_id", "sequence"),
    # Never hand out a number twice: a cursor would skip what came under it.
    sqlite_autoincrement=True,
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("sha256", _DIGEST, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False, index=True),
)

# Sources and artifacts whose bytes are in the database, because several masters share it: what is
# listed here is whole and checked. Elsewhere they are files.
contents = Table(
    "contents",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("sha256", _DIGEST, primary_key=True),
    # Which pieces it is made of. An id of version 7: it tells when the upload began.
    Column("upload", Uuid, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    # By the database's clock, and anew when the same content is uploaded again.
    Column("stored_at", UtcDateTime, nullable=False),
)

content_pieces = Table(
    "content_pieces",
    metadata,
    Column("upload", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("piece", LargeBinary, nullable=False),
)
