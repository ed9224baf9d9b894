"""The command `ffrtmp-exporter-ffmpeg`: current activity of the node's slots."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.loop_metrics import loop_metrics
from ffrtmp_shared.loop_registry import LoopRegistry, LoopStatus
from ffrtmp_shared.loop_runner import AfterPass, Pacing, ThreadLoop
from ffrtmp_shared.scenario import KINDS
from msgspec import Meta
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_worker.activity import LastResult, SlotActivity
from ffrtmp_worker.service_settings import read_settings

_log = logging.getLogger(__name__)

_STALE_AFTER_S = 30.0
_MAX_DATAGRAM = 8192
_RECEIVE_TIMEOUT_S = 1.0
_LOOP_STALE_AFTER_S = 60.0
_RETRY_PAUSE_MAX_S = 5.0
# The loops of an agent. Other names are ignored, so that they cannot create time series.
AGENT_LOOPS = frozenset(
    {"claims", "heartbeat", "log_upload", "host_samples", "node_heartbeat", "rtmp_stat"}
)
_MAX_SLOTS = 1024
_WORKING_STAGES = ("fetch", "search", "encode", "quality", "report")
_IDLE = "idle"
_OTHER = "other"
# A slot without an agent for this time no longer exists, so its counters are removed.
_FORGET_AFTER_S = 24 * 3600.0


class FfmpegExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exporter's settings file.

    `progress_socket` receives the agents' datagrams. `slots` is the number of slots of the worker.
    Datagrams of slots with a higher number, whose agents have not ended yet, are ignored.
    """

    exporter: ExporterSettings
    progress_socket: Path
    slots: Annotated[int, Meta(ge=1, le=100_000)] = _MAX_SLOTS
    log_level: str = "info"


@dataclass(frozen=True)
class _SlotMetric:
    """A metric: its name, its help text, and the field of a datagram that contains its value.

    `factor` converts the unit of the field to `unit`, the unit of the metric.
    """

    name: str
    help: str
    field: str
    unit: str = ""
    factor: float = 1.0


_COUNTED = (
    _SlotMetric("ffrtmp_ffmpeg_frames", "Frames that were encoded in the slot", "frames"),
    _SlotMetric(
        "ffrtmp_ffmpeg_duplicated_frames",
        "Frames that FFmpeg duplicated, in all encodes of the slot",
        "duplicated_frames",
    ),
    _SlotMetric(
        "ffrtmp_ffmpeg_dropped_frames",
        "Frames that FFmpeg dropped, in all encodes of the slot",
        "dropped_frames",
    ),
)
_MEASURED = (
    _SlotMetric(
        "ffrtmp_ffmpeg_frames_per_second", "Current speed of the encode", "fps", "frames_per_second"
    ),
    _SlotMetric(
        "ffrtmp_ffmpeg_speed_ratio",
        "Current speed of the encode as a multiple of real time",
        "speed",
        "ratio",
    ),
    _SlotMetric(
        "ffrtmp_ffmpeg_video_rate_bytes_per_second",
        "Current rate of the encoded video, in bytes per second of video; of live streams the bytes"
        " that reach the player; multiply by 8 for the bit rate",
        "bitrate_bps",
        "bytes_per_second",
        factor=1 / 8,
    ),
    _SlotMetric(
        "ffrtmp_ffmpeg_lag_seconds",
        "Current delay of the encoder of a live stream",
        "lag_s",
        "seconds",
    ),
)
_LABELS = ("slot", "kind", "encoder")
_REPORT_STATES = ("pending", "deferred", "rejected")


@dataclass
class _Slot:
    """The last activity of a slot, and its counts.

    `running` contains the counts of the running encode, and `totals` the counts of all encodes.
    """

    activity: SlotActivity
    received_at: float
    running: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def count(self, activity: SlotActivity) -> None:
        """Add the increases since the last datagram. Fewer frames than before mean a new encode."""
        if activity.frames < self.running.get("frames", 0):
            self.running = {}
        for metric in _COUNTED:
            count = getattr(activity, metric.field)
            if count is not None:
                increase = max(count - self.running.get(metric.field, 0), 0)
                self.totals[metric.field] = self.totals.get(metric.field, 0) + increase
                self.running[metric.field] = count


