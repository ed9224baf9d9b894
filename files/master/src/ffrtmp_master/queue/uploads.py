"""Uploaded files that jobs need: sources and FFmpegs under test."""

from collections.abc import Collection, Mapping
from datetime import datetime

from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.rows import USE_RECORDED_EVERY
from ffrtmp_master.store.statements import Statements


def missing_uploads(db: Statements, digests: Collection[str], now: datetime) -> set[str]:
    """Return which files were not uploaded, and record that the others are used.

    On PostgreSQL, the records of the others are locked, so that they are not removed before the
    jobs that name them are stored.

    Args:
        db: The statements of the transaction that stores the jobs.
        digests: The SHA-256 digests of the files.
        now: The current time.

    Returns:
        The digests of the missing files.
    """
    if not digests:
        return set()
    present = db.sources(sorted(digests))
    recorded_before = now - USE_RECORDED_EVERY
    unrecorded = sorted(digest for digest, used in present.items() if used < recorded_before)
    if unrecorded:
        db.touch_sources(unrecorded, now)
    return set(digests).difference(present)


def missing_sources_error(missing: Collection[str], names: Mapping[str, str]) -> UnprocessableError:
    """Return the error that lists missing files. `names` maps each digest to a display name."""
    return UnprocessableError(
        "the master lacks sources; upload them first",
        [f"{names[digest]} (SHA-256 {digest}) is not uploaded" for digest in sorted(missing)],
    )
