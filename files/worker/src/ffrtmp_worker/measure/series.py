"""Time series of an attempt with a row for each second, for plots and diagnosis."""

import math
import threading
import time
from array import array
from collections.abc import Callable

from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_worker.energy.client import EnergyReading
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.sampling import HostSample

_BITS_PER_KBIT = 1000 / 8
_UNKNOWN = math.nan

COLUMNS = (
    "time_unix_s",
    "elapsed_s",
    "frames",
    "fps",
    "output_bytes",
    "output_bitrate_kbps",
    "lag_s",
    "host_cpu_ratio",
    "frequency_mean_mhz",
    "temperature_celsius",
    "power_w",
)
"""The columns of a series.

`time_unix_s` is the time of the row, in seconds since 1970. `elapsed_s` is the time since the start
of the measurement. `frames` and `output_bytes` are the totals of the current process; `fps` and
`output_bitrate_kbps` are the rates at which they have grown since the previous row. `lag_s` is the
lag of the encoder of a live stream. The other columns describe all CPUs and packages of the host
since the previous row.
"""


class Series:
    """Rows of a running measurement. One thread adds rows, and another one sets the progress.

    Unknown values are NaN. A measurement of a day has 86,400 rows, which need 8 MB of memory.
    """

    def __init__(self) -> None:
        """Create a series without rows."""
        self.columns = {name: array("d") for name in COLUMNS}
        self._lock = threading.Lock()
        self._read_energy: Callable[[], EnergyReading] | None = None
        self._start_s: float | None = None
        self._progress = dict.fromkeys(("frames", "output_bytes", "lag_s"), _UNKNOWN)
        self._energy: EnergyReading | None = None
        self._cpu: CpuTimes | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns["elapsed_s"])

    def start(self, read_energy: Callable[[], EnergyReading] | None) -> None:
        """Discard all rows and start a measurement; `read_energy` reads the host's energy."""
        with self._lock:
            for column in self.columns.values():
                del column[:]
            self._read_energy = read_energy
            self._energy = None
            self._cpu = None
            self._start_s = time.monotonic()
            self._progress = dict.fromkeys(self._progress, _UNKNOWN)

    def set_progress(
        self, frames: int, output_bytes: int | None = None, lag_s: float | None = None
    ) -> None:
        """Set the progress of the process for the following rows.

        Args:
            frames: The number of frames encoded so far.
            output_bytes: The size of the output so far.
            lag_s: The lag of a live stream behind real time, in seconds.
        """
        self._progress = {
            "frames": float(frames),
            "output_bytes": _UNKNOWN if output_bytes is None else float(output_bytes),
            "lag_s": _UNKNOWN if lag_s is None else lag_s,
        }

    def sample(self, sample: HostSample) -> None:
        """Add a row; do nothing before the start of the measurement."""
        if self._start_s is None:
            return
        now_s = time.monotonic()
        host = {
            "host_cpu_ratio": self._cpu_ratio(),
            "frequency_mean_mhz": _known(sample.frequency_mean_mhz),
            "temperature_celsius": _known(sample.temperature_celsius),
            "power_w": self._power_w(),
        }
        with self._lock:
            self._append(now_s - self._start_s, {**self._progress, **host})

    def finish(self) -> None:
        """Add the last row, without the host's values, which no longer belong to the encode."""
        with self._lock:
            if self._start_s is not None:
                self._append(time.monotonic() - self._start_s, self._progress)
            self._start_s = None

    def _append(self, elapsed_s: float, values: dict[str, float]) -> None:
        values = {
            **values,
            "time_unix_s": time.time(),
            "elapsed_s": elapsed_s,
            "fps": self._growth("frames", values, elapsed_s),
            "output_bitrate_kbps": self._growth("output_bytes", values, elapsed_s) / _BITS_PER_KBIT,
        }
        for name, column in self.columns.items():
            column.append(values.get(name, _UNKNOWN))

    def _growth(self, name: str, values: dict[str, float], elapsed_s: float) -> float:
        """Return the growth per second of a value since the last row."""
        if not len(self):
            return _UNKNOWN
        grown = values[name] - self.columns[name][-1]
        took_s = elapsed_s - self.columns["elapsed_s"][-1]
        # The second pass of an encode counts from 0 again.
        return grown / took_s if grown >= 0 and took_s > 0 else _UNKNOWN

    def _cpu_ratio(self) -> float:
        before, self._cpu = self._cpu, CpuTimes.now()
        if before is None:
            return _UNKNOWN
        spent = self._cpu.since(before)
        return spent.busy_s / spent.total_s if spent.total_s > 0 else _UNKNOWN

    def _power_w(self) -> float:
        if self._read_energy is None:
            return _UNKNOWN
        before, now = self._energy, self._read_energy()
        self._energy = now
        if before is None or before.zones.keys() != now.zones.keys() or before.gaps != now.gaps:
            return _UNKNOWN
        took_s = now.monotonic_s - before.monotonic_s
        if not now.zones or took_s <= 0:
            return _UNKNOWN
        used_j = sum(zone.joules - before.zones[name].joules for name, zone in now.zones.items())
        return used_j / took_s if used_j >= 0 else _UNKNOWN


def _known(value: float | Unavailable) -> float:
    return _UNKNOWN if isinstance(value, Unavailable) else value
