"""Uploaded files that jobs need: sources and FFmpegs under test."""

from collections.abc import Collection, Mapping

from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.statements import Statements


def missing_uploads(db: Statements, digests: Collection[str]) -> set[str]:
    """Return those of the SHA-256 digests whose files were not uploaded.

    On PostgreSQL, the records of the others are locked, so that they are not removed before the
    jobs that name them are stored.
    """
    return set(digests) - db.sources(sorted(digests)) if digests else set()


def missing_sources_error(missing: Collection[str], names: Mapping[str, str]) -> UnprocessableError:
    """Return the error that lists missing files. `names` maps each digest to a display name."""
    return UnprocessableError(
        "the master lacks sources; upload them first",
        [f"{names[digest]} (SHA-256 {digest}) is not uploaded" for digest in sorted(missing)],
    )
