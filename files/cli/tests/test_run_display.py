"""Tests of the texts of the live display and of the lines of progress."""

import pytest
from ffrtmp_cli.run_display import LineDisplay, detail_lines, state_text
from ffrtmp_client.api import Json
from ffrtmp_client.progress import Progress, ProgressMeter


def answer(succeeded: int, **active: object) -> Json:
    """Return a run of ten jobs of which some have succeeded, with one active job."""
    counts = {"queued": 9 - succeeded, "running": 1, "succeeded": succeeded}
    job = {
        "job_id": "1",
        "node": "worker1",
        "scenario": "clip/x264/800k",
        "stage": "warm_up",
        "ratio": 0.5,
        **active,
    }
    return {"run": {"counts": counts, "pending": []}, "active": [job], "precision": None}


def test_the_state_has_the_rate_and_the_remaining_time() -> None:
    progress = Progress(total=10, ended=4, failed=1, rate_per_min=2.0, left_s=180.0)
    text = state_text(progress, is_total_known=True)
    assert text == "4/10 jobs, 1 failed, 2.0 jobs/min, about 3 min left"
    assert state_text(progress, is_total_known=False).startswith("4/10 jobs so far, ")


def test_each_active_job_has_a_line() -> None:
    assert detail_lines(answer(3)) == ["worker1: clip/x264/800k warm up 50 %"]


def test_lines_are_printed_for_changes_and_from_time_to_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    meter = ProgressMeter()
    printed = []
    with LineDisplay() as display:
        for found, now_s in (
            (answer(1), 0.0),
            (answer(1, stage="encode"), 1.0),
            (answer(2, job_id="2"), 30.0),
            (answer(2, job_id="2"), 89.0),
            (answer(2, job_id="2"), 91.0),
        ):
            display.update(meter.update(found["run"], now_s), found, now_s)
            printed.append(len(capsys.readouterr().err.splitlines()))
    assert printed == [1, 0, 1, 0, 1]
