"""Tests of the quality of received streams, with a real RTMP server.

Most streams are encoded without loss, so that a frame has the highest PSNR only if it is compared
with exactly the frame that was encoded. All frames of the source differ.
"""

import os
import signal
import subprocess
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.live_measurement import ReceivedMeasurement
from ffrtmp_shared.measurement import Measurement, QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import LiveSettings, Scenario
from ffrtmp_shared.unavailable import Cause, Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.agent import scores_file
from ffrtmp_worker.ffmpeg import arguments, live_command, probe
from ffrtmp_worker.ffmpeg.build_info import identify_build
from ffrtmp_worker.ffmpeg.live_pipeline import Packets
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from ffrtmp_worker.kinds.steps.received_stream import ReceivedStream
from ffrtmp_worker.measure.frame_scores import FRAMES_NAME, read_scores
from ffrtmp_worker.measure.quality import LOG_NAME, Clip, QualityPass
from ffrtmp_worker.measure.received_quality import ReceivedPass, measure_received

from .conftest import attempt, make, scenario
from .rtmp_server import Server, running

pytestmark = pytest.mark.slow

_LOSSLESS = RatePoint(crf=0)
_IDENTICAL_DB = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="module")
def live_tools(tools: Tools, server: Server) -> Tools:
    """Return tools with the server, on which the calibration has been run before the streams."""
    return replace(tools, rtmp_url=server.url, rtmp_stat=server.stat)


