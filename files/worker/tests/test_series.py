"""Tests of the series of an attempt, which has one row for each second, and of its Parquet file."""

import math
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.agent import series_file
from ffrtmp_worker.energy.client import EnergyReading, ZoneReading
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.sampling import HostSample
from ffrtmp_worker.measure.series import COLUMNS, Series
from pyarrow import parquet

from .conftest import attempt, scenario

pytestmark = pytest.mark.slow

_EMPTY = HostSample(
    frequency_mean_mhz=Unavailable(reason="none"), temperature_celsius=Unavailable(reason="none")
)


def _read(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return rows


def test_an_encode_has_a_row_for_each_second(
    medium_clip: Path, tools: Tools, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    slow = scenario(medium_clip, preset="slower", threads=1)
    slow = msgspec.structs.replace(slow, warm_up_s=0.0)
    tried = replace(attempt(slow, medium_clip, folder, tools), series=Series())
    before = datetime.now(UTC)
    measured = kinds.run_attempt(tried)
    series_file.write_series_file(tried.series, folder)
    rows = _read(folder / series_file.NAME)

    assert measured.encode.wall_s > 2, "the clip is too short for this test"
    assert len(rows) >= int(measured.encode.wall_s) + 1
    assert list(rows[0]) == ["time", *COLUMNS[1:]]
    assert before < rows[0]["time"] < rows[-1]["time"] < datetime.now(UTC)
    elapsed = [row["elapsed_s"] for row in rows]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] == pytest.approx(measured.encode.wall_s, abs=1)
    frames = [row["frames"] for row in rows if row["frames"] is not None]
    assert frames == sorted(frames)
    assert frames[-1] == measured.encode.frames
    # The sum over the rates of all intervals is the number of encoded frames.
    encoded = sum(
        later["fps"] * (later["elapsed_s"] - earlier["elapsed_s"])
        for earlier, later in pairwise(rows)
        if later["fps"] is not None
    )
    assert encoded == pytest.approx(frames[-1] - frames[0])
    busy = [row["host_cpu_ratio"] for row in rows[1:-1]]
    assert busy
    assert all(0 < ratio <= 1 for ratio in busy), busy
    # There is no energy reader in this test, so the power is missing. It must not be 0.
    assert {row["power_w"] for row in rows} == {None}
    assert {row["lag_s"] for row in rows} == {None}


def test_power_is_derived_from_the_counters() -> None:
    readings = iter(
        EnergyReading(
            monotonic_s=float(second),
            zones={"package-0": ZoneReading(joules=joules, watts=None)},
            gaps=gaps,
            reason="",
        )
        for second, joules, gaps in ((0, 100.0, 0), (1, 120.0, 0), (3, 180.0, 0), (4, 200.0, 1))
    )
    series = Series()
    series.start(lambda: next(readings))
    for _ in range(4):
        series.sample(_EMPTY)
    power = list(series.columns["power_w"])
    assert math.isnan(power[0])
    assert power[1:3] == [20.0, 30.0]
    assert math.isnan(power[3]), "energy was not counted for a while"


def test_a_second_pass_restarts_the_series() -> None:
    series = Series()
    series.sample(_EMPTY)
    assert len(series) == 0
    series.start(None)
    for frames, size in ((10, 1000), (30, None), (5, 200), (9, 300)):
        series.set_progress(frames, size)
        time.sleep(0.01)
        series.sample(_EMPTY)
    fps, kbps = (list(series.columns[name]) for name in ("fps", "output_bitrate_kbps"))
    assert [math.isnan(value) for value in fps] == [True, False, True, False]
    assert [math.isnan(value) for value in kbps] == [True, True, True, False]
    assert all(math.isnan(value) for value in series.columns["frequency_mean_mhz"])
    series.start(None)
    assert len(series) == 0


def test_a_file_that_cannot_be_written_is_logged_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series = Series()
    series.start(None)
    series.sample(_EMPTY)
    series_file.write_series_file(series, tmp_path / "gone")
    assert "series.parquet was not written" in caplog.text
    assert not (tmp_path / "gone").exists()


def test_an_empty_series_has_no_file(tmp_path: Path) -> None:
    series_file.write_series_file(Series(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_agent_never_loads_the_parquet_library() -> None:
    code = "import sys, ffrtmp_worker.agent.cli; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_day_of_samples_costs_little_time_and_memory() -> None:
    series = Series()
    series.start(None)
    started_s = time.process_time()
    for number in range(2000):
        series.set_progress(number)
        series.sample(_EMPTY)
    # A row, of which there is one per second, takes less than 2 ms of the agent's CPU time.
    assert (time.process_time() - started_s) / 2000 < 0.002
    assert sum(column.itemsize for column in series.columns.values()) * 86_400 < 8_000_000
