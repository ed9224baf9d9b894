"""Tests of the loop of ffrtmp_run_wait: its output, behavior in outages, and memory usage."""

import gc
import inspect
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins" / "action"))
import ffrtmp_run_wait

RUN_ID = "019a0000-0000-7000-8000-000000000000"
POLLS = 5000
UNREACHABLE = {"failed": True, "temporary": True, "msg": "the master at https://x did not answer"}
Answer = dict[str, Any] | Exception


def answer(succeeded: int, total: int = 10, *, stage: str = "encode", **more: Any) -> Answer:
    """Return an answer of the module ffrtmp_run_info."""
    counts = {"queued": total - succeeded, "succeeded": succeeded, "failed": 0}
    job = {"job_id": "1", "node": "w1", "scenario": "clip/x264/800k", "stage": stage, "ratio": 0.5}
    return {
        "run": {"id": "r", "counts": counts},
        "is_final": succeeded == total,
        "active": [] if succeeded == total else [job],
        "failures": [],
        **more,
    }


def _stack_depth() -> int:
    frame, depth = inspect.currentframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


class Simulation:
    """A host on which each call of the module takes `call_s` and returns the next given answer."""

    def __init__(self, answers: Iterable[Answer], call_s: float = 1.0) -> None:
        self.now_s = 0.0
        self.module_args: dict[str, Any] = {}
        self.polls = 0
        self.depths: set[int] = set()
        self._answers = iter(answers)
        self._call_s = call_s

    def execute(self, *, module_name: str, module_args: dict[str, Any], task_vars: Any) -> Answer:
        assert (module_name, task_vars) == ("ffrtmp_run_info", {})
        self.module_args = module_args
        self.polls += 1
        self.depths.add(_stack_depth())
        self.now_s += self._call_s
        found = next(self._answers)
        if isinstance(found, Exception):
            raise found
        return found

    def sleep(self, pause_s: float) -> None:
        # The clock advances even if the pause is zero, so that the test does not hang.
        self.now_s += max(pause_s, 0.01)


Wait = Callable[..., dict[str, Any]]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """A function that runs the action with a simulation and returns the result of the action."""

    def run(simulation: Simulation, **options: Any) -> dict[str, Any]:
        arguments = {
            "master_url": "https://x",
            "token": "t",
            "ca_file": "/ca.pem",
            "run_id": RUN_ID,
            **options,
        }
        action = ffrtmp_run_wait.ActionModule(
            task=SimpleNamespace(args=arguments, async_val=0, check_mode=False),
            connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir="/nowhere")),
            play_context=None,
            loader=None,
            templar=None,
            shared_loader_obj=None,
        )
        monkeypatch.setattr(action, "_execute_module", simulation.execute)
        monkeypatch.setattr(action, "clock", lambda: simulation.now_s)
        monkeypatch.setattr(action, "sleep", simulation.sleep)
        result: dict[str, Any] = action.run(task_vars={})
        return result

    return run


