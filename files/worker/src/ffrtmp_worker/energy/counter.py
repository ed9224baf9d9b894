"""Accumulation of energy counters across wraparounds and restarts of the reader."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
from ffrtmp_shared.atomic_file import write_atomically

from ffrtmp_worker.energy.client import EnergyReading, ZoneReading
from ffrtmp_worker.energy.zones import Zone

_log = logging.getLogger(__name__)

_JOULES_PER_UJ = 1e-6

_READ_SLACK_S = 1.0
"""Time that is added to the interval of two readings when the possible energy is computed, in
seconds: the values are not read at exactly the times that are recorded."""


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Count of a zone at the time `at_s`, in seconds since boot.

    `raw_uj` is the value of the zone's counter, and `total_uj` is the energy counted since boot.
    """

    raw_uj: int
    total_uj: int
    at_s: float


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts of all zones since the host was booted."""

    boot_id: str
    zones: dict[str, Count] = {}
    gaps: int = 0


class EnergyCounter:
    """Accumulates the energy of zones, even if their counters wrap around."""

    def __init__(
        self, zones: list[Zone], before: Counts, *, max_power_w: float, clock: Callable[[], float]
    ) -> None:
        """Create the counter.

        Args:
            zones: the zones to read.
            before: the counts to continue from.
            max_power_w: upper limit of a zone's power, in watts. It determines after which time a
                counter may have wrapped around more than once, and which energy is impossible.
            clock: a function that returns the time in seconds, on a clock that also advances
                while the host is suspended.
        """
        self._zones = zones
        self._boot_id = before.boot_id
        self._counts: dict[str, Count] = dict(before.zones)
        self._gaps = before.gaps
        self._max_power_w = max_power_w
        self._clock = clock
        self._sample: dict[str, Count] = {}
        self._watts: dict[str, float] = {}

    @property
    def slowest_interval_s(self) -> float:
        """Longest interval at which no wraparound is missed, with a safety margin, in seconds."""
        smallest_uj = min(zone.range_uj for zone in self._zones)
        return smallest_uj * _JOULES_PER_UJ / (2 * self._max_power_w)

    def counts(self) -> Counts:
        """Return the counts to store."""
        return Counts(boot_id=self._boot_id, zones=dict(self._counts), gaps=self._gaps)

    def sample(self) -> None:
        """Read all zones and derive their power since the previous sample.

        Raises KernelFileError if a zone cannot be read.
        """
        self._read()
        for name, now in self._counts.items():
            then = self._sample.get(name)
            if then is not None and now.at_s > then.at_s:
                used_j = (now.total_uj - then.total_uj) * _JOULES_PER_UJ
                self._watts[name] = used_j / (now.at_s - then.at_s)
        self._sample = dict(self._counts)

    def read(self, monotonic_s: float) -> EnergyReading:
        """Read all zones; `monotonic_s` is the current time.

        Raises KernelFileError if a zone cannot be read, because the sum of the other zones would
        be mistaken for the total.
        """
        self._read()
        zones = {
            name: ZoneReading(joules=count.total_uj * _JOULES_PER_UJ, watts=self._watts.get(name))
            for name, count in self._counts.items()
        }
        return EnergyReading(monotonic_s=monotonic_s, zones=zones, gaps=self._gaps, reason="")

    def _read(self) -> None:
        found = {zone: zone.read_uj() for zone in self._zones}
        at_s = self._clock()
        self._counts = {zone.name: self._count(zone, raw, at_s) for zone, raw in found.items()}

    def _count(self, zone: Zone, raw_uj: int, at_s: float) -> Count:
        before = self._counts.get(zone.name)
        if before is None:
            return Count(raw_uj=raw_uj, total_uj=0, at_s=at_s)
        used_uj = raw_uj - before.raw_uj
        if used_uj < 0:
            used_uj += zone.range_uj
        elapsed_s = at_s - before.at_s
        # After a longer interval, the counter may have wrapped around more than once. A counter
        # that restarted or jumped shows more energy than the zone can use in the time.
        possible_j = self._max_power_w * (elapsed_s + _READ_SLACK_S)
        if (
            elapsed_s > zone.range_uj * _JOULES_PER_UJ / self._max_power_w
            or used_uj * _JOULES_PER_UJ > possible_j
        ):
            _log.warning("energy was not counted for a while", extra={"zone": zone.name})
            self._gaps += 1
            used_uj = 0
        return Count(raw_uj=raw_uj, total_uj=before.total_uj + used_uj, at_s=at_s)


def load_counts(file: Path, boot_id: str) -> Counts:
    """Return the counts of this boot that are stored in `file`, or empty counts.

    A file that cannot be decoded is ignored, because counts that start from 0 are also correct.
    """
    try:
        stored = msgspec.json.decode(file.read_bytes(), type=Counts)
    except FileNotFoundError:
        return Counts(boot_id=boot_id)
    except msgspec.DecodeError as error:
        _log.warning("the stored energy counts cannot be read: %s", error)
        return Counts(boot_id=boot_id)
    return stored if stored.boot_id == boot_id else Counts(boot_id=boot_id)


def save_counts(file: Path, counts: Counts) -> None:
    """Store the counts in `file` atomically. Raises OSError if the file cannot be written."""
    write_atomically(file, msgspec.json.encode(counts), is_durable=False)
