"""The command `ffrtmp-exporter-ffmpeg`: what the node's slots do right now."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.scenario import KINDS
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_worker.activity import LastResult, SlotActivity
from ffrtmp_worker.service_settings import read_settings

_log = logging.getLogger(__name__)

_SILENT_AFTER_S = 30.0
_MAX_DATAGRAM = 4096
_MAX_SLOTS = 1024
_WORKING_STAGES = ("fetch", "encode", "quality", "report")
_OTHER = "other"


class FfmpegExporterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exporter's settings file. `progress_socket` is where the agents send datagrams."""

    exporter: ExporterSettings
    progress_socket: Path
    log_level: str = "info"


@dataclass(frozen=True)
class _Shown:
    """A metric: its name, what it means, and the field of a datagram that it is read from.

    Where the unit is another one, `factor` makes the metric's of the field's.
    """

    name: str
    meaning: str
    field: str
    factor: float = 1.0


_COUNTED = (
    _Shown("ffrtmp_ffmpeg_frames", "Frames that the slot has encoded", "frames"),
    _Shown(
        "ffrtmp_ffmpeg_duplicated_frames",
        "Frames that FFmpeg wrote twice, in all encodes of the slot",
        "duplicated_frames",
    ),
    _Shown(
        "ffrtmp_ffmpeg_dropped_frames",
        "Frames that FFmpeg left out, in all encodes of the slot",
        "dropped_frames",
    ),
)
_MEASURED = (
    _Shown("ffrtmp_ffmpeg_frames_per_second", "Speed of the encode just now", "fps"),
    _Shown("ffrtmp_ffmpeg_speed_ratio", "The same in multiples of real time", "speed"),
    _Shown(
        "ffrtmp_ffmpeg_video_rate_bytes_per_second",
        "Bytes that the encode writes for each second of video just now, of a live those that"
        " reach its player; times 8, the bit rate",
        "bitrate_bps",
        factor=1 / 8,
    ),
    _Shown("ffrtmp_ffmpeg_lag_seconds", "How late the encoder of a live is just now", "lag_s"),
)
_LABELS = ("slot", "kind", "encoder")


@dataclass
class _Slot:
    """What was last heard of a slot, and what is counted over all its encodes.

    `running` has the counts of the running encode, `totals` those of all.
    """

    activity: SlotActivity
    heard_at: float
    running: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def count(self, activity: SlotActivity) -> None:
        """Add what was counted since the last datagram; fewer frames than then are a new encode."""
        if activity.frames < self.running.get("frames", 0):
            self.running = {}
        for shown in _COUNTED:
            count = getattr(activity, shown.field)
            if count is not None:
                more = max(count - self.running.get(shown.field, 0), 0)
                self.totals[shown.field] = self.totals.get(shown.field, 0) + more
                self.running[shown.field] = count


class SlotRegistry:
    """Takes the slots' reports and gives them as metrics; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell silent slots from live ones by `clock`, in seconds."""
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._lock = threading.Lock()

    def update(self, activity: SlotActivity) -> None:
        """Note what a slot does."""
        if not 0 < activity.slot <= _MAX_SLOTS:
            return
        with self._lock:
            slot = self._slots.setdefault(activity.slot, _Slot(activity, self._clock()))
            slot.count(activity)
            slot.activity, slot.heard_at = activity, self._clock()

    def metrics(self) -> Iterable[Metric]:
        """Give all metrics; a slot not heard of for 30 s keeps its counters and runs nothing."""
        running = GaugeMetricFamily(
            "ffrtmp_ffmpeg_running", "Whether the slot works on a job", labels=["slot"]
        )
        counters = [CounterMetricFamily(s.name, s.meaning, labels=["slot"]) for s in _COUNTED]
        gauges = [GaugeMetricFamily(s.name, s.meaning, labels=_LABELS) for s in _MEASURED]
        stage = GaugeMetricFamily(
            "ffrtmp_ffmpeg_stage_info", "What the slot does", labels=[*_LABELS, "stage"]
        )
        last = GaugeMetricFamily(
            "ffrtmp_ffmpeg_last_vmaf_mean",
            "Mean VMAF of the slot's last result, where its quality was measured",
            labels=_LABELS,
        )
        now = self._clock()
        with self._lock:
            for number, slot in sorted(self._slots.items()):
                activity = slot.activity
                is_heard = now - slot.heard_at < _SILENT_AFTER_S
                works = activity.stage in _WORKING_STAGES and is_heard
                running.add_metric([str(number)], float(works))
                for shown, counter in zip(_COUNTED, counters, strict=True):
                    if shown.field in slot.totals:
                        counter.add_metric([str(number)], slot.totals[shown.field])
                if is_heard and activity.last is not None and activity.last.vmaf_mean is not None:
                    last.add_metric(_names(number, activity.last), activity.last.vmaf_mean)
                if not works:
                    continue
                names = _names(number, activity)
                stage.add_metric([*names, activity.stage], 1.0)
                for shown, gauge in zip(_MEASURED, gauges, strict=True):
                    value = getattr(activity, shown.field)
                    if value is not None:
                        gauge.add_metric(names, value * shown.factor)
        return (running, *counters, *gauges, stage, last)


def _names(slot: int, what: SlotActivity | LastResult) -> list[str]:
    """Return the values of the labels; whatever the farm does not know is one value."""
    return [
        str(slot),
        what.kind if what.kind in KINDS else _OTHER,
        what.encoder if what.encoder in ENCODERS else _OTHER,
    ]


class SlotCollector(Collector):
    """Gives what is on the board at each scrape."""

    def __init__(self, board: SlotRegistry) -> None:
        """Read `board`."""
        self._board = board

    def collect(self) -> Iterable[Metric]:
        """Give all metrics."""
        return self._board.metrics()


def listen(path: Path) -> socket.socket:
    """Open the datagram socket at `path` for the agents of this user and group.

    Raises OSError when that cannot be done.
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


def receive(opened: socket.socket, board: SlotRegistry) -> None:
    """Put every datagram on the board, until the process ends."""
    while True:
        data = opened.recv(_MAX_DATAGRAM)
        try:
            board.update(msgspec.json.decode(data, type=SlotActivity))
        except msgspec.DecodeError as error:
            _log.warning("a datagram was not understood: %s", error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    settings = read_settings("ffrtmp-exporter-ffmpeg", arguments, FfmpegExporterSettings)
    board = SlotRegistry()
    registry = CollectorRegistry()
    registry.register(SlotCollector(board))
    try:
        with listen(settings.progress_socket) as opened:
            threading.Thread(target=receive, args=(opened, board), daemon=True).start()
            serve_until_stopped("ffmpeg", registry, settings.exporter)
    except OSError as error:
        sys.stderr.write(f"ffrtmp-exporter-ffmpeg: {error}\n")
        return 1
    return 0
