"""Streaming to an RTMP server with three processes: a feeder, an encoder and a player.

The feeder plays the role of a camera and passes the source to the encoder in real time. If the
encoder is too slow, the feeder waits, so that no frame is lost between the two and the lag of the
encoder can be measured. The player reads the stream from the server. When its connection ends, the
player is restarted.
"""

import selectors
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from ffrtmp_shared.failure_classes import FailureClass

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.child import Child, ChildExit, terminate_all
from ffrtmp_worker.ffmpeg.progress import (
    MAX_REPORTS,
    ProgressParser,
    ProgressReport,
    ProgressReports,
)
from ffrtmp_worker.ffmpeg.stream_recorder import StreamRecorder

SILENT_END_S = 2.0
"""Time without a packet at the player before the end of a stream, in seconds, above which the rest
of the stream was not delivered."""

SILENT_S = 5.0
"""Time without a packet at the player, in seconds, above which it or the encoder had stopped. The
restoration of a connection takes less time."""

_POLL_S = 0.1
_PLAYER_PAUSE_S = 0.25
_RECOVERED = "Recovery successful"
_TIME_BASE = "#tb 0: "
_PACKET_FIELDS = 5
_MAX_DIGITS = 18

MAX_PACKETS = 8_000_000
"""Maximum number of packets of a stream, a day at 92 frames per second. They need 32 bytes each."""


OnReport = Callable[[ProgressReport, float | None], None]
"""Receives a report of the encoder, and the time at which the first frame was due.

The time is estimated from the reports of the feeder so far. It is in seconds since the start of the
encoder, or None before the first report of the feeder.
"""


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """The argument lists of the processes; the encoder has only one output."""

    feeder: Sequence[str]
    encoder: Sequence[str]
    player: Sequence[str]


class Packets(msgspec.Struct, frozen=True, kw_only=True):
    """The packets that the player received, in arrays of the same length.

    `elapsed_s` is the arrival time since the start of the encoder, in seconds. `time_s` is the
    decoding time stamp of the packet: the duration of all packets that the encoder wrote before.
    `shown_ms` is the presentation time stamp, in milliseconds.
    """

    elapsed_s: "array[float]"
    time_s: "array[float]"
    size_bytes: "array[int]"
    shown_ms: "array[int]" = msgspec.field(default_factory=lambda: array("q"))


