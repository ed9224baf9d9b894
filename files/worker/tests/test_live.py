"""Tests of jobs of the kind live, with a real RTMP server: Nginx with its RTMP module."""

import os
import re
import signal
import statistics
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.live_measurement import LiveMeasurement
from ffrtmp_shared.scenario import LiveSettings, Scenario
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_shared.verdict import VerdictState
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import live_pipeline
from ffrtmp_worker.ffmpeg.child import ChildExit
from ffrtmp_worker.ffmpeg.live_pipeline import Broadcast, Commands, Packets
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure import live
from polling import TIMEOUT_S

from .conftest import attempt, scenario
from .rtmp_server import Server, free_port, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("nginx")) as server:
        yield server


def _live(clip: Path, duration_s: float = 10.0, **encode: object) -> Scenario:
    settings = LiveSettings(duration_s=duration_s)
    options = {"gop_frames": 25, "threads": 1, **encode}
    return msgspec.structs.replace(scenario(clip, **options), kind="live", live=settings)


def test_a_stream_in_real_time(clip: Path, tools: Tools, server: Server, tmp_path: Path) -> None:
    live_tools = replace(tools, rtmp_url=server.url, rtmp_stat=server.stat)
    reported: list[Progress] = []
    measured = kinds.run_attempt(
        attempt(_live(clip), clip, tmp_path / "stream-1", live_tools, reported=reported)
    )
    found = measured.live
    assert found is not None
    assert found.duration_s == pytest.approx(10, abs=1)
    assert 0 <= found.lag_p50_s <= found.lag_p95_s <= found.lag_p99_s <= found.lag_max_s < 5
    assert isinstance(found.end_to_end_p50_s, float)
    assert isinstance(found.end_to_end_p99_s, float)
    assert isinstance(found.end_to_end_max_s, float)
    assert 0 <= found.end_to_end_p50_s <= found.end_to_end_p99_s <= found.end_to_end_max_s < 5
    # The end-to-end latency is not less than the lag, because a picture arrives at the player after
    # the encoder has written it.
    assert found.end_to_end_p50_s > found.lag_p50_s - 0.06
    assert (found.reconnects, found.frames_lost) == (0, 0)
    assert found.bitrate_mean_kbps == pytest.approx(300, rel=0.35)
    assert found.bitrate_max_kbps >= found.bitrate_mean_kbps
    assert found.bitrate_cv > 0
    assert found.helpers_cpu_s > 0
    assert isinstance(found.startup_s, float)
    assert 0 < found.startup_s < 5
    assert measured.received is None
    assert measured.quality == Unavailable(
        reason="the stream is stored and compared only if the suite sets measure_received"
    )
    assert measured.encode.frames == pytest.approx(250, abs=40)
    assert measured.encode.cpu_s > 0
    assert isinstance(measured.encode.minor_faults, int)
    assert measured.encode.minor_faults > 100
    assert measured.output is None
    assert measured.verdict is not None
    assert "quality-unavailable" not in [reason.code for reason in measured.verdict.reasons]
    # The reported progress agrees with the measurement.
    encoding = [p for p in reported if p.stage == "encode" and p.frames]
    assert statistics.median(p.speed for p in encoding) == pytest.approx(1, abs=0.3)
    lags = [p.lag_s for p in encoding if p.lag_s is not None]
    assert len(lags) > 20
    assert statistics.median(lags) == pytest.approx(found.lag_p50_s, abs=0.1)
    rates = [p.bitrate_bps for p in encoding if p.bitrate_bps is not None]
    assert len(rates) > 20
    assert statistics.median(rates) == pytest.approx(found.bitrate_mean_kbps * 1000, rel=0.5)
    assert {(p.duplicated_frames, p.dropped_frames) for p in encoding} == {(0, 0)}
    # The server has counted one publisher, and all bytes except for those at the end.
    assert (found.server_publishers, found.server_dropped) == (1, 0)
    assert isinstance(found.server_bytes_in, int)
    assert found.server_bytes_in == pytest.approx(found.bitrate_mean_kbps * 125 * 10, rel=0.4)
    assert found.server_bitrate_mean_kbps == pytest.approx(found.bitrate_mean_kbps, rel=0.2)


def test_a_dropped_connection_is_reopened_and_counted(
    clip: Path, tools: Tools, server: Server, tmp_path: Path
) -> None:
    live_tools = replace(tools, rtmp_url=server.url, rtmp_stat=server.stat)
    timer = threading.Timer(4, server.drop, args=("stream-cut",))
    timer.start()
    measured = kinds.run_attempt(
        attempt(_live(clip, 12), clip, tmp_path / "stream-cut", live_tools)
    )
    timer.join()
    found = measured.live
    assert found is not None
    assert (found.reconnects, found.server_publishers) == (1, 2)
    assert isinstance(found.server_bytes_in, int)
    assert found.server_bytes_in == pytest.approx(300 * 125 * 12, rel=0.5)
    assert found.frames_lost < 100
    # The lost connection neither stopped the encoder nor delayed later frames.
    assert found.stalls == 0
    assert isinstance(found.end_to_end_p99_s, float)
    assert found.end_to_end_p99_s < 5
    assert measured.verdict is not None
    assert "reconnected" in [reason.code for reason in measured.verdict.reasons]
    assert "overloaded" not in [reason.code for reason in measured.verdict.reasons]


