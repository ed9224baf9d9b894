"""Tests of the progress of a run and its description as text."""

import pytest
from ansible.module_utils.ffrtmp.precision import precision_progress, precision_text
from ansible.module_utils.ffrtmp.progress import (
    Progress,
    ProgressMeter,
    activity_key,
    answer_line,
    duration_text,
    progress_line,
    run_notes,
    summary_lines,
)


def _active(count: int, scenario: str = "clip/x264/800k") -> list[dict[str, object]]:
    return [
        {"node": f"worker{n}", "scenario": scenario, "stage": "encode", "ratio": 0.25}
        for n in range(count)
    ]


def test_rate_and_time_left_are_computed_from_ended_jobs() -> None:
    meter = ProgressMeter()
    first = meter.update({"counts": {"queued": 100, "succeeded": 20}}, 0.0)
    assert (first.ended, first.rate_per_min, first.left_s) == (20, None, None)
    later = meter.update({"counts": {"queued": 80, "succeeded": 38, "failed": 2}}, 600.0)
    assert (later.total, later.ended, later.failed, later.percent) == (120, 40, 2, 33)
    assert later.rate_per_min == pytest.approx(2.0)
    assert later.left_s == pytest.approx(80 / 2 * 60)


def test_the_rate_falls_while_nothing_ends() -> None:
    meter = ProgressMeter()
    meter.update({"counts": {"queued": 10}}, 0.0)
    meter.update({"counts": {"queued": 9, "succeeded": 1}}, 60.0)
    assert meter.update(
        {"counts": {"queued": 9, "succeeded": 1}}, 120.0
    ).rate_per_min == pytest.approx(0.5)


def test_jobs_before_the_window_do_not_count() -> None:
    meter = ProgressMeter(window_s=100)
    for second in range(1000):
        done = second // 100 if second < 500 else second - 495
        progress = meter.update(
            {"counts": {"queued": 1000 - done, "succeeded": done}}, float(second)
        )
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


DRAINING = "no suitable node is active: worker2 is draining"
RUNNING = {"job_id": "1", "node": "w1", "scenario": "clip/x264", "stage": "idle_power", "ratio": 1}


def _answer(active: list[dict[str, object]], **run: object) -> dict[str, object]:
    counts = {"queued": 23, "running": len(active), "succeeded": 13}
    return {"run": {"counts": counts, **run}, "active": active}


def _line(answer: dict[str, object]) -> str:
    return answer_line(ProgressMeter().update(answer["run"], 0.0), answer)  # type: ignore[arg-type]


def test_the_line_states_why_jobs_wait_for_a_node() -> None:
    pending = [
        {"reason": "no_node", "message": DRAINING, "jobs": 22},
        {"reason": "busy", "message": "the suitable nodes run other jobs", "jobs": 1},
    ]
    assert _line(_answer([RUNNING], pending=pending)) == (
        f"35 %: 13 of 37 jobs; 22 jobs wait: {DRAINING}; w1: clip/x264 idle power"
    )
    # Without an active job, the other reasons are also stated.
    assert _line(_answer([], pending=pending[1:])) == (
        "36 %: 13 of 36 jobs; 1 job waits: the suitable nodes run other jobs"
    )
    assert _line(_answer([RUNNING], pending=pending[1:])) == (
        "35 %: 13 of 37 jobs; w1: clip/x264 idle power"
    )


def test_notes_name_omitted_nodes_and_blocked_jobs() -> None:
    omitted = [
        {"node": "w2", "state": "draining"},
        {"node": "w3", "state": "offline"},
        {"node": "w4", "state": "draining"},
    ]
    pending = [
        {"reason": "no_node", "message": DRAINING, "jobs": 1},
        {"reason": "ready", "message": "nodes claim them after others", "jobs": 7},
    ]
    assert run_notes({"omitted_nodes": omitted, "pending": pending}) == [
        "w2, w4 are draining and get no jobs of this run",
        "w3 is offline and gets no jobs of this run",
        f"1 job waits: {DRAINING}",
    ]
    assert run_notes({}) == []


