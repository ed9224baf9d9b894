"""Tests of the progress of a run and its description as text."""

import pytest
from ansible.module_utils.ffrtmp.progress import (
    Progress,
    ProgressMeter,
    duration_text,
    progress_line,
)


def _active(count: int, scenario: str = "clip/x264/800k") -> list[dict[str, object]]:
    return [
        {"node": f"worker{n}", "scenario": scenario, "stage": "encode", "ratio": 0.25}
        for n in range(count)
    ]


def test_rate_and_time_left_are_computed_from_ended_jobs() -> None:
    meter = ProgressMeter()
    first = meter.update({"queued": 100, "succeeded": 20}, 0.0)
    assert (first.ended, first.rate_per_min, first.left_s) == (20, None, None)
    later = meter.update({"queued": 80, "succeeded": 38, "failed": 2}, 600.0)
    assert (later.total, later.ended, later.failed, later.percent) == (120, 40, 2, 33)
    assert later.rate_per_min == pytest.approx(2.0)
    assert later.left_s == pytest.approx(80 / 2 * 60)


def test_the_rate_falls_while_nothing_ends() -> None:
    meter = ProgressMeter()
    meter.update({"queued": 10}, 0.0)
    meter.update({"queued": 9, "succeeded": 1}, 60.0)
    assert meter.update({"queued": 9, "succeeded": 1}, 120.0).rate_per_min == pytest.approx(0.5)


def test_jobs_before_the_window_do_not_count() -> None:
    meter = ProgressMeter(window_s=100)
    for second in range(1000):
        done = second // 100 if second < 500 else second - 495
        progress = meter.update({"queued": 1000 - done, "succeeded": done}, float(second))
    assert progress.rate_per_min == pytest.approx(60, rel=0.05)


def test_only_a_finished_run_is_at_one_hundred_percent() -> None:
    almost = Progress(total=1000, ended=999, failed=0, rate_per_min=None, left_s=None)
    assert almost.percent == 99
    assert Progress(total=5, ended=5, failed=0, rate_per_min=None, left_s=None).percent == 100
    assert Progress(total=0, ended=0, failed=0, rate_per_min=None, left_s=None).percent == 100


def test_the_line_describes_the_progress() -> None:
    progress = Progress(total=120, ended=40, failed=2, rate_per_min=2.04, left_s=2400)
    assert progress_line(progress, _active(1)) == (
        "33 %: 40 of 120 jobs, 2 failed, 2.0 jobs/min, about 40 min left; "
        "worker0: clip/x264/800k encode 25 %"
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 25, 1000])
@pytest.mark.parametrize("scenario", ["a/b/c", "a-long-source/a-long-encode/crf23", "x" * 200])
def test_a_line_fits_and_counts_the_omitted_jobs(count: int, scenario: str) -> None:
    progress = Progress(total=1000, ended=400, failed=2, rate_per_min=204, left_s=86399)
    line = progress_line(progress, _active(count, scenario))
    assert len(line) <= 120
    named = line.count("encode 25 %")
    left_out = [part for part in line.split("; ") if part.endswith("active")]
    assert sum(int(part.split()[0]) for part in left_out) == count - named


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (3599, "1 h 00 min"), (90000, "25 h 00 min")],
)
def test_durations_are_rounded(duration_s: float, text: str) -> None:
    assert duration_text(duration_s) == text
