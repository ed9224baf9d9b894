"""Tests of the search for the number of streams that a node sustains, with real FFmpegs."""

import os
import signal
import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.density_measurement import StreamCost
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.scenario import DensitySettings, Scenario
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import process_group
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.bisection import bisect_max
from ffrtmp_worker.kinds.steps.stream_cost import Prices
from ffrtmp_worker.measure.real_time import measure_pace

from .conftest import attempt, scenario

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("capacity", range(18))
def test_the_search_finds_every_capacity_and_tries_no_number_twice(capacity: int) -> None:
    tried_numbers: list[int] = []

    def sustains(number: int) -> bool:
        tried_numbers.append(number)
        return number <= capacity

    assert bisect_max(sustains, lambda number: number <= capacity, 16) == min(capacity, 16)
    assert len(tried_numbers) == len(set(tried_numbers)) <= 9
    assert max(tried_numbers) <= 16


def test_an_unverified_result_is_lowered() -> None:
    verified: list[int] = []

    def verifies(number: int) -> bool:
        verified.append(number)
        return number <= 5

    assert bisect_max(lambda number: number <= 7, verifies, 16) == 5
    assert verified == [7, 6, 5]
    assert bisect_max(lambda _: True, lambda _: False, 4) == 0


def _reports(speed: float, *, delay_s: float = 0.0, count: int = 40) -> list[ProgressReport]:
    times = [0.5 * number for number in range(1, count + 1)]
    return [ProgressReport(at, max(round((at * speed - delay_s) * 25), 1)) for at in times]


def test_the_delay_of_an_encoder_does_not_count_as_drift() -> None:
    found = measure_pace(_reports(1.0, delay_s=1.6), 25.0)
    assert found is not None
    assert found.speed == pytest.approx(1.0, abs=0.003)
    assert found.drift_s == pytest.approx(0.0, abs=0.04)


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.99])
def test_a_slow_stream_drifts(speed: float) -> None:
    found = measure_pace(_reports(speed), 25.0)
    assert found is not None
    assert found.speed == pytest.approx(speed, abs=0.004)
    assert found.drift_s == pytest.approx((1 - speed) * 0.5 * 26, abs=0.08)


def test_a_short_delay_is_a_lag_and_not_a_drift() -> None:
    reports = [
        ProgressReport(r.elapsed_s, r.frames - (50 if 9 < r.elapsed_s < 11 else 0))
        for r in _reports(1)
    ]
    found = measure_pace(reports, 25.0)
    assert found is not None
    assert found.lag_max_s == pytest.approx(2.0, abs=0.05)
    assert found.drift_s == pytest.approx(0.0, abs=0.04)


def test_too_few_reports_have_no_pace() -> None:
    assert measure_pace(_reports(1.0, count=8), 25.0) is None


def test_a_group_ends_with_all_its_children(tmp_path: Path) -> None:
    script = (
        "trap '' INT; sleep 60 & echo $! > child-$$; echo frame=7; echo progress=continue; wait"
    )
    reported: list[tuple[int, int]] = []
    outcome = process_group.run_group(
        [["/bin/sh", "-c", script]] * 3,
        cwd=tmp_path,
        duration_s=0.5,
        stop=lambda: False,
        on_report=lambda place, report: reported.append((place, report.frames)),
    )
    assert sorted(reported) == [(0, 7), (1, 7), (2, 7)]
    assert [member.ending.exit_code for member in outcome.members] == [None] * 3
    assert all(member.ending.max_rss_kib for member in outcome.members)
    children = [int(file.read_text()) for file in tmp_path.glob("child-*")]
    assert len(children) == 3
    assert not any(_is_alive(child) for child in children)


