"""Measurement of the CPU time and memory of processes, and execution of loads in a process."""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import uvloop

T = TypeVar("T")
P = ParamSpec("P")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"


def memory_kib(pid: int, key: str) -> int:
    """Return the memory of a process in KiB; `key` is a name in smaps_rollup, such as `Pss`."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), key)


def peak_rss_kib(pid: int) -> int:
    """Return the peak resident memory of a process since its start or `reset_peak`, in KiB."""
    return _kib(Path(f"/proc/{pid}/status"), "VmHWM")


def reset_peak(pid: int) -> None:
    """Reset the peak resident memory of a process to the current value."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process in user and kernel mode, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class CpuMeter:
    """Meter for the CPU usage of a process since the creation of the meter."""

    def __init__(self, pid: int) -> None:
        """Start the measurement of a process."""
        self._pid = pid
        self._cpu_s = cpu_s(pid)
        self._start = time.perf_counter()

    def percent(self) -> float:
        """Return the CPU usage as a percentage of one core."""
        passed_s = time.perf_counter() - self._start
        return 100 * (cpu_s(self._pid) - self._cpu_s) / passed_s


def in_own_process(
    load: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a load on uvloop in a new process and return its result.

    The load has its own process, so that it does not compete for the interpreter lock with the
    measured program.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, load, args, kwargs).result()


def _run(
    load: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    # This excludes the imported modules from garbage collection, so that they are not scanned.
    gc.freeze()
    return uvloop.run(load(*args, **kwargs))


def _kib(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return int(rest.split()[0])
    raise LookupError(f"{path} has no {key}")
