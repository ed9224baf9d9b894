"""A stream to an RTMP server: a feeder that plays the source, an encoder, and a player.

The feeder stands for the camera: it hands the source to the encoder at the pace of real time. It
waits for an encoder that is too slow, so that no picture is lost between the two and the encoder
is seen to fall behind. The player reads from the server what the encoder sends to it; where its
connection ends it is started again.
"""

import selectors
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg.child import Child, ChildExit, terminate_all
from ffrtmp_worker.ffmpeg.progress import ProgressParser, ProgressReport, ProgressReports

_POLL_S = 0.1
_PLAYER_PAUSE_S = 0.25
_RECOVERED = "Recovery successful"
_TIME_BASE = "#tb 0: "
_PACKET_FIELDS = 5


OnReport = Callable[[ProgressReport, float | None], None]
"""Takes a report, and when the first picture was due by what was heard of the feeder so far."""


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """The argument lists; the encoder's has no more than one output."""

    feeder: Sequence[str]
    encoder: Sequence[str]
    player: Sequence[str]


class Packets(msgspec.Struct, frozen=True, kw_only=True):
    """What the player had from the server, packet by packet, in three arrays of one length.

    `elapsed_s` is since the start of the encoder, `time_s` the packet's decoding time stamp.
    """

    elapsed_s: "array[float]"
    time_s: "array[float]"
    size_bytes: "array[int]"


class Broadcast(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a stream; all times count from the start of the encoder.

    `wall_s` is until it was told to end. `fed` are pairs: when the feeder reported, and how far in
    the source it was, both in seconds. `reports` are the encoder's.
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
) -> Broadcast:
    """Stream for `duration_s`, or until feeder or encoder end or `stop()` is true.

    `on_report` gets each report of the encoder, and when the first picture was due. What the
    encoder says goes to `log`, in bounds, that of the others to files in `cwd`. All processes are
    gone when this returns. Raises OSError when one cannot be started.
    """
    return _LivePipeline(commands, cwd, log, on_report).run(duration_s, stop)


class _LivePipeline:
    """The processes of one stream and what is heard of them."""

    def __init__(self, commands: Commands, cwd: Path, log: Path, on_report: OnReport) -> None:
        self._commands, self._cwd, self._log = commands, cwd, log
        self._reports = ProgressReports(self._hear_report)
        self._on_report = on_report
        self._due_s: float | None = None
        self._feeding = ProgressParser()
        self._fed: list[tuple[float, float]] = []
        self._packets = Packets(elapsed_s=array("d"), time_s=array("d"), size_bytes=array("q"))
        self._played_bytes = 0
        self._time_base_s = 0.0
        self._reconnects = 0
        self._started = time.monotonic()
        self._player: Child | None = None
        self._players: list[ChildExit] = []
        self._play_at = 0.0

    def run(self, duration_s: float, stop: Callable[[], bool]) -> Broadcast:
        with ExitStack() as stack:
            feeder = self._start_feeder()
            # Reaping kills what still runs. It is done in the reverse order, the player first.
            endings: list[ChildExit] = []
            stack.callback(lambda: endings.append(feeder.reap()))
            encoder = self._start_encoder(feeder)
            stack.callback(lambda: endings.append(encoder.reap()))
            stack.callback(self._end_player)
            # The encoder alone holds the pipe now, so that the feeder ends with it.
            feeder.stdout.close()
            with selectors.DefaultSelector() as selector:
                for child in (feeder, encoder):
                    child.register(selector)
                self._watch(selector, (feeder, encoder), self._started + duration_s, stop)
            wall_s = time.monotonic() - self._started
            for child in (feeder, encoder):
                child.note_end()
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
            on_log_line=self._hear_feeder,
        )

    def _start_encoder(self, feeder: Child) -> Child:
        return Child(
            self._commands.encoder,
            self._cwd,
            self._log,
            on_line=self._reports.add_line,
            on_log_line=self._hear_encoder,
            stdin=feeder.stdout,
        )

    def _watch(
        self,
        selector: selectors.BaseSelector,
        needed: Sequence[Child],
        until: float,
        stop: Callable[[], bool],
    ) -> None:
        """Listen until the time is up or one of the `needed` has ended."""
        try:
            while time.monotonic() < until and not stop():
                if self._player is None and time.monotonic() >= self._play_at:
                    self._start_player(selector)
                for key, _ in selector.select(_POLL_S):
                    child: Child = key.data
                    if child.read(key.fd):
                        continue
                    child.unregister(selector)
                    if child in needed:
                        child.wait()
                        return
                    self._end_player()
                    break
        finally:
            if self._player is not None:
                self._player.unregister(selector)

    def _start_player(self, selector: selectors.BaseSelector) -> None:
        log = self._cwd / f"player-{min(len(self._players), 1)}.log"
        self._player = Child(self._commands.player, self._cwd, log, on_line=self._hear_player)
        self._player.register(selector)

    def _end_player(self) -> None:
        if self._player is None:
            return
        self._player.note_end()
        terminate_all([self._player])
        self._players.append(self._player.reap())
        self._player = None
        self._play_at = time.monotonic() + _PLAYER_PAUSE_S

    def _hear_feeder(self, line: str) -> None:
        block = self._feeding.feed(line)
        if block is not None and block.out_time_us is not None:
            at_s, fed_s = self._elapsed_s(), block.out_time_us / 1e6
            self._fed.append((at_s, fed_s))
            self._due_s = min(at_s - fed_s, at_s if self._due_s is None else self._due_s)

    def _hear_report(self, report: ProgressReport) -> None:
        # FFmpeg does not know the size of what goes through a fifo; the player does.
        self._on_report(
            msgspec.structs.replace(
                report,
                written_bytes=self._played_bytes or None,
                written_s=self._packets.time_s[-1] if self._packets.time_s else None,
            ),
            self._due_s,
        )

    def _hear_encoder(self, line: str) -> None:
        self._reconnects += _RECOVERED in line

    def _hear_player(self, line: str) -> None:
        """Take a line of the framecrc muxer: stream, dts, pts, duration, size, checksum, ..."""
        if line.startswith(_TIME_BASE):
            self._time_base_s = float(Fraction(line.removeprefix(_TIME_BASE).strip()))
            return
        fields = line.split(",")
        if line.startswith("#") or len(fields) < _PACKET_FIELDS or not self._time_base_s:
            return
        self._packets.elapsed_s.append(self._elapsed_s())
        self._packets.time_s.append(int(fields[1]) * self._time_base_s)
        self._packets.size_bytes.append(int(fields[4]))
        self._played_bytes += int(fields[4])

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started
