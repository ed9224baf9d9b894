"""The command `ffrtmp-exporter-ffmpeg`: what the node's slots do right now."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.exporter import ExporterSettings, serve_until_stopped
from ffrtmp_shared.scenario import KINDS
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ffrtmp_worker.activity import SlotActivity
from ffrtmp_worker.command_line import read_settings

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


@dataclass
class _Slot:
    """What was last heard of a slot, and the frames of all its encodes."""

    activity: SlotActivity
    heard_at: float
    frames_total: int


class SlotBoard:
    """Takes the slots' reports and gives them as metrics; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell silent slots from live ones by `clock`, in seconds."""
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._lock = threading.Lock()

    def hear(self, activity: SlotActivity) -> None:
        """Note what a slot does. A lower frame count than before is a new encode's."""
        with self._lock:
            slot = self._slots.get(activity.slot)
            if slot is None:
                if 0 < activity.slot <= _MAX_SLOTS:
                    self._slots[activity.slot] = _Slot(activity, self._clock(), activity.frames)
                return
            before = slot.activity.frames
            is_same = activity.frames >= before
            slot.frames_total += activity.frames - before if is_same else activity.frames
            slot.activity = activity
            slot.heard_at = self._clock()

    def metrics(self) -> Iterable[Metric]:
        """Give all metrics; a slot not heard of for 30 s keeps its counter and runs nothing."""
        labels = ["slot", "kind", "encoder"]
        running = GaugeMetricFamily(
            "ffrtmp_ffmpeg_running", "Whether the slot works on a job", labels=["slot"]
        )
        frames = CounterMetricFamily(
            "ffrtmp_ffmpeg_frames", "Frames that the slot has encoded", labels=["slot"]
        )
        fps = GaugeMetricFamily(
            "ffrtmp_ffmpeg_frames_per_second", "Speed of the encode just now", labels=labels
        )
        speed = GaugeMetricFamily(
            "ffrtmp_ffmpeg_speed_ratio", "The same in multiples of real time", labels=labels
        )
        stage = GaugeMetricFamily(
            "ffrtmp_ffmpeg_stage_info", "What the slot does", labels=[*labels, "stage"]
        )
        now = self._clock()
        with self._lock:
            for number, slot in sorted(self._slots.items()):
                activity = slot.activity
                works = activity.stage in _WORKING_STAGES
                is_live = now - slot.heard_at < _SILENT_AFTER_S
                running.add_metric([str(number)], float(works and is_live))
                frames.add_metric([str(number)], slot.frames_total)
                if not (works and is_live):
                    continue
                names = [
                    str(number),
                    activity.kind if activity.kind in KINDS else _OTHER,
                    activity.encoder if activity.encoder in ENCODERS else _OTHER,
                ]
                stage.add_metric([*names, activity.stage], 1.0)
                if activity.stage == "encode":
                    fps.add_metric(names, activity.fps)
                    speed.add_metric(names, activity.speed)
        return (running, frames, fps, speed, stage)


class SlotCollector(Collector):
    """Gives what is on the board at each scrape."""

    def __init__(self, board: SlotBoard) -> None:
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


def receive(opened: socket.socket, board: SlotBoard) -> None:
    """Put every datagram on the board, until the process ends."""
    while True:
        data = opened.recv(_MAX_DATAGRAM)
        try:
            board.hear(msgspec.json.decode(data, type=SlotActivity))
        except msgspec.DecodeError as error:
            _log.warning("a datagram was not understood: %s", error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    settings = read_settings("ffrtmp-exporter-ffmpeg", arguments, FfmpegExporterSettings)
    board = SlotBoard()
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