# This test keeps all processors busy for 20 s. `make test` checks verdicts on given values in
# test_verdict.py.
@pytest.mark.deep
def test_an_encoder_that_is_too_slow_is_overloaded(
    long_clip: Path, tools: Tools, server: Server, tmp_path: Path
) -> None:
    live_tools = replace(tools, rtmp_url=server.url)
    slow = _live(long_clip, preset="placebo")
    measured = kinds.run_attempt(attempt(slow, long_clip, tmp_path / "stream-slow", live_tools))
    assert measured.live is not None
    assert measured.live.below_real_time_s > 0
    assert measured.live.lag_max_s > 1
    assert measured.encode.speed < 1
    assert measured.verdict is not None
    assert measured.verdict.state is VerdictState.INVALID
    assert "overloaded" in [reason.code for reason in measured.verdict.reasons]


def test_a_temporarily_stopped_encoder_stalls(
    clip: Path, tools: Tools, server: Server, tmp_path: Path
) -> None:
    live_tools = replace(tools, rtmp_url=server.url)
    folder = tmp_path / "stream-frozen"

    def freeze() -> None:
        time.sleep(4)
        encoders = [pid for pid, argv in _running(folder) if "libx264" in argv]
        for pid in encoders:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5)
        for pid in encoders:
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=freeze)
    thread.start()
    measured = kinds.run_attempt(attempt(_live(clip, 10), clip, folder, live_tools))
    thread.join()
    assert measured.live is not None
    assert measured.live.stalls == 1
    assert measured.live.server_bytes_in == Unavailable(
        reason="no statistics page of the RTMP server is configured (rtmp_stat_url)"
    )
    assert measured.live.lag_max_s > 1.5
    assert measured.live.below_real_time_s > 0


@pytest.mark.parametrize("role", ["player", "encoder", "feeder"])
def test_a_process_that_falls_silent_makes_the_result_invalid(
    clip: Path, tools: Tools, server: Server, tmp_path: Path, role: str
) -> None:
    """A stopped process keeps its connection, so that nothing but the missing data shows it."""
    live_tools = replace(tools, rtmp_url=server.url, rtmp_stat=server.stat)
    folder = tmp_path / f"stream-silent-{role}"
    mark = {"player": "framecrc", "encoder": "libx264", "feeder": "-stream_loop"}[role]
    started = threading.Event()

    def silence() -> None:
        started.wait(TIMEOUT_S)
        time.sleep(3)
        for pid, argv in _running(folder):
            if mark in argv:
                os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=silence)
    thread.start()
    tried = attempt(_live(clip, 9), clip, folder, live_tools)

    def report(progress: Progress) -> None:
        if progress.frames:
            started.set()

    measured = kinds.run_attempt(replace(tried, report=report))
    thread.join()
    found = measured.live
    assert found is not None
    assert isinstance(found.silence_end_s, float)
    assert 3 < found.silence_end_s < 8
    assert found.end_to_end_p50_s == Unavailable(
        reason=f"the player received nothing for {found.silence_max_s:.1f} s"
    )
    if role == "player":
        assert found.frames_lost > 50
    else:
        assert found.lag_max_s > 2
    assert measured.verdict is not None
    assert measured.verdict.state is VerdictState.INVALID
    assert "silent" in [reason.code for reason in measured.verdict.reasons]
    assert not _running(folder)


def test_an_unreachable_server_is_a_network_failure(
    clip: Path, tools: Tools, tmp_path: Path
) -> None:
    unreachable = replace(tools, rtmp_url=f"rtmp://127.0.0.1:{free_port()}/live")
    with pytest.raises(AttemptFailedError, match="the player received no packets") as caught:
        kinds.run_attempt(attempt(_live(clip), clip, tmp_path / "stream-2", unreachable))
    assert caught.value.failure_class is FailureClass.NETWORK
    assert not _running(tmp_path)


