"""The node's cache of probes, with which repeats of a scenario use the same setting."""

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.constrained_types import Amount
from ffrtmp_shared.rate_search import MAX_RATE_PROBES, RateProbe
from ffrtmp_shared.scenario import EncodeSettings
from msgspec import Meta

from ffrtmp_worker.measure.json_cache import JsonCache


class ProbeSeries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The probes of a search in their order, and the time that they took, in seconds."""

    probes: Annotated[tuple[RateProbe, ...], Meta(max_length=MAX_RATE_PROBES)] = ()
    duration_s: Amount = 0.0


class ProbeCache:
    """Cache of probes in a folder that all slots of a node share."""

    def __init__(self, folder: Path | None) -> None:
        """Store the cache in `folder`. If it is None, nothing is cached."""
        self._files = JsonCache(folder, ProbeSeries)

    def load(self, key: str) -> ProbeSeries:
        """Return the cached probes of a search; there are none if it has not been started."""
        return self._files.load(f"probes-{key}") or ProbeSeries()

    def store(self, key: str, series: ProbeSeries) -> None:
        """Store the probes of a search."""
        self._files.store(f"probes-{key}", series)

    def forget(self, key: str) -> None:
        """Remove the probes of a search, so that the next job makes them again."""
        self._files.forget(f"probes-{key}")


def probe_key(settings: EncodeSettings, source_sha256: str, *builds_sha256: str) -> str:
    """Return the key of a search.

    Args:
        settings: The settings of the encode, with the VMAF to reach.
        source_sha256: The digest of the source's content.
        *builds_sha256: The digests of the programs that encode and compare.
    """
    parts = [source_sha256, *builds_sha256, msgspec.to_builtins(settings)]
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
