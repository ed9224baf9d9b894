"""The command `ffrtmp-energy-reader`, the only process of a host that reads its energy counters.

Usually only root may read the counters. This process therefore runs with just the capability to
read them, and serves the readings on a Unix socket. It samples the counters at a fixed interval, so
that no wraparound is missed and the power does not depend on the clients. In addition, it reads the
counters for requests, but at most every `READ_INTERVAL_S`: from counters that are read at a high
rate, a process can derive the data that other processes compute with (CVE-2020-8694). A request in
between is answered with the last reading.
"""

import logging
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.loop_file import write_loop_file
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from msgspec import Meta

from ffrtmp_worker.energy import counter, zones
from ffrtmp_worker.energy.client import EnergyFailure, EnergyReading, loop_file
from ffrtmp_worker.energy.counter import EnergyCounter
from ffrtmp_worker.energy.zones import POWERCAP
from ffrtmp_worker.kernel_files import KernelFileError
from ffrtmp_worker.service_settings import read_settings

_log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIND_ZONES_INTERVAL_S = 60.0
_SAVE_INTERVAL_S = 10.0
_ANSWER_TIMEOUT_S = 1.0
_BACKLOG = 16
_STALE_AFTER_S = 60.0
_RETRY_PAUSE_MAX_S = 5.0
_REPORT_INTERVAL_S = 5.0

READ_INTERVAL_S = 0.05
"""Least time between two readings of the counters, in seconds.

A reading that is so old changes the energy of an encode of ten seconds by at most 1 %.
"""

ANSWER_INTERVAL_S = 0.005
"""Least time between two answers, in seconds, so that clients cannot keep the reader busy."""


class EnergyReaderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reader's settings file.

    The reader serves the Unix socket `socket` and stores its counts in `state_file`. `max_power_w`
    is an upper limit of a zone's power, in watts. A reading contains the mean power over the last
    `interval_s` seconds.
    """

    socket: Path
    state_file: Path
    powercap: Path = POWERCAP
    interval_s: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    max_power_w: Annotated[float, Meta(gt=0, le=1_000_000)] = 1000.0
    log_level: str = "info"


class EnergyReader:
    """Samples and serves the energy counters of the host, if it has any."""

    def __init__(self, settings: EnergyReaderSettings) -> None:
        """Create the reader, which will continue from the counts that an earlier process stored."""
        self._settings = settings
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._counter: EnergyCounter | None = None
        self._reason = ""
        self._find_zones_at_s = 0.0
        self._saved_at_s = 0.0
        self._last: EnergyReading | None = None

    @property
    def interval_s(self) -> float:
        """Time until the next sample, in seconds."""
        if self._counter is None:
            return _FIND_ZONES_INTERVAL_S
        return min(self._settings.interval_s, self._counter.slowest_interval_s)

    def sample(self) -> None:
        """Take a sample. If no counters have been found so far, search for them first."""
        now_s = time.monotonic()
        if self._counter is None and now_s >= self._find_zones_at_s:
            self._find_zones_at_s = now_s + _FIND_ZONES_INTERVAL_S
            self._find_zones()
        if self._counter is None:
            return
        try:
            self._counter.sample()
        except KernelFileError as error:
            self._log_change(str(error))
        else:
            self._reason = ""
        if now_s - self._saved_at_s >= _SAVE_INTERVAL_S:
            self.save()

    def read(self) -> EnergyReading:
        """Return a reading of all counters, which is at most `READ_INTERVAL_S` old."""
        now_s = time.monotonic()
        if self._last is None or now_s - self._last.monotonic_s >= READ_INTERVAL_S:
            self._last = self._read(now_s)
        return self._last

    def _read(self, now_s: float) -> EnergyReading:
        if self._counter is None:
            return _unavailable(now_s, self._reason, EnergyFailure.NO_COUNTER)
        try:
            return self._counter.read(now_s)
        except KernelFileError as error:
            return _unavailable(now_s, str(error), EnergyFailure.COUNTER_UNREADABLE)

    def save(self) -> None:
        """Store the counts. If that fails, log a warning and keep the counts stored before."""
        if self._counter is None:
            return
        self._saved_at_s = time.monotonic()
        try:
            counter.save_counts(self._settings.state_file, self._counter.counts())
        except OSError as error:
            _log.warning("the energy counts could not be stored: %s", error)

    def _find_zones(self) -> None:
        try:
            found = zones.find_zones(self._settings.powercap)
        except KernelFileError as error:
            self._log_change(str(error))
            return
        _log.info("counting", extra={"zones": [zone.name for zone in found]})
        self._counter = EnergyCounter(
            found,
            counter.load_counts(self._settings.state_file, self._boot_id),
            max_power_w=self._settings.max_power_w,
            clock=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        )

    def _log_change(self, reason: str) -> None:
        """Store the reason why there is no reading, and log it if it has changed."""
        if reason != self._reason:
            _log.warning("energy is unavailable: %s", reason)
        self._reason = reason


def _unavailable(now_s: float, reason: str, failure: EnergyFailure) -> EnergyReading:
    return EnergyReading(monotonic_s=now_s, zones={}, gaps=0, reason=reason, failure=failure)


class ReadingServer:
    """Takes samples at their intervals and answers requests in between, in one thread."""

    def __init__(
        self,
        reader: EnergyReader,
        listener: socket.socket,
        ended: socket.socket,
        report_loops: Callable[[], None] = lambda: None,
    ) -> None:
        """Create the server.

        Args:
            reader: The reader of the counters.
            listener: The listening socket.
            ended: A socket that becomes readable when the process has to end.
            report_loops: A function that reports the state of this loop every few seconds.
        """
        self._reader = reader
        self._listener = listener
        self._ended = ended
        self._report_loops = report_loops
        self._due_s = 0.0
        self._report_due_s = 0.0
        self._answer_due_s = 0.0

    def serve_next(self) -> AfterPass:
        """Take a sample if one is due, then wait for a request or the next sample."""
        now_s = time.monotonic()
        if now_s >= self._report_due_s:
            self._report_due_s = now_s + _REPORT_INTERVAL_S
            self._report_loops()
        if now_s >= self._due_s:
            try:
                self._reader.sample()
            finally:
                # Keep a fixed interval, but skip samples that were missed while the host was
                # suspended. A failing sample is not repeated at once. The interval is that after
                # the sample: only then are the counters known.
                interval_s = self._reader.interval_s
                self._due_s = max(self._due_s + interval_s, now_s + interval_s / 2)
        now_s = time.monotonic()
        wake_s = min(self._due_s, self._report_due_s)
        watched = [self._listener, self._ended]
        if now_s < self._answer_due_s:
            # Until the next answer is due, clients wait in the queue of the socket.
            watched, wake_s = [self._ended], min(wake_s, self._answer_due_s)
        ready, _, _ = select.select(watched, [], [], max(wake_s - now_s, 0))
        if self._ended in ready:
            return AfterPass.END
        if self._listener in ready:
            _answer(self._reader, self._listener)
            self._answer_due_s = time.monotonic() + ANSWER_INTERVAL_S
        return AfterPass.REPEAT


def _answer(reader: EnergyReader, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        try:
            connection.sendall(msgspec.json.encode(reader.read()))
        except OSError as error:
            _log.debug("a client did not receive its answer: %s", error)


def _listen(path: Path) -> socket.socket:
    """Open a Unix socket for clients of this user and group. Raises OSError if that fails."""
    path.unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(path))
        path.chmod(0o660)
        opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    settings = read_settings("ffrtmp-energy-reader", arguments, EnergyReaderSettings)
    ended, end = socket.socketpair()
    stopped = threading.Event()
    loops = LoopRegistry()
    status = loops.add("samples", stale_after_s=_STALE_AFTER_S)

    def stop(*_: object) -> None:
        stopped.set()
        end.send(b".")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        with _listen(settings.socket) as listener:
            reader = EnergyReader(settings)
            server = ReadingServer(
                reader, listener, ended, partial(_report_loops, loops, loop_file(settings.socket))
            )
            pacing = Pacing(interval_s=0.0, retry_pause_max_s=_RETRY_PAUSE_MAX_S)
            ThreadLoop(status, server.serve_next, pacing, stopped=stopped).run()
            reader.save()
    except OSError as error:
        sys.stderr.write(f"ffrtmp-energy-reader: {error}\n")
        return 1
    return 0


def _report_loops(loops: LoopRegistry, file: Path) -> None:
    try:
        write_loop_file(file, loops.read())
    except OSError as error:
        _log.debug("the state of the loop could not be written: %s", error)