def test_a_node_without_a_server_is_reported(clip: Path, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(AttemptFailedError, match="rtmp_server"):
        kinds.run_attempt(attempt(_live(clip), clip, tmp_path / "stream-3", tools))


def test_a_canceled_stream_ends_soon(
    clip: Path, tools: Tools, server: Server, tmp_path: Path
) -> None:
    started = time.monotonic()
    live_tools = replace(tools, rtmp_url=server.url)
    tried = replace(
        attempt(_live(clip, 60), clip, tmp_path / "stream-4", live_tools),
        stop_reason=lambda: "canceled" if time.monotonic() - started > 2 else "",
    )
    with pytest.raises(AttemptFailedError, match="canceled"):
        kinds.run_attempt(tried)
    assert time.monotonic() - started < 10
    assert not _running(tmp_path)


def test_a_player_that_cannot_be_started_leaves_no_process(tmp_path: Path) -> None:
    commands = Commands(
        feeder=["/bin/sleep", "61.5"],
        encoder=["/bin/sleep", "61.5"],
        player=[str(tmp_path / "nothing-here")],
    )
    with pytest.raises(OSError, match="nothing-here"):
        live_pipeline.run_pipeline(
            commands,
            cwd=tmp_path,
            log=tmp_path / "ffmpeg.log",
            duration_s=60,
            stop=lambda: False,
            on_report=lambda *_: None,
        )
    # The child process must neither run nor be a zombie.
    assert "sleep" not in [child.name() for child in psutil.Process().children()]


_FLOOD = "#tb 0: 1/1000\\n" + "0, 40, 40, 40, 900, 0x1\\n" * 50


def test_the_packets_of_a_player_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_pipeline, "MAX_PACKETS", 20)
    commands = Commands(
        feeder=["/bin/sleep", "61.5"],
        encoder=["/bin/sleep", "61.5"],
        player=["/bin/sh", "-c", f"printf '{_FLOOD}'; exec sleep 61.5"],
    )
    with pytest.raises(AttemptFailedError, match="more than 20 packets, the limit of a stream"):
        live_pipeline.run_pipeline(
            commands,
            cwd=tmp_path,
            log=tmp_path / "ffmpeg.log",
            duration_s=60,
            stop=lambda: False,
            on_report=lambda *_: None,
        )
    assert "sleep" not in [child.name() for child in psutil.Process().children()]


def test_incomplete_lines_of_a_player_are_skipped(tmp_path: Path) -> None:
    lines = ["#tb 0: 1/0", "0, 1, 1, 1, 5", "#tb 0: 1/1000", "0, 4", "0, x, 1, 1, 5"]
    lines += [f"0, {'9' * 30}, 1, 1, 5", "0, 40, 40, 40, 900, 0x1"]
    text = "\\n".join(lines)
    found = live_pipeline.run_pipeline(
        Commands(
            feeder=["/bin/sleep", "61.5"],
            encoder=["/bin/sleep", "61.5"],
            player=["/bin/sh", "-c", f"printf '{text}\\n'; exec sleep 61.5"],
        ),
        cwd=tmp_path,
        log=tmp_path / "ffmpeg.log",
        duration_s=1.0,
        stop=lambda: False,
        on_report=lambda *_: None,
    )
    assert list(found.packets.time_s) == [pytest.approx(0.04)]
    assert list(found.packets.size_bytes) == [900]


# --- measurements of artificial streams -----------------------------------------------------

_ENDED = ChildExit(
    exit_code=None,
    user_s=1.0,
    system_s=0.5,
    max_rss_kib=1000,
    voluntary_switches=1,
    involuntary_switches=1,
    minor_faults=1,
    major_faults=0,
    log_tail="",
)
_RATE = 25.0
_AHEAD_S = 0.5


def _stream(*, speed: float = 1.0, delay_s: float = 0.4, way_s: float = 0.1) -> Broadcast:
    """Return a stream of 20 s, in which each frame is one packet.

    The process that feeds the encoder is ahead of the clock.
    """
    times = [0.25 * number for number in range(2, 81)]
    reports = [
        ProgressReport(at, int((at + _AHEAD_S - delay_s) * speed * _RATE + 1e-6) + 1)
        for at in times
    ]
    stamps = np.arange(0, int(19.9 * speed * _RATE)) / _RATE
    return Broadcast(
        wall_s=20.0,
        fed=tuple((at, at * min(speed, 1.0) + _AHEAD_S) for at in times),
        reports=tuple(reports),
        packets=Packets(
            elapsed_s=array("d", stamps / speed - _AHEAD_S + delay_s + way_s),
            time_s=array("d", stamps),
            size_bytes=array("q", [5000] * len(stamps)),
        ),
        reconnects=0,
        feeder=_ENDED,
        encoder=_ENDED,
        players=(_ENDED,),
    )


def _measured(stream: Broadcast) -> LiveMeasurement:
    return live.measure_live(stream, _RATE)


