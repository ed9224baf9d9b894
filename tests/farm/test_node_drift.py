"""Test of the detection of node drift with real control encodes and a competing load."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from ffrtmp_analysis.speed_range import MIN_HISTORY, usual_range
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.control_encode import SCENARIO
from ffrtmp_shared.models import Result, Run
from ffrtmp_shared.states import JobState
from polling import wait_until

from .conftest import Farm, Process

_PROGRAM = Path(__file__).parents[1] / "short_control_program.py"
_EQUAL_RUNS = 10
# A run takes a few seconds; on a computer that runs other tests, it takes minutes.
_RUN_S = 600.0
_LOAD_RATIO = 0.15

# Uses a share of the time of one CPU, in periods of 20 ms.
_LOAD = f"""
import os, time
os.sched_setaffinity(0, [int(os.environ["CPU"])])
while True:
    begin = time.monotonic()
    until = time.process_time() + 0.02 * {_LOAD_RATIO}
    while time.process_time() < until:
        pass
    time.sleep(max(0, begin + 0.02 - time.monotonic()))
"""


@contextmanager
def competing_load(cpu: int) -> Iterator[None]:
    """Let another process use a CPU for the duration of the context."""
    process = subprocess.Popen([sys.executable, "-c", _LOAD], env={"CPU": str(cpu)})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def speeds(results: list[Result]) -> list[float]:
    """Return the speeds of the control encodes among some results."""
    return [
        result.measurement.encode.speed
        for result in results
        if result.scenario.name == SCENARIO.name
    ]


def drifted(results: list[Result]) -> list[bool]:
    """Return whether the verdict of each result contains the drift of the node."""
    verdicts = [result.measurement.verdict for result in results]
    return [
        verdict is not None and any(reason.code == "node-drift" for reason in verdict.reasons)
        for verdict in verdicts
    ]


def has_run(client: MasterClient, run: Run, jobs: int) -> Callable[[], bool]:
    return lambda: client.run(run.id).counts[JobState.SUCCEEDED] >= jobs


# The test runs more than 42 real control encodes, one after another.
@pytest.mark.slow
@pytest.mark.deep
def test_a_competing_load_marks_the_node_and_ten_equal_runs_do_not(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    farm.master.end(signal.SIGTERM)
    farm.master = Process(
        [sys.executable, str(_PROGRAM), *farm.master.arguments], farm.folder / "master.log"
    )
    farm.start_master()
    cpu = max(os.sched_getaffinity(0))
    agent = farm.agent("worker1")
    agent.arguments = ["taskset", "--cpu-list", str(cpu), *agent.arguments]
    agent.start()
    with farm.client() as client:
        wait_until(lambda: len(client.nodes()) == 1, "the agent has registered")
        runs = [
            farm.wait_for_end(farm.launch(make_clip(1), control=True), _RUN_S)
            for _ in range(MIN_HISTORY + _EQUAL_RUNS)
        ]
        before = [list(client.results(run.id)) for run in runs]
        assert client.nodes()[0].suspicion is None
        assert not any(any(drifted(results)) for results in before)
        found = usual_range([median(speeds(results)) for results in before])
        assert found is not None
        is_steady = found.low >= found.center * (1 - _LOAD_RATIO) * 1.02
        assert is_steady, f"other programs disturb the encodes of this host too much: {found}"

        slowed = farm.launch(make_clip(1), control=True)
        wait_until(has_run(client, slowed, 1), "the first control encode has ended")
        with competing_load(cpu):
            farm.wait_for_end(slowed, _RUN_S)
        results = list(client.results(slowed.id))
        assert len(speeds(results)) >= 3, "the last control encode was repeated"
        assert all(drifted(results))
        suspicion = client.nodes()[0].suspicion
        assert suspicion is not None
        assert suspicion.run_id == slowed.id
        assert suspicion.ratio < 0.95
        assert not any(drifted(list(client.results(runs[-1].id))))