@pytest.mark.slow
def test_memory_and_stack_do_not_grow_with_polls(
    wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The lines are only counted, because captured output would use memory.
    lines = Counter[int]()
    monkeypatch.setattr(
        ffrtmp_run_wait.Display, "display", lambda _, line: lines.update([len(line) <= 120])
    )
    grown: list[int] = []

    def answers() -> Iterator[Answer]:
        for number in range(POLLS):
            if number in (POLLS // 10, POLLS - 1):
                gc.collect()  # This also empties the free lists, whose memory counts as used.
                grown.append(tracemalloc.get_traced_memory()[0])
            yield answer(number, POLLS, stage=f"stage {number % 3}")
        yield answer(POLLS, POLLS)

    simulation = Simulation(answers())
    tracemalloc.start()
    try:
        result = wait(simulation, wait_timeout_s=1e6)
    finally:
        tracemalloc.stop()
    assert (result["is_final"], result["detached"], result["timed_out"]) == (True, False, False)
    assert simulation.polls == POLLS + 1
    assert len(simulation.depths) == 1
    assert lines == {True: POLLS + 1}
    assert grown[1] - grown[0] < 20_000


def test_each_change_prints_one_line(wait: Wait, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [answer(0), answer(0), answer(0, stage="quality"), answer(1), answer(1), answer(10)]
    simulation = Simulation(answers)
    wait(simulation, heartbeat_s=1000)
    lines = capsys.readouterr().out.splitlines()
    # The stage changes within seconds, so it has no line of its own.
    assert [line.split(" jobs")[0] for line in lines] == [
        "0 %: 0 of 10",
        "10 %: 1 of 10",
        "100 %: 10 of 10",
    ]
    assert lines[0].endswith("; w1: clip/x264/800k encode 50 %")
    assert "left" in lines[1]
    assert "\x1b" not in "".join(lines)
    assert "\r" not in "".join(lines)


def test_a_stage_that_lasts_is_printed(wait: Wait, capsys: pytest.CaptureFixture[str]) -> None:
    stages = ["warm_up", "encode", "encode", "encode", "quality"]
    simulation = Simulation([*(answer(0, stage=stage) for stage in stages), answer(10)], call_s=10)
    wait(simulation, heartbeat_s=1000)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("; w1: clip/x264/800k ")[2] for line in lines[:-1]] == [
        "warm up 50 %",
        "encode 50 %",
        "quality 50 %",
    ]


def test_a_reason_that_blocks_jobs_is_printed_once_in_full(
    wait: Wait, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = "no node meets the requirements: " + ", ".join(f"worker{n}" for n in range(20))
    messages = ["no suitable node is active: worker2 is draining", lacks]
    pending = [{"reason": "no_node", "message": message, "jobs": 2} for message in messages]
    blocked = answer(0)
    blocked["run"]["pending"] = pending
    wait(Simulation([answer(0), blocked, blocked, blocked, answer(10)]), heartbeat_s=1000)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1] == f"2 jobs wait: {lacks}"
    assert f"2 jobs wait: {messages[0]}; 2 jobs wait: no node meets" in lines[2]


def test_a_line_is_printed_periodically_without_a_change(
    wait: Wait, capsys: pytest.CaptureFixture[str]
) -> None:
    wait(Simulation([*[answer(0)] * 60, answer(10)], call_s=30), heartbeat_s=180)
    lines = capsys.readouterr().out.splitlines()
    assert 1 + 60 * 30 // 210 <= len(lines) <= 2 + 60 * 31 // 180


@pytest.mark.parametrize(
    "unreachable",
    [UNREACHABLE, AnsibleConnectionFailure("ssh closed"), {"unreachable": True, "msg": "no route"}],
)
def test_an_outage_is_reported_once_and_waited_for(
    wait: Wait, capsys: pytest.CaptureFixture[str], unreachable: Answer
) -> None:
    result = wait(
        Simulation([answer(0), unreachable, unreachable, unreachable, answer(1), answer(10)])
    )
    assert result["is_final"]
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "retrying" in line]) == 1
    assert len([line for line in lines if "responds again" in line]) == 1
    assert len(lines) == 5


def test_an_outage_is_waited_for_until_the_timeout(wait: Wait) -> None:
    simulation = Simulation([UNREACHABLE] * 1000)
    result = wait(simulation, wait_timeout_s=3600)
    assert result["timed_out"]
    assert 3600 <= simulation.now_s <= 3640
    assert simulation.polls < 300


def test_a_refusal_ends_the_wait(wait: Wait) -> None:
    refused = {"failed": True, "temporary": False, "msg": "there is no run r"}
    result = wait(Simulation([answer(0), refused]))
    assert (result["failed"], result["msg"]) == (True, "there is no run r")


def test_options_of_the_wait_are_not_passed_to_the_module(wait: Wait) -> None:
    simulation = Simulation([answer(2), answer(10)])
    wait(simulation, known_counts={"queued": 10}, heartbeat_s=5, timeout_s=7)
    assert simulation.module_args == {
        "master_url": "https://x",
        "token": "t",
        "ca_file": "/ca.pem",
        "run_id": RUN_ID,
        "timeout_s": 7.0,
        "wait_change_s": 5.0,
        "known_counts": {"queued": 8, "succeeded": 2, "failed": 0},
    }
