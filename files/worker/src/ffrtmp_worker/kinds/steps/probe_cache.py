"""The node's cache of probes, with which repeats of a scenario use the same setting."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.constrained_types import Amount
from ffrtmp_shared.rate_search import MAX_RATE_PROBES, RateProbe
from ffrtmp_shared.scenario import EncodeSettings
from msgspec import Meta

_log = logging.getLogger(__name__)


class ProbeSeries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The probes of a search in their order, and the time that they took, in seconds."""

    probes: Annotated[tuple[RateProbe, ...], Meta(max_length=MAX_RATE_PROBES)] = ()
    duration_s: Amount = 0.0


class ProbeCache:
    """Cache of probes in a folder that all slots of a node share."""

    def __init__(self, folder: Path | None) -> None:
        """Store the cache in `folder`. If it is None, nothing is cached."""
        self._folder = folder

    def load(self, key: str) -> ProbeSeries:
        """Return the cached probes of a search; there are none if it has not been started."""
        file = self._file(key)
        if file is None:
            return ProbeSeries()
        try:
            return msgspec.json.decode(file.read_bytes(), type=ProbeSeries)
        except FileNotFoundError:
            return ProbeSeries()
        except (OSError, msgspec.DecodeError) as error:
            # The file was written by another release, or is damaged. Probes can be repeated.
            _log.warning("cached probes cannot be read", extra={"file": file.name, "why": error})
            return ProbeSeries()

    def store(self, key: str, series: ProbeSeries) -> None:
        """Store the probes of a search."""
        file = self._file(key)
        if file is None:
            return
        # The slots of a node share the folder, so the file is created atomically.
        part = file.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(msgspec.json.encode(series))
            part.replace(file)
        except OSError as error:
            # The cache only saves time.
            _log.warning("probes cannot be cached", extra={"file": file.name, "why": error})
            part.unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """Remove the probes of a search, so that the next job makes them again."""
        file = self._file(key)
        if file is not None:
            file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / f"probes-{key}.json"


def probe_key(settings: EncodeSettings, source_sha256: str, *builds_sha256: str) -> str:
    """Return the key of a search.

    Args:
        settings: The settings of the encode, with the VMAF to reach.
        source_sha256: The digest of the source's content.
        *builds_sha256: The digests of the programs that encode and compare.
    """
    parts = [source_sha256, *builds_sha256, msgspec.to_builtins(settings)]
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
