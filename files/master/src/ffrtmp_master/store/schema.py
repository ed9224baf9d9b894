"""The tables of the database."""

from datetime import datetime
from typing import Any

from ffrtmp_shared.attempt_models import Artifact, Failure, Progress
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import OmittedNode
from ffrtmp_shared.node_models import NodeHeartbeat, Registration
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

# SQLite generates row numbers only for columns of the type INTEGER.
_GENERATED = BigInteger().with_variant(Integer, "sqlite")

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
    # Whether the credentials file lists the credential. Others were created over the API.
    Column("is_listed", Boolean, nullable=False, server_default=text("true")),
    Column("created_at", UtcDateTime),
    Column("created_by", _NAME),
    Column("expires_at", UtcDateTime),
    # Updated at most once a minute, so that not every request needs a write.
    Column("last_used_at", UtcDateTime),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _GENERATED, primary_key=True),
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
    # The state that the operator set: active or draining. Whether a node is offline is derived from
    # last_seen_at.
    Column("state", _STATE, nullable=False),
    Column("registration", Typed(Registration), nullable=False),
    # The number of registrations of the node, from which masters detect outdated cached data.
    Column("revision", Integer, nullable=False, server_default=text("1")),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    # The last heartbeat of the node, and when it arrived.
    Column("heartbeat", Typed(NodeHeartbeat)),
    Column("heartbeat_at", UtcDateTime),
)