def test_the_summary_describes_a_run_once() -> None:
    answer = _answer([RUNNING], id="r", suite_name="demo", state="running")
    answer["run"]["pending"] = [{"reason": "no_node", "message": DRAINING, "jobs": 23}]  # type: ignore[index]
    answer["precision"] = precision_progress(_report(_median("a", 6, 0.034)))
    assert summary_lines(answer) == [
        "Run r of suite demo: running (23 queued, 1 running, 13 succeeded)",
        "repeat 6, interval 3.4 % (requested 5 %)",
        "w1: clip/x264 idle power",
        f"23 jobs wait: {DRAINING}",
    ]


def test_a_master_of_an_earlier_release_gives_no_reasons() -> None:
    assert _line(_answer([])) == "36 %: 13 of 36 jobs"


def test_a_long_reason_is_shortened() -> None:
    pending = [{"reason": "no_node", "message": "x" * 200, "jobs": 22}]
    line = _line(_answer([RUNNING], pending=pending))
    assert len(line) == 120
    assert line.endswith("xxx...")


def test_the_key_changes_with_jobs_and_reasons_but_not_with_stages() -> None:
    before = activity_key(_answer([RUNNING]))
    assert activity_key(_answer([{**RUNNING, "stage": "encode"}])) == before
    assert activity_key(_answer([{**RUNNING, "job_id": "2"}])) != before
    busy = [{"reason": "busy", "message": "the suitable nodes run other jobs", "jobs": 1}]
    assert activity_key(_answer([RUNNING], pending=busy)) == before
    blocked = [{"reason": "no_node", "message": DRAINING, "jobs": 1}]
    assert activity_key(_answer([RUNNING], pending=blocked)) != before


def _median(scenario: str, n: int, width: float | None, state: str = "open") -> dict[str, object]:
    return {
        "node": "w1",
        "scenario": scenario,
        "n": n,
        "n_invalid": 0,
        "speed": 2.0 if n else None,
        "low": None if width is None else 2.0 - 2 * width,
        "high": None if width is None else 2.0 + 2 * width,
        "state": state,
    }


def _report(*medians: dict[str, object]) -> dict[str, object]:
    return {"interval": 0.05, "looks": [{"n": 8, "rank": 1}], "medians": list(medians)}


@pytest.mark.parametrize(
    ("medians", "text"),
    [
        ([_median("a", 6, 0.034)], "repeat 6, interval 3.4 % (requested 5 %)"),
        ([_median("a", 3, None)], "repeat 3, interval not known yet (requested 5 %)"),
        ([_median("a", 8, 0.034, "precise")], "1 of 1 medians precise"),
        (
            [
                _median("a", 8, 0.034, "precise"),
                _median("b", 8, 0.051),
                _median("c", 8, 0.123),
                _median("d", 30, 0.4, "unstable"),
            ],
            "1 of 4 medians precise, w1 c repeat 8, interval 12 % (requested 5 %)",
        ),
    ],
)
def test_the_precision_is_that_of_the_widest_open_interval(
    medians: list[dict[str, object]], text: str
) -> None:
    summary = precision_progress(_report(*medians))
    assert summary is not None
    assert precision_text(summary) == text


def test_a_run_without_a_requested_precision_has_no_summary() -> None:
    assert precision_progress({**_report(_median("a", 6, 0.034)), "looks": []}) is None


def test_a_run_that_may_get_a_control_encode_is_not_at_one_hundred_percent() -> None:
    answer = _answer([], unsettled_nodes=["w1"])
    answer["run"]["counts"] = {"queued": 0, "succeeded": 6}  # type: ignore[index]
    assert _line(answer) == "99 %: 6 of 6 jobs"


def test_the_line_of_a_run_that_gets_further_jobs_has_no_percentage() -> None:
    answer = _answer([RUNNING], unsettled_nodes=["w1"])
    answer["run"]["counts"] = {"queued": 0, "running": 0, "succeeded": 6}  # type: ignore[index]
    answer["precision"] = precision_progress(_report(_median("a", 6, 0.034)))
    assert _line(answer) == (
        "6 of 6 jobs so far; repeat 6, interval 3.4 % (requested 5 %); w1: clip/x264 idle power"
    )


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (3599, "1 h 00 min"), (90000, "25 h 00 min")],
)
def test_durations_are_rounded(duration_s: float, text: str) -> None:
    assert duration_text(duration_s) == text
