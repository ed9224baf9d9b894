"""Tests of run-benchmark.yml with a real master: detachment, resumption, and refusals."""

import json
import re
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from .checkout import Checkout, wait_for_text
from .farm import Agent, Farm

pytestmark = pytest.mark.slow

# Each start of ansible-playbook takes three seconds of CPU time, so some tests of resumption and
# interruption run only in make test-deep.
_INTERRUPTED = 99
"""The exit code of Ansible after Ctrl-C has aborted it."""


@pytest.fixture
def checkout(farm: Farm, tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout", farm)


def test_ctrl_c_detaches_and_the_same_command_resumes(checkout: Checkout, agent: Agent) -> None:
    log = checkout.folder / "first.log"
    playbook = checkout.start(log)
    wait_for_text(log, "0 %: 0 of 2 jobs")
    interrupted_s = time.monotonic()
    playbook.send_signal(signal.SIGINT)
    wait_for_text(log, "Detached. Run ")
    assert time.monotonic() - interrupted_s < 5
    assert playbook.wait(timeout=60) == 2
    printed = log.read_text()
    run_id = printed.split("Detached. Run ")[1].split()[0]
    assert f"Run {run_id} is started with 2 jobs." in printed
    assert f"Run {run_id} continues on the farm." in printed
    assert "run the same command again" in printed
    assert f"playbooks/cancel-run.yml -e run_id={run_id}" in printed
    assert not list(checkout.temporary.glob("*.benchmark"))
    assert len(checkout.keys) == 1
    assert not (checkout.folder / "results").exists()

    for _ in range(2):
        agent.succeed(agent.claim())
    status, printed = checkout.run()
    assert status == 0, printed
    assert f"Run {run_id} is resumed, 2 of 2 jobs have succeeded." in printed
    assert "is started" not in printed
    _check_results(checkout, run_id, printed)
    assert not list(checkout.temporary.glob("*.benchmark"))

    # The key is removed when the results are fetched, so that the command then starts a new run.
    assert checkout.keys == []
    status, printed = checkout.run("--check")
    assert status == 0, printed
    assert "Check mode: 2 jobs would be queued." in printed


def _check_results(checkout: Checkout, run_id: str, printed: str) -> None:
    """Check the directory of the only run, and what the playbook prints about it."""
    results = checkout.folder / "results"
    (folder,) = results.glob("[0-9]*")
    assert folder.name.endswith(f"Z-demo-{run_id[-8:]}")
    assert sorted(path.name for path in results.iterdir()) == [folder.name, "latest"]
    assert (results / "latest").readlink() == Path(folder.name)
    document = json.loads((folder / "results.json").read_text())
    assert (len(document["results"]), document["farm"]) == (2, "default")
    assert (folder / "suite.yml").read_text() == checkout.suite.read_text()
    assert "Medians of 2 repeats" in (folder / "table.txt").read_text()
    assert "Medians of 2 repeats" in printed
    end = datetime.fromisoformat(document["run"]["finished_at"])
    times = {path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}
    assert times == {int(end.timestamp())}
    assert f"Results: {folder}/ (" in printed
    (call,) = re.findall(r"API: (curl .*)", printed)
    answer = subprocess.run(call.split(), check=True, capture_output=True, text=True).stdout
    assert json.loads(answer)["openapi"] == "/schema/openapi.json"


@pytest.mark.deep
def test_earlier_results_and_a_directory_latest_are_left_alone(
    checkout: Checkout, agent: Agent
) -> None:
    earlier = checkout.folder / "results/019a0000-0000-7000-8000-000000000000/results.json"
    mine = checkout.folder / "results/latest/notes.txt"
    for file in (earlier, mine):
        file.parent.mkdir(parents=True)
        file.write_text("mine")
    for _ in range(2):
        log = checkout.folder / "run.log"
        playbook = checkout.start(log)
        for _ in range(2):
            agent.succeed(agent.claim(wait_s=60))
        assert playbook.wait(timeout=300) == 0, log.read_text()
    assert earlier.read_text() == mine.read_text() == "mine"
    assert len(list((checkout.folder / "results").glob("[0-9]*Z-demo-*"))) == 2


@pytest.mark.deep
def test_a_second_ctrl_c_aborts(checkout: Checkout, agent: Agent) -> None:
    log = checkout.folder / "first.log"
    playbook = checkout.start(log)
    wait_for_text(log, "0 %: 0 of 2 jobs")
    playbook.send_signal(signal.SIGINT)
    # Without a pause, the two signals could be delivered as one.
    time.sleep(0.2)
    playbook.send_signal(signal.SIGINT)
    assert playbook.wait(timeout=60) == _INTERRUPTED
    assert len(checkout.keys) == 1


@pytest.mark.deep
def test_a_changed_suite_starts_another_run(checkout: Checkout, agent: Agent) -> None:
    status, printed = checkout.run("-e", "benchmark_timeout_s=0")
    assert status == 2
    assert "has not ended within 0 s" in printed
    checkout.suite.write_text(checkout.suite.read_text() + "slowest_speed: 0.1\n")
    status, printed = checkout.run("-e", "benchmark_timeout_s=0")
    assert status == 2
    assert "is started with 2 jobs." in printed
    assert len(checkout.keys) == 2


@pytest.mark.deep
def test_an_explicit_key_resumes_and_is_not_stored(checkout: Checkout, agent: Agent) -> None:
    arguments = ("-e", "benchmark_timeout_s=0", "-e", "benchmark_key=mine")
    status, printed = checkout.run(*arguments)
    assert status == 2
    assert "is started with 2 jobs." in printed
    assert "-e benchmark_key=mine" in printed
    status, printed = checkout.run(*arguments)
    assert status == 2
    assert "is resumed, 0 of 2 jobs have succeeded." in printed
    assert checkout.keys == []


@pytest.mark.parametrize("arguments", [("--check",), ()])
def test_a_suite_that_no_node_can_run_is_refused_with_the_reason(
    checkout: Checkout, agent: Agent, arguments: tuple[str, ...]
) -> None:
    checkout.suite.write_text(checkout.suite.read_text().replace("libx264", "libx265"))
    status, printed = checkout.run(*arguments)
    assert status == 2
    assert "no node meets the requirements of some scenarios" in printed
    assert "encoder libx265: worker1 lacks encoder libx265" in printed
    assert not list(checkout.temporary.glob("*.benchmark"))
