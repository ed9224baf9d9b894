"""The command `ffrtmp-energy-reader`: the one process of a host that reads its energy counters.

Only root may read them, so this runs with that right and no other, and answers on a unix socket.
It reads on its own at a fixed pace, so that no wrap goes unseen and power does not depend on who
asks, and once more for everybody who asks.
"""

import logging
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ffrtmp_worker.energy import counter, zones
from ffrtmp_worker.energy.client import EnergyReading
from ffrtmp_worker.energy.counter import EnergyCounter
from ffrtmp_worker.energy.zones import POWERCAP, UnreadableZoneError
from ffrtmp_worker.service_settings import read_settings

_log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOOK_AGAIN_S = 60.0
_KEEP_EVERY_S = 10.0
_ANSWER_TIMEOUT_S = 1.0
_BACKLOG = 16


class EnergyReaderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reader's settings file.

    It answers on the unix socket `socket` and keeps in `state_file` how far it has counted. No
    zone uses more than `max_power_w` watts. Power is that of the last `interval_s` seconds.
    """

    socket: Path
    state_file: Path
    powercap: Path = POWERCAP
    interval_s: float = 1.0
    max_power_w: float = 1000.0
    log_level: str = "info"


class EnergyReader:
    """Reads the counters below one tree, for as long as the host has them."""

    def __init__(self, settings: EnergyReaderSettings) -> None:
        """Go on from what was counted before this program was started."""
        self._settings = settings
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        self._counting: EnergyCounter | None = None
        self._reason = ""
        self._look_at_s = 0.0
        self._kept_at_s = 0.0

    @property
    def interval_s(self) -> float:
        """How long to wait until the next sample, in seconds."""
        if self._counting is None:
            return _LOOK_AGAIN_S
        return min(self._settings.interval_s, self._counting.slowest_interval_s)

    def sample(self) -> None:
        """Take the sample that is due, and look for counters where there were none."""
        now_s = time.monotonic()
        if self._counting is None and now_s >= self._look_at_s:
            self._look_at_s = now_s + _LOOK_AGAIN_S
            self._find_zones()
        if self._counting is None:
            return
        try:
            self._counting.sample()
        except UnreadableZoneError as error:
            self._log_change(str(error))
        else:
            self._reason = ""
        if now_s - self._kept_at_s >= _KEEP_EVERY_S:
            self.save()

    def read(self) -> EnergyReading:
        """Read all counters now."""
        now_s = time.monotonic()
        if self._counting is None:
            return EnergyReading(monotonic_s=now_s, zones={}, gaps=0, reason=self._reason)
        try:
            return self._counting.read(now_s)
        except UnreadableZoneError as error:
            return EnergyReading(monotonic_s=now_s, zones={}, gaps=0, reason=str(error))

    def save(self) -> None:
        """Keep how far everything was counted. A full disk costs only what a restart would."""
        if self._counting is None:
            return
        self._kept_at_s = time.monotonic()
        try:
            counter.save_counts(self._settings.state_file, self._counting.counts())
        except OSError as error:
            _log.warning("what was counted could not be kept: %s", error)

    def _find_zones(self) -> None:
        try:
            found = zones.find_zones(self._settings.powercap)
        except UnreadableZoneError as error:
            self._log_change(str(error))
            return
        _log.info("counting", extra={"zones": [zone.name for zone in found]})
        self._counting = EnergyCounter(
            found,
            counter.load_counts(self._settings.state_file, self._boot_id),
            max_power_w=self._settings.max_power_w,
            clock=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        )

    def _log_change(self, reason: str) -> None:
        """Note why there is no reading; once in the log, not once a second."""
        if reason != self._reason:
            _log.warning("no energy: %s", reason)
        self._reason = reason


def serve_readings(reader: EnergyReader, listener: socket.socket, ended: socket.socket) -> None:
    """Sample and answer until `ended` can be read."""
    due_s = 0.0
    while True:
        now_s = time.monotonic()
        if now_s >= due_s:
            reader.sample()
            # A fixed pace; what was missed while the host slept is not made up for.
            interval_s = reader.interval_s
            due_s = max(due_s + interval_s, now_s + interval_s / 2)
        ready, _, _ = select.select([listener, ended], [], [], max(due_s - time.monotonic(), 0))
        if ended in ready:
            return
        if listener in ready:
            _answer(reader, listener)


def _answer(reader: EnergyReader, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        try:
            connection.sendall(msgspec.json.encode(reader.read()))
        except OSError as error:
            _log.debug("nobody took the answer: %s", error)


def _listen(path: Path) -> socket.socket:
    """Open the socket for this user and group; raises OSError."""
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
    """Run the command; returns its exit code."""
    settings = read_settings("ffrtmp-energy-reader", arguments, EnergyReaderSettings)
    ended, end = socket.socketpair()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.send(b"."))
    try:
        with _listen(settings.socket) as listener:
            reader = EnergyReader(settings)
            serve_readings(reader, listener, ended)
            reader.save()
    except OSError as error:
        sys.stderr.write(f"ffrtmp-energy-reader: {error}\n")
        return 1
    return 0
