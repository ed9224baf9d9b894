"""Records of artifacts in the database. The package `content` stores their bytes."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from ffrtmp_shared.attempt_models import Artifact
from sqlalchemy import ColumnElement, Connection, select

from ffrtmp_master.store.chunks import chunks
from ffrtmp_master.store.content.base import Content
from ffrtmp_master.store.errors import NotFoundError
from ffrtmp_master.store.schema import artifacts, sources
from ffrtmp_master.store.upserts import insert_into

_DIGESTS_AT_ONCE = 500


def attach(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    *,
    name: str,
    content: Content,
    now: datetime,
) -> None:
    """Record a file as an artifact of an attempt. It replaces an artifact of the same name.

    Args:
        connection: A connection with an open transaction.
        job_id: The job.
        attempt: The number of the attempt.
        name: The name of the artifact.
        content: The digest and size of the file.
        now: The current time.
    """
    values = {
        "sha256": content.sha256,
        "size_bytes": content.size_bytes,
        "stored_at": now,
    }
    connection.execute(
        insert_into(connection, artifacts)
        .values(job_id=job_id, attempt=attempt, name=name, **values)
        .on_conflict_do_update(
            index_elements=[artifacts.c.job_id, artifacts.c.attempt, artifacts.c.name],
            set_=values,
        )
    )


def list_for_attempt(connection: Connection, job_id: UUID, attempt: int) -> dict[str, Artifact]:
    """Return the artifacts of an attempt.

    Args:
        connection: A connection to the database.
        job_id: The job.
        attempt: The number of the attempt.

    Returns:
        The artifacts by name.
    """
    rows = connection.execute(
        select(artifacts).where(artifacts.c.job_id == job_id, artifacts.c.attempt == attempt)
    )
    return {
        row.name: Artifact(name=row.name, sha256=row.sha256, size_bytes=row.size_bytes)
        for row in rows
    }


def get_artifact(connection: Connection, job_id: UUID, attempt: int, name: str) -> Artifact:
    """Return an artifact of an attempt.

    Args:
        connection: A connection to the database.
        job_id: The job.
        attempt: The number of the attempt.
        name: The name of the artifact.

    Returns:
        The artifact.

    Raises:
        NotFoundError: The attempt has no artifact of that name.
    """
    artifact = list_for_attempt(connection, job_id, attempt).get(name)
    if artifact is None:
        raise NotFoundError(f"attempt {attempt} of job {job_id} has no artifact {name}")
    return artifact


def used_by_artifacts(connection: Connection, digests: Collection[str]) -> set[str]:
    """Return those of the digests that belong to an artifact."""
    return _present(connection, artifacts.c.sha256, digests)


def used_by_sources(connection: Connection, digests: Collection[str]) -> set[str]:
    """Return those of the digests that belong to a source."""
    return _present(connection, sources.c.sha256, digests)


def _present(
    connection: Connection, column: ColumnElement[str], digests: Collection[str]
) -> set[str]:
    found: set[str] = set()
    for batch in chunks(digests, _DIGESTS_AT_ONCE):
        query = select(column).where(column.in_(batch)).distinct()
        found.update(connection.execute(query).scalars())
    return found