@pytest.fixture(scope="module")
def moving(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], Path]:
    """Return a function that makes a clip of 37 different frames, with B-frames."""
    folder = tmp_path_factory.mktemp("moving")

    def make_clip(rate: int, suffix: str) -> Path:
        file = folder / f"moving-{rate}{suffix}"
        if not file.exists():
            before = ["-f", "lavfi", "-i", f"testsrc2=size=256x144:rate={rate}"]
            coding = ["-frames:v", "37", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"]
            make(ffmpeg, before, coding, file)
        return file

    return make_clip


def _live(clip: Path, duration_s: float = 6.0, **encode: object) -> Scenario:
    settings = LiveSettings(duration_s=duration_s, measure_received=True)
    options = {"gop_frames": 25, "threads": 1, "rate": _LOSSLESS, **encode}
    return msgspec.structs.replace(scenario(clip, **options), kind="live", live=settings)


def _parts(measured: Measurement) -> tuple[QualityMeasurement, ReceivedMeasurement]:
    quality, received = measured.quality, measured.received
    assert isinstance(quality, QualityMeasurement), quality
    assert isinstance(received, ReceivedMeasurement), received
    return quality, received


def _compared(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the compared frames, and their PSNR."""
    lines = (folder / FRAMES_NAME).read_text().splitlines()
    numbers = np.array([int(line) for line in lines[1:]])
    return numbers, read_scores(folder / LOG_NAME)["psnr_y"][: len(numbers)]


@pytest.mark.parametrize(
    ("source", "encode"),
    [
        ((25, ".mp4"), {}),
        # Milliseconds do not divide into frames, so that the time of a repetition is not exact.
        ((60, ".mkv"), {}),
        ((25, ".mp4"), {"frame_rate": "30000/1001"}),
        ((60, ".mkv"), {"frame_rate": "30"}),
    ],
)
def test_each_received_frame_is_compared_with_the_one_that_was_encoded(
    moving: Callable[[int, str], Path],
    live_tools: Tools,
    tmp_path: Path,
    source: tuple[int, str],
    encode: dict[str, object],
) -> None:
    clip, folder = moving(*source), tmp_path / f"stream-{source[0]}{len(encode)}"
    measured = kinds.run_attempt(attempt(_live(clip, **encode), clip, folder, live_tools))
    quality, received = _parts(measured)
    numbers, psnr_db = _compared(folder)
    frame_rate = float(Fraction(str(encode.get("frame_rate", source[0]))))
    assert (psnr_db == _IDENTICAL_DB).all()
    assert (np.diff(numbers) == 1).all()
    assert len(numbers) > 4 * frame_rate
    assert quality.pairs == received.pairs == received.frames == len(numbers)
    assert received.frames_lost == 0
    assert received.frames_lost_at_start == numbers[0] < 2.5 * frame_rate
    assert [chunk.psnr_y_mean_db for chunk in received.chunks] == [_IDENTICAL_DB] * 2
    assert received.chunks[0].frames == pytest.approx(4 * frame_rate, abs=1)
    assert received.stall_s == pytest.approx(0, abs=0.2)
    assert received.file_bytes > 10_000
    assert measured.live is not None
    assert isinstance(measured.live.startup_s, float)
    assert 0 < measured.live.startup_s < 3
    # The time stamps of a stored stream have an offset, which the delay must not contain.
    assert isinstance(measured.live.end_to_end_p50_s, float)
    assert 0 <= measured.live.end_to_end_p50_s < 3
    assert measured.live.frames_lost == 0
    assert not [file.name for file in folder.iterdir() if "received" in file.name]
    argv = measured.provenance.more_argv[1]
    assert argv[-1].endswith("received-0.flv")


def test_the_score_of_a_frame_is_stored_with_its_number(
    clip: Path, live_tools: Tools, tmp_path: Path
) -> None:
    folder = tmp_path / "stream-scores"
    spec = _live(clip, rate=RatePoint(bitrate_kbps=300), width=160, height=90)
    measured = kinds.run_attempt(attempt(spec, clip, folder, live_tools))
    quality, received = _parts(measured)
    assert 5 < quality.vmaf_mean < 95
    chunks = [chunk.vmaf_mean for chunk in received.chunks]
    assert np.average(chunks, weights=[c.pairs for c in received.chunks]) == pytest.approx(
        quality.vmaf_mean
    )
    scores_file.write_score_files(folder)
    from pyarrow import parquet

    table = parquet.read_table(folder / "scores.parquet")
    assert table.column_names[:2] == ["frame", "vmaf"]
    first = received.frames_lost_at_start
    assert table["frame"].to_pylist() == list(range(first, first + quality.pairs))
    assert np.mean(table["vmaf"]) == pytest.approx(quality.vmaf_mean, abs=1e-3)


def _run_with(action: Callable[[], None], after_s: float, tried: Attempt) -> Measurement:
    """Run a stream, and call `action` some time after its first frame."""
    timer = threading.Timer(after_s, action)
    started = threading.Event()

    def report(progress: Progress) -> None:
        if progress.frames and not started.is_set():
            started.set()
            timer.start()

    measured = kinds.run_attempt(replace(tried, report=report))
    timer.join()
    return measured


def _kill_player(folder: Path) -> None:
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command_line = process.info["cmdline"] or []
        if process.info["cwd"] == str(folder) and "tee" in command_line:
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("broken", ["publisher", "player"])
def test_frames_lost_in_the_middle_do_not_shift_later_ones(
    moving: Callable[[int, str], Path],
    live_tools: Tools,
    server: Server,
    tmp_path: Path,
    broken: str,
) -> None:
    clip, folder = moving(25, ".mp4"), tmp_path / f"stream-lost-{broken}"
    actions = {
        "publisher": lambda: server.drop(folder.name),
        "player": lambda: _kill_player(folder),
    }
    tried = attempt(_live(clip, 9), clip, folder, live_tools)
    measured = _run_with(actions[broken], 2.5, tried)
    quality, received = _parts(measured)
    numbers, psnr_db = _compared(folder)
    assert (psnr_db == _IDENTICAL_DB).all()
    lost = np.diff(numbers) - 1
    assert lost.max() > 0
    assert received.frames_lost == lost.sum() == received.frames - quality.pairs
    assert received.frames == numbers[-1] - numbers[0] + 1
    assert received.stall_s >= lost.sum() / 25
    assert sum(chunk.pairs for chunk in received.chunks) == quality.pairs == len(numbers)
    live = measured.live
    assert live is not None
    # The same frames are missing among those that the player has listed.
    assert live.frames_lost == pytest.approx(received.frames_lost, abs=3)
    if broken == "publisher":
        assert live.reconnects == 1
    else:
        # The frames before the interruption come from another file than those after it.
        assert (folder / "player-1.log").exists()


def test_a_stream_over_the_limit_is_not_stored_but_measured(
    moving: Callable[[int, str], Path], live_tools: Tools, tmp_path: Path
) -> None:
    clip, folder = moving(25, ".mp4"), tmp_path / "stream-limit"
    limited = replace(live_tools, received_max_bytes=100_000)
    sizes: list[int] = []

    def report(progress: Progress) -> None:
        sizes.extend(file.stat().st_size for file in folder.glob("received*"))

    tried = replace(attempt(_live(clip), clip, folder, limited), report=report)
    measured = kinds.run_attempt(tried)
    reason = (
        "the received stream is larger than 100000 bytes (worker_received_max_bytes); "
        "shorten duration_s, lower the bit rate or raise the limit"
    )
    assert measured.quality == measured.received == Unavailable(reason=reason)
    assert max(sizes) == 100_000
    live = measured.live
    assert live is not None
    assert (live.frames_lost, live.stalls) == (0, 0)
    assert live.silence_max_s == pytest.approx(0.1, abs=0.5)
    assert not list(folder.glob("received*"))
    assert measured.verdict is not None
    assert "quality-unavailable" not in [reason.code for reason in measured.verdict.reasons]


def test_free_space_limits_a_stored_stream_too(
    clip: Path, live_tools: Tools, tmp_path: Path
) -> None:
    free_bytes = psutil.disk_usage(str(tmp_path)).free
    node = replace(live_tools, min_free_bytes=free_bytes // 2, received_max_bytes=10**13)
    folder = tmp_path / "stream-space"
    folder.mkdir()
    received = ReceivedStream(
        attempt(_live(clip), clip, folder, node), "rtmp://127.0.0.1/live/unused", Fraction(25)
    )
    _, left_bytes = received.recorder.next_player() or ((), 0)
    assert left_bytes == pytest.approx(free_bytes / 2, rel=0.2)
    full = replace(node, min_free_bytes=10**15)
    received = ReceivedStream(
        attempt(_live(clip), clip, folder, full), "rtmp://127.0.0.1/live/unused", Fraction(25)
    )
    assert received.recorder.next_player() is None
    assert received.recorder.join() == (
        "the received stream is larger than 0 bytes (free space without worker_min_free_bytes); "
        "shorten duration_s, lower the bit rate or raise the limit"
    )


def test_the_streams_of_an_older_ffmpeg_are_compared_too(
    moving: Callable[[int, str], Path], live_tools: Tools, system_ffmpeg: Path, tmp_path: Path
) -> None:
    clip, folder = moving(60, ".mkv"), tmp_path / "stream-old"
    old = replace(
        live_tools,
        ffmpeg=system_ffmpeg,
        farm_ffmpeg=system_ffmpeg,
        ffmpeg_build=identify_build(system_ffmpeg),
    )
    quality, received = _parts(kinds.run_attempt(attempt(_live(clip), clip, folder, old)))
    _, psnr_db = _compared(folder)
    assert (psnr_db == _IDENTICAL_DB).all()
    assert quality.pairs == received.frames > 200


# --- stored streams that a test has made --------------------------------------------------------


class _Stored:
    """A stored stream of 120 frames, and the packets that its player listed."""

    def __init__(self, tools: Tools, clip: Path, folder: Path, *more: str) -> None:
        self.folder = folder
        source = folder / f"source{clip.suffix}"
        source.write_bytes(clip.read_bytes())
        spec = _live(clip, rate=RatePoint(bitrate_kbps=300))
        assert spec.encode is not None
        argv = live_command.broadcast(spec.encode, tools.ffmpeg, "unused", offset_s=20)
        feeder = live_command.feed_again(tools.farm_ffmpeg, source.name)
        argv = [*argv[: argv.index("fifo") - 1], *more, "-frames:v", "120", "-f", "flv", "all.flv"]
        with subprocess.Popen(
            feeder, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            subprocess.run(argv, cwd=folder, stdin=process.stdout, capture_output=True, check=True)
            process.kill()
        _, listed, _ = probe.list_packets(
            tools.ffprobe, folder / "all.flv", guard=arguments.stored_stream_guard()
        )
        self.packets = Packets(
            elapsed_s=array("d", listed.times_s),
            time_s=array("d", listed.times_s),
            size_bytes=array("q", listed.sizes_bytes),
            shown_ms=array("q", [round(time_s * 1000) for time_s in listed.times_s]),
        )
        found = probe.probe_video(tools.ffprobe, source)
        self.source = Clip(name=source.name, probe=found)
        self.how = ReceivedPass(
            quality=QualityPass(
                ffmpeg=tools.quality_ffmpeg, folder=folder, threads=2, deadline_s=100
            ),
            ffprobe=tools.ffprobe,
            farm_ffmpeg=tools.farm_ffmpeg,
            offset_s=20,
            frame_rate=found.frame_rate,
            is_converted=False,
        )

    def measure(
        self, packets: Packets | None = None, **changes: object
    ) -> tuple[QualityMeasurement, ReceivedMeasurement] | Unavailable:
        return measure_received(
            msgspec.structs.replace(self.how, **changes),
            stored="all.flv",
            packets=packets or self.packets,
            reference=self.source,
            stop=lambda: False,
        )


@pytest.fixture
def stored(moving: Callable[[int, str], Path], tools: Tools, tmp_path: Path) -> _Stored:
    return _Stored(tools, moving(25, ".mp4"), tmp_path)


def test_a_shift_by_one_frame_is_found(stored: _Stored) -> None:
    assert not isinstance(stored.measure(), Unavailable)
    assert stored.measure(offset_s=19.96) == Unavailable(
        reason="the output's frames match the source's better when shifted by -1",
        cause=Cause.PAIRING,
    )


def test_frames_between_those_of_the_source_are_found(stored: _Stored) -> None:
    assert stored.measure(offset_s=19.98, frame_rate=Fraction(50)) == Unavailable(
        reason="120 frames of the stored stream have a time stamp of no frame of the source",
        cause=Cause.PAIRING,
    )


def test_a_packet_that_was_not_stored_is_no_lost_frame(stored: _Stored) -> None:
    more = stored.packets
    more.elapsed_s.append(30.0)
    more.time_s.append(30.0)
    more.size_bytes.append(1000)
    more.shown_ms.append(30_000)
    found = stored.measure(more)
    assert isinstance(found, Unavailable)
    assert found.reason.startswith("the stored stream lacks 1 of the 121 packets that the player")


def test_frames_after_the_end_of_the_measurement_are_not_counted(stored: _Stored) -> None:
    packets = stored.packets
    known = Packets(
        elapsed_s=packets.elapsed_s[:100],
        time_s=packets.time_s[:100],
        size_bytes=packets.size_bytes[:100],
        shown_ms=packets.shown_ms[:100],
    )
    found = stored.measure(known)
    assert not isinstance(found, Unavailable)
    assert 90 <= found[0].pairs <= 100


def test_damaged_frames_are_compared_as_a_player_shows_them(
    moving: Callable[[int, str], Path], tools: Tools, tmp_path: Path
) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    for folder in (whole, damaged):
        folder.mkdir()
    undamaged = _Stored(tools, moving(25, ".mp4"), whole).measure()
    # A packet in the middle of a group of pictures is missing, on which later ones depend.
    drop = ("-bsf:v", "noise=drop=eq(n\\,30)")
    stored = _Stored(tools, moving(25, ".mp4"), damaged, *drop)
    found = stored.measure()
    assert not isinstance(undamaged, Unavailable)
    assert not isinstance(found, Unavailable), found
    assert found[1].frames_lost >= 1
    assert found[0].vmaf_min < undamaged[0].vmaf_min - 5
    after = undamaged[1].chunks[1].vmaf_mean
    assert found[1].chunks[1].vmaf_mean == pytest.approx(after, abs=10)


def test_a_stream_that_is_no_video_is_unavailable(stored: _Stored) -> None:
    (stored.folder / "all.flv").write_bytes(os.urandom(10_000))
    found = stored.measure()
    assert isinstance(found, Unavailable)
    assert found.reason.startswith("the stored stream cannot be read")


def test_a_source_that_cannot_be_read_again_is_reported(stored: _Stored) -> None:
    (stored.folder / stored.source.name).unlink()
    found = stored.measure()
    assert isinstance(found, Unavailable)
    assert found.reason.startswith("the source could not be read again")
