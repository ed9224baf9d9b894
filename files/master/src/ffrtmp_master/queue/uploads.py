"""Uploaded files that jobs need: sources and FFmpegs under test."""

from collections.abc import Collection, Mapping

from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.statements import Statements


class KnownUploads:
    """A cache of the digests of uploaded files.

    Uploaded files are never removed while the master runs, so a cached digest stays valid.
    """

    def __init__(self) -> None:
        """Create an empty cache."""
        self._present: set[str] = set()

    def missing(self, db: Statements, digests: Collection[str]) -> set[str]:
        """Return those of the SHA-256 digests whose files were not uploaded."""
        if self._present.issuperset(digests):
            return set()
        unknown = set(digests) - self._present
        found = db.sources(sorted(unknown))
        self._present |= found
        return unknown - found


def missing_sources_error(missing: Collection[str], names: Mapping[str, str]) -> UnprocessableError:
    """Return the error that lists missing files. `names` maps each digest to a display name."""
    return UnprocessableError(
        "the master lacks sources; upload them first",
        [f"{names[digest]} (SHA-256 {digest}) is not uploaded" for digest in sorted(missing)],
    )
