"""Counting on where counters wrap around and where the reader is started anew."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from ffrtmp_worker.energy.client import EnergyReading, ZoneReading
from ffrtmp_worker.energy.zones import Zone

_log = logging.getLogger(__name__)

_JOULES_PER_UJ = 1e-6


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a zone was counted: its counter's value then, and when, by the clock since boot."""

    raw_uj: int
    total_uj: int
    at_s: float


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far all zones were counted since the host was booted."""

    boot_id: str
    zones: dict[str, Count] = {}
    gaps: int = 0


class EnergyCounter:
    """Adds up the zones. `clock` is in seconds and goes on while the host sleeps."""

    def __init__(
        self, zones: list[Zone], before: Counts, *, max_power_w: float, clock: Callable[[], float]
    ) -> None:
        """Go on from `before`; no zone ever uses more than `max_power_w`."""
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
        """Half the time in which the quickest zone can wrap around, in seconds."""
        quickest_uj = min(zone.range_uj for zone in self._zones)
        return quickest_uj * _JOULES_PER_UJ / (2 * self._max_power_w)

    def counts(self) -> Counts:
        """Return how far everything was counted, to be kept."""
        return Counts(boot_id=self._boot_id, zones=dict(self._counts), gaps=self._gaps)

    def sample(self) -> None:
        """Read all zones and derive their power since the sample before.

        Raises what `read` does.
        """
        self._read()
        for name, now in self._counts.items():
            then = self._sample.get(name)
            if then is not None and now.at_s > then.at_s:
                used_j = (now.total_uj - then.total_uj) * _JOULES_PER_UJ
                self._watts[name] = used_j / (now.at_s - then.at_s)
        self._sample = dict(self._counts)

    def read(self, monotonic_s: float) -> EnergyReading:
        """Read all zones at the moment `monotonic_s`.

        Raises UnreadableZoneError when one of them cannot be read: the sum of the others would
        pass for the whole.
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
        # After that long the counter may have come round once more than can be seen.
        if at_s - before.at_s > zone.range_uj * _JOULES_PER_UJ / self._max_power_w:
            _log.warning("energy was not counted for a while", extra={"zone": zone.name})
            self._gaps += 1
            used_uj = 0
        return Count(raw_uj=raw_uj, total_uj=before.total_uj + used_uj, at_s=at_s)


def load_counts(file: Path, boot_id: str) -> Counts:
    """Return what was kept in `file` since the host was booted, or an empty count.

    What cannot be understood is as good as nothing: counters that begin at 0 are still right.
    """
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=Counts)
    except FileNotFoundError:
        return Counts(boot_id=boot_id)
    except msgspec.DecodeError as error:
        _log.warning("what was counted before cannot be read: %s", error)
        return Counts(boot_id=boot_id)
    return kept if kept.boot_id == boot_id else Counts(boot_id=boot_id)


def save_counts(file: Path, counts: Counts) -> None:
    """Keep counts in `file`, whole or not at all; raises OSError."""
    partial = file.with_suffix(".new")
    partial.write_bytes(msgspec.json.encode(counts))
    partial.replace(file)