class SlotRegistry:
    """Collects the activity of the slots and returns it as metrics. It is thread-safe."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, slots: int = _MAX_SLOTS
    ) -> None:
        """Create an empty registry.

        Args:
            clock: The time in seconds, to detect slots that no longer send datagrams.
            slots: The number of slots of the worker, of which at most 1,024 are stored.
        """
        self._clock = clock
        self._last_slot = min(slots, _MAX_SLOTS)
        self._slots: dict[int, _Slot] = {}
        self._lock = threading.Lock()

    def update(self, activity: SlotActivity) -> None:
        """Store the activity of a slot, unless the worker has no slot of this number."""
        if not 0 < activity.slot <= self._last_slot:
            return
        with self._lock:
            slot = self._slots.setdefault(activity.slot, _Slot(activity, self._clock()))
            slot.count(activity)
            slot.activity, slot.received_at = activity, self._clock()

    def metrics(self) -> Iterable[Metric]:
        """Return all metrics.

        A slot without a datagram for 30 s is idle but keeps its counters for a day.
        """
        running = GaugeMetricFamily(
            "ffrtmp_ffmpeg_running", "Whether the slot runs a job", labels=["slot"]
        )
        counters = [CounterMetricFamily(s.name, s.help, labels=["slot"]) for s in _COUNTED]
        gauges = [GaugeMetricFamily(s.name, s.help, labels=_LABELS, unit=s.unit) for s in _MEASURED]
        stage = GaugeMetricFamily(
            "ffrtmp_ffmpeg_stage",
            "1 for the current stage of the slot's job, 0 for the others; idle if there is no job",
            labels=["slot", "stage"],
        )
        last = GaugeMetricFamily(
            "ffrtmp_ffmpeg_last_vmaf_mean",
            "Mean VMAF of the slot's last result, if its quality was measured",
            labels=_LABELS,
        )
        reports = GaugeMetricFamily(
            "ffrtmp_ffmpeg_reports",
            "Reports on the disk of the worker: pending, of these deferred because of errors of "
            "the master, and rejected",
            labels=["slot", "state"],
        )
        now = self._clock()
        with self._lock:
            self._slots = {
                number: slot
                for number, slot in self._slots.items()
                if now - slot.received_at < _FORGET_AFTER_S
            }
            for number, slot in sorted(self._slots.items()):
                activity = slot.activity
                is_current = now - slot.received_at < _STALE_AFTER_S
                is_running = activity.stage in _WORKING_STAGES and is_current
                running.add_metric([str(number)], float(is_running))
                current = activity.stage if is_running else _IDLE
                for name in (*_WORKING_STAGES, _IDLE):
                    stage.add_metric([str(number), name], float(name == current))
                for metric, counter in zip(_COUNTED, counters, strict=True):
                    if metric.field in slot.totals:
                        counter.add_metric([str(number)], slot.totals[metric.field])
                for state in _REPORT_STATES:
                    count = getattr(activity.spool, state)
                    reports.add_metric([str(number), state], float(count))
                if is_current and activity.last is not None and activity.last.vmaf_mean is not None:
                    last.add_metric(_label_values(number, activity.last), activity.last.vmaf_mean)
                if not is_running:
                    continue
                labels = _label_values(number, activity)
                for metric, gauge in zip(_MEASURED, gauges, strict=True):
                    value = getattr(activity, metric.field)
                    if value is not None:
                        gauge.add_metric(labels, value * metric.factor)
        return (running, *counters, *gauges, stage, last, reports, *self._loop_metrics())

    def _loop_metrics(self) -> Iterable[Metric]:
        """Return the metrics of the agents' loops, as they were in the last datagrams.

        They do not change when an agent hangs, so that its loops become stale.
        """
        with self._lock:
            readings = [
                ((str(number),), reading)
                for number, slot in sorted(self._slots.items())
                for reading in slot.activity.loops
                if reading.name in AGENT_LOOPS
            ]
        return loop_metrics("ffrtmp_agent", readings, ["slot"])


def _label_values(slot: int, source: SlotActivity | LastResult) -> list[str]:
    """Return the values of the labels, with `other` for unknown kinds and encoders."""
    return [
        str(slot),
        source.kind if source.kind in KINDS else _OTHER,
        source.encoder if source.encoder in ENCODERS else _OTHER,
    ]


class SlotCollector(Collector):
    """Exposes the metrics of a slot registry."""

    def __init__(self, slots: SlotRegistry) -> None:
        """Expose the metrics of `slots`."""
        self._slots = slots

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        return self._slots.metrics()


def listen(path: Path) -> socket.socket:
    """Open a datagram socket at `path` to which agents of this user and group can send.

    Raises OSError if the socket cannot be opened.
    """
    path.unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        opened.bind(str(path))
        path.chmod(0o660)
    except OSError:
        opened.close()
        raise
    return opened


class DatagramReceiver:
    """Stores the activity of each datagram, in a thread of its own."""

    def __init__(self, opened: socket.socket, slots: SlotRegistry, loops: LoopRegistry) -> None:
        """Create a receiver that is not started.

        Args:
            opened: The socket that receives the datagrams.
            slots: The registry that stores the activity.
            loops: The registry of the exporter's loops.
        """
        opened.settimeout(_RECEIVE_TIMEOUT_S)
        self._ignored = 0
        self._socket = opened
        self._slots = slots
        self._status: LoopStatus = loops.add("datagrams", stale_after_s=_LOOP_STALE_AFTER_S)
        pacing = Pacing(interval_s=0.0, retry_pause_max_s=_RETRY_PAUSE_MAX_S)
        self._loop = ThreadLoop(self._status, self.receive_next, pacing)

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._loop.stop()

    def receive_next(self) -> AfterPass:
        """Wait a moment for a datagram and store it. A damaged one is counted and ignored."""
        try:
            data = self._socket.recv(_MAX_DATAGRAM)
        except TimeoutError:
            return AfterPass.REPEAT
        try:
            self._slots.update(msgspec.json.decode(data, type=SlotActivity))
        # One datagram must not keep those of other slots from being received.
        except Exception as error:
            self._status.fail()
            self._ignored += 1
            # A program that sends only damaged datagrams must not flood the log.
            if self._ignored & (self._ignored - 1) == 0:
                _log.warning("%d datagrams were ignored, the last one: %s", self._ignored, error)
        return AfterPass.REPEAT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    settings = read_settings("ffrtmp-exporter-ffmpeg", arguments, FfmpegExporterSettings)
    slots = SlotRegistry(slots=settings.slots)
    loops = LoopRegistry()
    try:
        with listen(settings.progress_socket) as opened:
            receiver = DatagramReceiver(opened, slots, loops)
            receiver.start()
            serve_until_stopped("ffmpeg", {"slots": SlotCollector(slots)}, settings.exporter, loops)
            receiver.stop()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-exporter-ffmpeg: {error}\n")
        return 1
    return 0
