"""The files that the master has to have before a job can use them: sources, and given FFmpegs."""

from collections.abc import Collection, Mapping

from ffrtmp_master.store.errors import UnprocessableError
from ffrtmp_master.store.statements import Statements


class KnownUploads:
    """Remembers which files were seen to be there: they stay, so that none is looked for twice."""

    def __init__(self) -> None:
        """Know of none."""
        self._seen: set[str] = set()

    def missing(self, using: Statements, digests: Collection[str]) -> set[str]:
        """Return those of some SHA-256 digests whose file was never uploaded."""
        if self._seen.issuperset(digests):
            return set()
        unseen = set(digests) - self._seen
        found = using.sources(sorted(unseen))
        self._seen |= found
        return unseen - found


def missing_sources_error(missing: Collection[str], names: Mapping[str, str]) -> UnprocessableError:
    """Say which files are to be uploaded, by their digests; `names` has what people call them."""
    return UnprocessableError(
        "the master lacks sources; upload them first",
        [f"{names[digest]} (SHA-256 {digest}) is not uploaded" for digest in sorted(missing)],
    )