sources = Table(
    "sources",
    metadata,
    Column("sha256", _DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # The time of the last upload, or of the last submission that names the source.
    Column("stored_at", UtcDateTime, nullable=False),
    # The name of the token of the first upload.
    Column("uploaded_by", _NAME, index=True),
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
    # The number of jobs in each state that retention has removed.
    Column("removed_counts", Typed(dict[str, int])),
    # The nodes that may get further jobs of the run, each with the time of its last control encode,
    # or with null if it gets no control encodes. The column is NULL if there are no such nodes.
    Column("unsettled_nodes", Typed(dict[str, datetime | None])),
    # The nodes that got no jobs because they were not active. NULL if there are none.
    Column("omitted_nodes", Typed(tuple[OmittedNode, ...])),
    # Idempotency keys are unique for each submitter.
    UniqueConstraint("created_by", "key"),
    Index("ix_runs_unfinished", "id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
)

# Each distinct requirement set is stored once. A claim searches for jobs of the sets that its node
# meets.
requirements = Table(
    "requirements",
    metadata,
    Column("id", Integer, primary_key=True),
    # The canonical JSON text of the requirements and the exclusive flag.
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
    # The creation time in microseconds, reduced according to the priority. The job with the lowest
    # rank is leased first.
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
    # A claim makes one seek in this index for each requirement set that its node meets.
    Index(
        "ix_jobs_queued",
        "requirement_id",
        "rank",
        "id",
        "not_before",
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    ),
    # Retention removes requirement sets that have no jobs.
    Index("ix_jobs_requirement_id", "requirement_id"),
    # This index contains only leased and running jobs, at most as many as the farm has slots.
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
    # Each page keeps free space for updates, because the row of a job changes four times.
    postgresql_with={"fillfactor": 70},
)


# The id of the transaction that wrote a row. On PostgreSQL, this is the id on the server plus the
# offset of the epoch. There, transactions do not commit in the order of the row numbers that they
# generate. Readers that continue from a position therefore order rows by transaction id, and ignore
# rows that are not older than the oldest open transaction. On SQLite, the id is 0, because
# transactions run one after another.
def _transaction_id() -> Column[int]:
    return Column("transaction_id", BigInteger, nullable=False, server_default=text("0"))


# The periods in which the database was not replaced by another copy of itself; see store/epochs.py.
epochs = Table(
    "epochs",
    metadata,
    Column("id", _GENERATED, primary_key=True),
    Column("token", String(40), nullable=False, unique=True),
    # The server process, the database and the table that the epoch belongs to; NULL on SQLite.
    Column("server", Text),
    Column("began_at", UtcDateTime, nullable=False),
    # The difference between the transaction ids that are stored and those of the server.
    Column("transaction_offset", BigInteger, nullable=False),
    # The positions of the last result and of the last transition before the epoch.
    Column("results_transaction_id", BigInteger, nullable=False),
    Column("results_sequence", BigInteger, nullable=False),
    Column("transitions_transaction_id", BigInteger, nullable=False),
    Column("transitions_sequence", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# The times that masters share to extend leases; see queue/lease_extension.py. There is one row.
lease_times = Table(
    "lease_times",
    metadata,
    Column("id", Integer, primary_key=True),
    # The last recorded time at which any master could receive heartbeats.
    Column("listening_until", UtcDateTime, nullable=False),
    # A lease that ends later has had a heartbeat since leases were last extended.
    Column("extended_until", UtcDateTime, nullable=False),
)

transitions = Table(
    "transitions",
    metadata,
    Column("id", _GENERATED, primary_key=True),
    _transaction_id(),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("before", _STATE),
    Column("after", _STATE, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_transitions_transaction_id_id", "transaction_id", "id"),
    # Numbers are never reused, because clients that follow the events would skip a reused number.
    sqlite_autoincrement=True,
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    # The offset of the piece in the log of the attempt, in bytes of UTF-8.
    Column("offset_bytes", Integer, primary_key=True),
    Column("piece", Text, nullable=False),
)

results = Table(
    "results",
    metadata,
    # The number of the result in the order of storage. It is part of cursors.
    Column("sequence", _GENERATED, primary_key=True),
    _transaction_id(),
    Column("id", Uuid, nullable=False, unique=True),
    Column("run_id", Uuid),
    # This is not a foreign key, because results are kept when retention removes their jobs.
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
    # Numbers are never reused, because a cursor would skip a reused number.
    sqlite_autoincrement=True,
)

_IS_DRIFT = text("is_drift")

# The valid and degraded results of control encodes that had their node to themselves. Like results,
# they are kept.
control_speeds = Table(
    "control_speeds",
    metadata,
    Column("id", _GENERATED, primary_key=True),
    Column("run_id", Uuid, nullable=False),
    Column("node", _NAME, nullable=False),
    Column("job_id", Uuid, nullable=False),
    # The version of the control encode and the FFmpeg that ran it. Only speeds with the same ones
    # are comparable.
    Column("version", Integer, nullable=False),
    Column("ffmpeg_sha256", _DIGEST, nullable=False),
    Column("speed", Double, nullable=False),
    # The duration of the job with all its steps, in seconds.
    Column("duration_s", Double),
    Column("stored_at", UtcDateTime, nullable=False),
    # The usual range of the node when the speed was stored, its center, and the side of the range
    # on which the speed lies. NULL if the history of the node was too short.
    Column("low", Double),
    Column("usual", Double),
    Column("high", Double),
    Column("side", SmallInteger),
    # Whether the speed confirms that the node has changed, so that its results of the run are
    # degraded.
    Column("is_drift", Boolean, nullable=False),
    # The time since which the node is suspect after this control encode, and the run at that time.
    Column("suspect_since", UtcDateTime),
    Column("suspect_run_id", Uuid),
    Index("ix_control_speeds_node_id", "node", "id"),
    Index("ix_control_speeds_run_id_node", "run_id", "node"),
    Index("ix_control_speeds_drifts", "run_id", sqlite_where=_IS_DRIFT, postgresql_where=_IS_DRIFT),
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

# Complete and verified sources and artifacts whose bytes are in the database. This is the case if
# several masters can share the database; otherwise the bytes are in files.
contents = Table(
    "contents",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("sha256", _DIGEST, primary_key=True),
    # The id of the upload whose pieces form the content. It is a UUIDv7, which contains the time at
    # which the upload started.
    Column("upload", Uuid, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False),
    # The time on the clock of the database. It is updated if the same content is uploaded again.
    Column("stored_at", UtcDateTime, nullable=False),
)

content_pieces = Table(
    "content_pieces",
    metadata,
    Column("upload", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("piece", LargeBinary, nullable=False),
)