def test_a_member_that_ends_early_ends_the_group(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome = process_group.run_group(
        [["/bin/sleep", "60"], ["/bin/sh", "-c", "echo no more >&2; exit 3"]],
        cwd=tmp_path,
        duration_s=60,
        stop=lambda: False,
        on_report=lambda *_: None,
    )
    assert time.monotonic() - started < 20
    assert [member.ending.exit_code for member in outcome.members] == [None, 3]
    assert "no more" in outcome.members[1].ending.log_tail


def test_a_missing_program_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing-here"):
        process_group.run_group(
            [["/bin/sh", "-c", "echo $$ > mine; exec sleep 60"], [str(tmp_path / "nothing-here")]],
            cwd=tmp_path,
            duration_s=60,
            stop=lambda: False,
            on_report=lambda *_: None,
        )
    pid_file = tmp_path / "mine"
    assert not pid_file.exists() or not _is_alive(int(pid_file.read_text()))


def _density(clip: Path, **settings: object) -> Scenario:
    density = DensitySettings(window_s=8.0, verify_s=8.0, **settings)  # type: ignore[arg-type]
    return msgspec.structs.replace(scenario(clip), kind="density", density=density)


# This test takes half a minute, because it has three windows in real time. `make test` runs a
# search with one stream in test_ffmpeg_build.py, and the searches below that do not find any
# streams.
@pytest.mark.deep
def test_sustained_streams_are_counted(clip: Path, tools: Tools, tmp_path: Path) -> None:
    reported: list[Progress] = []
    spec = _density(clip, max_streams=2, max_lag_s=5.0)
    priced = replace(tools, prices=Prices(currency="EUR", host_per_hour=0.6))
    measured = kinds.run_attempt(attempt(spec, clip, tmp_path, priced, reported=reported))
    density = measured.density
    assert density is not None
    assert isinstance(density.gpu_power_w, Unavailable)
    assert density.watts_per_stream == density.power_w, "both are unavailable here"
    assert isinstance(density.cost, StreamCost)
    assert density.cost.per_stream_hour == pytest.approx(0.6 / density.streams)
    # Other tests may run at the same time, so the machine may not sustain two streams.
    assert density.streams in (1, 2)
    last = density.steps[-1]
    assert (last.streams, last.held, last.limit) == (density.streams, True, "")
    assert isinstance(last.slowest_speed, float)
    assert last.slowest_speed == pytest.approx(1.0, abs=0.02)
    assert 0 < last.cpu_busy_ratio <= 1
    assert measured.encode.frames == pytest.approx(density.streams * 8 * 25, rel=0.25)
    assert measured.encode.cpu_s > 0
    # The measurement of the speed restarts with each step, but the speed is never negative.
    speeds = [p.speed for p in reported if p.stage == "encode"]
    assert min(speeds) >= 0
    assert statistics.median(speeds) == pytest.approx(1.0, abs=0.3)
    assert {p.bitrate_bps for p in reported} == {None}
    assert isinstance(measured.encode.minor_faults, int)
    assert measured.encode.minor_faults > 100
    assert measured.output is None
    assert "-re" in measured.provenance.argv


# This test keeps all processors busy for 15 s. `make test` checks the detection of bottlenecks with
# given values in test_bottleneck.py.
@pytest.mark.deep
def test_a_node_that_sustains_no_stream_reports_the_bottleneck(
    long_clip: Path, tools: Tools, tmp_path: Path
) -> None:
    slow = scenario(long_clip, encoder="libx264", preset="placebo", threads=1)
    spec = msgspec.structs.replace(
        slow, kind="density", density=DensitySettings(window_s=8.0, verify_s=8.0)
    )
    with pytest.raises(AttemptFailedError, match="not even one stream") as caught:
        kinds.run_attempt(attempt(spec, long_clip, tmp_path, tools))
    assert caught.value.failure_class is FailureClass.ENCODE_FAILED


def test_a_temporarily_stopped_stream_is_not_sustained(
    clip: Path, tools: Tools, tmp_path: Path
) -> None:
    tried = attempt(_density(clip, max_streams=1, max_lag_s=0.5), clip, tmp_path, tools)

    def freeze() -> None:
        time.sleep(4)
        for process in _running(tmp_path):
            os.kill(process, signal.SIGSTOP)
        time.sleep(1.5)
        for process in _running(tmp_path):
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=freeze)
    thread.start()
    with pytest.raises(AttemptFailedError, match="not even one stream"):
        kinds.run_attempt(tried)
    thread.join()


def test_a_canceled_search_ends_soon(clip: Path, tools: Tools, tmp_path: Path) -> None:
    started = time.monotonic()
    tried = replace(
        attempt(_density(clip), clip, tmp_path, tools),
        stop_reason=lambda: "canceled" if time.monotonic() - started > 2 else "",
    )
    with pytest.raises(AttemptFailedError, match="canceled") as caught:
        kinds.run_attempt(tried)
    assert caught.value.failure_class is FailureClass.STOPPED
    assert time.monotonic() - started < 10
    assert not _running(tmp_path)


def _is_alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != "Z"


def _running(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder` or is below it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (entry / "cwd").readlink().parents or folder == (entry / "cwd").readlink():
                found.append(int(entry.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found