class Broadcast(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a stream; all times are in seconds since the start of the encoder.

    `wall_s` is the time at which the stream was terminated. `fed` contains a pair for each report
    of the feeder: the time of the report and the position in the source. `reports` are the reports
    of the encoder, and `reconnects` is how often the encoder restored its connection.
    """

    wall_s: float
    fed: tuple[tuple[float, float], ...]
    reports: tuple[ProgressReport, ...]
    packets: Packets
    reconnects: int
    feeder: ChildExit
    encoder: ChildExit
    players: tuple[ChildExit, ...]


def run_pipeline(
    commands: Commands,
    *,
    cwd: Path,
    log: Path,
    duration_s: float,
    stop: Callable[[], bool],
    on_report: OnReport,
    on_end: Callable[[], None] = lambda: None,
    recorder: StreamRecorder | None = None,
) -> Broadcast:
    """Stream until the time is over, the feeder or encoder ends, or `stop()` is true.

    All processes have ended when this function returns.

    Args:
        commands: The argument lists.
        cwd: The working directory, which also receives the logs of the feeder and player.
        log: The file for the log of the encoder, up to a bounded size.
        duration_s: The duration of the stream, in seconds.
        stop: A function that returns true when the stream is to stop.
        on_report: A function that receives each report of the encoder.
        on_end: A function that is called at the end of the stream, before the processes are
            terminated.
        recorder: The recorder of the received stream, if the stream is stored. The first frame of
            such a stream has the time stamp `recorder.offset_s`.

    Returns:
        The collected data of the stream, and the exit codes and costs of the processes.

    Raises:
        OSError: A process cannot be started.
    """
    return _LivePipeline(commands, cwd, log, on_report, recorder).run(duration_s, stop, on_end)


class _LivePipeline:
    """The processes of a stream and the data collected from their output."""

    def __init__(
        self,
        commands: Commands,
        cwd: Path,
        log: Path,
        on_report: OnReport,
        recorder: StreamRecorder | None,
    ) -> None:
        self._commands, self._cwd, self._log = commands, cwd, log
        self._recorder = recorder
        self._offset_s = 0.0 if recorder is None else recorder.offset_s
        self._reorder_s: float | None = None
        self._reports = ProgressReports(self._on_encoder_report)
        self._on_report = on_report
        self._due_s: float | None = None
        self._feeder_parser = ProgressParser()
        self._fed: list[tuple[float, float]] = []
        self._packets = Packets(elapsed_s=array("d"), time_s=array("d"), size_bytes=array("q"))
        self._played_bytes = 0
        self._time_base_s = 0.0
        self._reconnects = 0
        self._started = time.monotonic()
        self._player: Child | None = None
        self._players: list[ChildExit] = []
        self._play_at = 0.0

    def run(
        self, duration_s: float, stop: Callable[[], bool], on_end: Callable[[], None]
    ) -> Broadcast:
        with ExitStack() as stack:
            feeder = self._start_feeder()
            # At the end, processes that still run are killed in the reverse order of their start.
            endings: list[ChildExit] = []
            stack.callback(lambda: endings.append(feeder.reap()))
            encoder = self._start_encoder(feeder)
            stack.callback(lambda: endings.append(encoder.reap()))
            stack.callback(self._end_player)
            # Now only the encoder has the pipe open, so that the feeder ends when the encoder does.
            feeder.stdout.close()
            with selectors.DefaultSelector() as selector:
                for child in (feeder, encoder):
                    child.register(selector)
                self._watch(selector, (feeder, encoder), self._started + duration_s, stop)
            wall_s = time.monotonic() - self._started
            for child in (feeder, encoder):
                child.note_end()
            on_end()
            terminate_all([encoder])
        encoded, played = endings
        return Broadcast(
            wall_s=wall_s,
            fed=tuple(self._fed),
            reports=tuple(self._reports.all),
            packets=self._packets,
            reconnects=self._reconnects,
            feeder=played,
            encoder=encoded,
            players=tuple(self._players),
        )

    def _start_feeder(self) -> Child:
        return Child(
            self._commands.feeder,
            self._cwd,
            self._cwd / "feeder.log",
            on_line=None,
            on_log_line=self._on_feeder_line,
        )

    def _start_encoder(self, feeder: Child) -> Child:
        return Child(
            self._commands.encoder,
            self._cwd,
            self._log,
            on_line=self._reports.add_line,
            on_log_line=self._on_encoder_line,
            stdin=feeder.stdout,
        )

    def _watch(
        self,
        selector: selectors.BaseSelector,
        required: Sequence[Child],
        end: float,
        stop: Callable[[], bool],
    ) -> None:
        """Read the pipes until the time is over or one of the `required` processes has ended."""
        try:
            while time.monotonic() < end and not stop():
                if self._player is None and time.monotonic() >= self._play_at:
                    self._start_player(selector)
                for key, _ in selector.select(_POLL_S):
                    child: Child = key.data
                    if child.read(key.fd):
                        continue
                    child.unregister(selector)
                    if child in required:
                        child.wait()
                        return
                    self._end_player()
                    break
        finally:
            if self._player is not None:
                self._player.unregister(selector)

    def _start_player(self, selector: selectors.BaseSelector) -> None:
        log = self._cwd / f"player-{min(len(self._players), 1)}.log"
        argv, max_file_bytes = self._commands.player, None
        if self._recorder is not None:
            argv, max_file_bytes = self._recorder.next_player() or (argv, None)
        self._player = Child(
            argv, self._cwd, log, on_line=self._on_player_line, max_file_bytes=max_file_bytes
        )
        self._player.register(selector)

    def _end_player(self) -> None:
        if self._player is None:
            return
        self._player.note_end()
        terminate_all([self._player])
        self._players.append(self._player.reap())
        self._player = None
        self._play_at = time.monotonic() + _PLAYER_PAUSE_S

    def _on_feeder_line(self, line: str) -> None:
        block = self._feeder_parser.feed(line)
        if block is not None and block.out_time_us is not None and len(self._fed) < MAX_REPORTS:
            at_s, fed_s = self._elapsed_s(), block.out_time_us / 1e6
            self._fed.append((at_s, fed_s))
            self._due_s = min(at_s - fed_s, at_s if self._due_s is None else self._due_s)

    def _on_encoder_report(self, report: ProgressReport) -> None:
        # FFmpeg does not report the output size of the fifo muxer, so use the player's data.
        self._on_report(
            msgspec.structs.replace(
                report,
                written_bytes=self._played_bytes or None,
                written_s=self._packets.time_s[-1] if self._packets.time_s else None,
            ),
            self._due_s,
        )

    def _on_encoder_line(self, line: str) -> None:
        self._reconnects += _RECOVERED in line

    def _on_player_line(self, line: str) -> None:
        """Parse a line of the framecrc muxer: stream, dts, pts, duration, size, checksum, ..."""
        if line.startswith(_TIME_BASE):
            self._time_base_s = _time_base_s(line.removeprefix(_TIME_BASE))
            return
        fields = [field.strip() for field in line.split(",", _PACKET_FIELDS)]
        if line.startswith("#") or len(fields) < _PACKET_FIELDS or not self._time_base_s:
            return
        time_stamp, shown, size_bytes = (_number(fields[place]) for place in (1, 2, 4))
        # A line is incomplete if the player was ended while it wrote it.
        if time_stamp is None or shown is None or size_bytes is None:
            return
        if len(self._packets.elapsed_s) >= MAX_PACKETS:
            raise AttemptFailedError(
                FailureClass.NETWORK,
                f"the player received more than {MAX_PACKETS} packets, the limit of a stream; "
                "shorten duration_s or lower the frame rate",
            )
        self._packets.elapsed_s.append(self._elapsed_s())
        if self._reorder_s is None:
            # The first packet is a key frame, which is shown as much later as frames are reordered.
            # Without an offset, the muxer has already added this time to all time stamps.
            delay_s = (shown - time_stamp) * self._time_base_s
            self._reorder_s = delay_s if self._offset_s else 0.0
        time_s = time_stamp * self._time_base_s - self._offset_s + self._reorder_s
        self._packets.time_s.append(time_s)
        self._packets.size_bytes.append(size_bytes)
        self._packets.shown_ms.append(round(shown * self._time_base_s * 1000))
        self._played_bytes += size_bytes

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started


def _time_base_s(text: str) -> float:
    """Return the unit of time stamps in seconds, or 0 if the text is not a fraction."""
    numerator, _, denominator = text.strip().partition("/")
    units, per_s = _number(numerator), _number(denominator)
    return units / per_s if units and per_s else 0.0


def _number(text: str) -> int | None:
    """Return an integer, or None if the text is not one or is too long."""
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and len(digits) <= _MAX_DIGITS else None