def test_the_lag_is_that_of_the_encoder_despite_bursts() -> None:
    found = _measured(_stream(delay_s=0.4, way_s=0.1))
    assert found.lag_p50_s == pytest.approx(0.4, abs=0.04)
    assert found.end_to_end_p50_s == pytest.approx(0.5, abs=0.001)
    assert found.end_to_end_max_s == pytest.approx(0.5, abs=0.001)
    assert found.below_real_time_s == 0
    assert found.bitrate_mean_kbps == pytest.approx(5000 * 8 * 25 / 1000)
    assert found.bitrate_cv == pytest.approx(0, abs=0.03)
    assert found.helpers_cpu_s == 3.0


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.985])
def test_a_slow_stream_is_below_real_time(speed: float) -> None:
    found = _measured(_stream(speed=speed))
    assert found.below_real_time_s > 10
    assert found.lag_max_s == pytest.approx(0.4 + (1 - speed) * 19, abs=0.6)


def test_frames_missing_at_the_player_are_counted() -> None:
    stream = _stream()
    packets = stream.packets
    kept = [number for number in range(len(packets.time_s)) if not 100 <= number < 130]
    cut = Packets(
        elapsed_s=array("d", [packets.elapsed_s[number] for number in kept]),
        time_s=array("d", [packets.time_s[number] for number in kept]),
        size_bytes=array("q", [packets.size_bytes[number] for number in kept]),
    )
    assert _measured(msgspec.structs.replace(stream, packets=cut)).frames_lost == 30


def _until(stream: Broadcast, end_s: float) -> Broadcast:
    """Return the stream, of which the player received nothing after `end_s`."""
    packets = stream.packets
    count = int(np.searchsorted(packets.elapsed_s, end_s))
    return msgspec.structs.replace(
        stream,
        packets=Packets(
            elapsed_s=packets.elapsed_s[:count],
            time_s=packets.time_s[:count],
            size_bytes=packets.size_bytes[:count],
        ),
    )


def test_frames_are_counted_to_the_end_of_the_stream() -> None:
    # Of 20 s, the frames that were written up to the 19th second should have arrived.
    found = _measured(_until(_stream(delay_s=0.4, way_s=0.1), 6.0))
    written = int((19.0 + _AHEAD_S - 0.4) * _RATE + 1e-6) + 1
    received = int((6.0 + _AHEAD_S - 0.5) * _RATE + 1e-6)
    assert found.frames_lost == pytest.approx(written - received, abs=1)
    assert found.silence_end_s == found.silence_max_s == pytest.approx(14.0, abs=0.05)
    assert found.end_to_end_p99_s == Unavailable(reason="the player received nothing for 14.0 s")


def test_frames_on_their_way_at_the_end_are_not_lost() -> None:
    found = _measured(_until(_stream(delay_s=0.4, way_s=0.1), 19.3))
    assert found.frames_lost == 0
    assert found.silence_end_s == pytest.approx(0.7, abs=0.05)
    assert isinstance(found.end_to_end_p50_s, float)


def test_the_lag_of_an_encoder_that_wrote_no_more_reports_grows() -> None:
    stream = _stream()
    silent = msgspec.structs.replace(
        stream, reports=tuple(r for r in stream.reports if r.elapsed_s < 6.0)
    )
    found = _measured(silent)
    assert found.lag_max_s == pytest.approx(14.4, abs=0.5)
    assert found.below_real_time_s > 10


def test_stalls_are_counted() -> None:
    reports = [ProgressReport(0.25 * n, n if n < 20 or n > 30 else 20) for n in range(1, 60)]
    assert live.stalls(reports, 15.0) == 1
    assert live.stalls(reports, 17.0) == 2
    assert live.stalls([ProgressReport(0.5, 1)], 1.0) == 0


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"reports": ()}, "there is no data from the encoder"),
        ({"fed": ()}, "there is no data from the feeder"),
        (
            {"packets": Packets(elapsed_s=array("d"), time_s=array("d"), size_bytes=array("q"))},
            "there is no data from the player",
        ),
    ],
)
def test_missing_reports_are_named(change: dict[str, object], missing: str) -> None:
    with pytest.raises(live.MissingDataError, match=re.escape(missing)):
        _measured(msgspec.structs.replace(_stream(), **change))


def _running(folder: Path) -> list[tuple[int, str]]:
    """Return the processes whose working directory is in `folder`, and their commands."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            directory = (entry / "cwd").readlink()
            if folder == directory or folder in directory.parents:
                found.append((int(entry.name), (entry / "cmdline").read_bytes().decode()))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def test_a_latency_is_never_negative() -> None:
    found = _measured(_stream(delay_s=0.0, way_s=-0.3))
    assert isinstance(found.end_to_end_p50_s, Unavailable)
    assert "seems to have arrived" in found.end_to_end_p50_s.reason
    slightly = _measured(_stream(delay_s=0.0, way_s=-0.05))
    assert slightly.end_to_end_p50_s == 0.0
