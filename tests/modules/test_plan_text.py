"""Tests of the text of a plan."""

from typing import Any

import pytest
from ansible.module_utils.ffrtmp.phrases import counted, listed
from ansible.module_utils.ffrtmp.plan_text import plan_lines, waiting_refusal


def plan(**changed: Any) -> dict[str, Any]:
    return {
        "suite_name": "demo",
        "jobs": 12,
        "total_jobs": 12,
        "control_jobs": 0,
        "repeats": 2,
        "max_repeats": None,
        "scenarios": [f"clip/x264/{rate}k" for rate in range(6)],
        "nodes": ["worker1"],
        "omitted_nodes": [],
        "waiting": [],
        "files": [],
        "expected": {"duration_s": 840.0, "reason": "", "is_minimum": False},
        **changed,
    }


@pytest.mark.parametrize(
    ("control_s", "cost"),
    [(None, "their duration is not known yet"), (44.0, "they take about 44 s on each node")],
)
def test_a_plan_states_why_control_encodes_are_added_and_what_they_cost(
    control_s: float | None, cost: str
) -> None:
    reason = "the run is planned to take more than 10 minutes"
    added = {"total_jobs": 14, "control_reason": reason, "control_s": control_s}
    assert f"Control encodes: added because {reason}; {cost}" in plan_lines(
        plan(control_jobs=2, **added)
    )
    assert not any("added" in line for line in plan_lines(plan(**added | {"total_jobs": 12})))


def test_a_plan_states_jobs_nodes_scenarios_and_duration() -> None:
    assert plan_lines(plan()) == [
        "12 jobs on 1 node (worker1): 6 scenarios, each measured twice",
        "Scenarios: clip/x264/0k, clip/x264/1k, clip/x264/2k, clip/x264/3k, clip/x264/4k and "
        "clip/x264/5k",
        "Expected duration: about 14 min if no other jobs run, according to earlier runs",
    ]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            {"total_jobs": 1, "repeats": 1, "scenarios": ["a/b/c"]},
            "1 job on 1 node (worker1): 1 scenario, each measured once",
        ),
        (
            {"total_jobs": 28, "control_jobs": 4, "nodes": ["w1", "w2"]},
            "28 jobs on 2 nodes (w1 and w2): 6 scenarios, each measured twice, on each node that "
            "can run it; 4 control encodes (the first and the last job of each node; there are "
            "more if the run takes over six hours)",
        ),
        (
            {"max_repeats": 30},
            "at least 12 jobs on 1 node (worker1): 6 scenarios, each measured 2 to 30 times, until "
            "it is precise",
        ),
        (
            {"nodes": []},
            "12 jobs on no node: 6 scenarios, each measured twice",
        ),
        (
            {"expected": {"duration_s": None, "reason": "it is new", "is_minimum": False}},
            "Expected duration: unknown, because it is new",
        ),
        (
            {"expected": {"duration_s": 40.0, "reason": "", "is_minimum": True}},
            "Expected duration: at least 40 s if no other jobs run, according to earlier runs",
        ),
        (
            {"files": [{"path": "a.mp4", "is_stored": True}, {"path": "b", "is_stored": False}]},
            "Files: 1 file on the master, 1 file to be copied (b)",
        ),
        (
            {"omitted_nodes": [{"node": "w2", "state": "draining"}]},
            "w2 is draining and gets no jobs of this run",
        ),
        (
            {"waiting": [{"scenarios": ["a/b/c", "a/b/d"], "reason": "w2 is draining"}]},
            "a/b/c and a/b/d: w2 is draining",
        ),
    ],
)
def test_a_plan_states_what_is_special(changed: dict[str, Any], line: str) -> None:
    assert line in plan_lines(plan(**changed))


def test_a_refusal_has_the_reason_of_each_scenario_and_the_variable() -> None:
    waiting = [
        {"scenarios": ["a/nvenc/1k"], "reason": "worker1 lacks encoder h264_nvenc"},
        {"scenarios": ["a/x265/1k", "a/x265/2k"], "reason": "worker2 is draining"},
    ]
    text = waiting_refusal(plan(waiting=waiting), "-e benchmark_wait_for_nodes=true")
    assert text.splitlines()[:3] == [
        "No active node can run 3 of 6 scenarios, so the run would wait:",
        "a/nvenc/1k: worker1 lacks encoder h264_nvenc",
        "a/x265/1k and a/x265/2k: worker2 is draining",
    ]
    assert "-e benchmark_wait_for_nodes=true" in text


def test_texts_have_correct_forms_and_a_limited_length() -> None:
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert listed([], 3) == "none"
    assert listed(["a"], 3) == "a"
    assert listed(["a", "b", "c"], 3) == "a, b and c"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
