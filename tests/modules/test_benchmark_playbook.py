"""Tests of run-benchmark.yml with a real master: detachment, resumption, and refusals."""

import json
import re
import shlex
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


def commands(printed: str) -> dict[str, list[str]]:
    """Return the commands in the output of a playbook by their labels."""
    found = re.findall(r"^ *(\w+): .*?(ansible-playbook .*)$", printed, re.MULTILINE)
    return {label: shlex.split(command) for label, command in found}


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
    assert commands(printed)["Cancel"][-2:] == ["-e", "run_state=canceled"]
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
    # One line for each change, then the table and the location of the results.
    assert not re.search("TASK|PLAY|ok: \\[|changed: \\[|skipping: |included: ", printed)
    report = printed.splitlines()[-1].removeprefix("Report: ")
    assert run_id in Path(report).read_text()
    assert not list(checkout.temporary.glob("*.benchmark"))

    # The key is removed when the results are fetched, so that the command then starts a new run.
    assert checkout.keys == []
    status, printed = checkout.run("--check")
    assert status == 0, printed
    assert "2 jobs on 1 node (worker1): 1 scenario, each measured twice" in printed
    assert "Expected duration: " in printed


def test_the_commands_that_are_printed_work(checkout: Checkout, agent: Agent) -> None:
    status, printed = checkout.run("-e", "benchmark_wait=false")
    assert status == 0, printed
    printed_commands = commands(printed)
    assert printed_commands.keys() == {"Results", "State", "Cancel"}
    run_id = printed_commands["State"][-1].removeprefix("run_id=")
    status, printed = checkout.run_command(printed_commands["State"])
    assert (status, printed.splitlines()) == (
        0,
        [
            f"Run {run_id} of suite demo: queued (2 queued)",
            "2 jobs wait: nodes claim them after the jobs that come first",
        ],
    )
    status, printed = checkout.run_command(printed_commands["State"][:-2])
    assert status == 0, printed
    assert f"{run_id}  queued  0 of 2 jobs  demo, queued at " in printed
    status, printed = checkout.run_command(printed_commands["Cancel"])
    assert status == 0, printed
    assert f"Run {run_id} of suite demo: canceled (2 canceled)" in printed
    invalid = [*printed_commands["State"], "-e", "run_state=stopped"]
    status, printed = checkout.run_command(invalid)
    assert status == 2
    assert "run_state must be shown, canceled or finished, not stopped." in printed


def test_the_results_of_a_run_are_fetched_by_its_id(checkout: Checkout, agent: Agent) -> None:
    status, printed = checkout.run("-e", "benchmark_wait=false")
    assert status == 0, printed
    assert len(checkout.keys) == 1
    for _ in range(2):
        agent.succeed(agent.claim())
    status, printed = checkout.run_command(commands(printed)["Results"])
    assert status == 0, printed
    assert "Medians of 2 repeats" in printed
    assert len(list((checkout.folder / "results").glob("[0-9]*/results.json"))) == 1
    assert not list(checkout.temporary.glob("*.benchmark"))
    # The command that queued the run starts another run, as if it had fetched the results itself.
    assert checkout.keys == []


@pytest.mark.parametrize(
    ("settings", "is_tuned"),
    [({}, False), ({"host_tuning_enabled": False}, False), ({"host_tuning_enabled": True}, True)],
)
def test_only_workers_with_the_setting_are_tuned(
    checkout: Checkout, agent: Agent, settings: dict[str, object], is_tuned: bool
) -> None:
    """The playbook fails at a worker that it tunes: this computer lacks the systemd unit."""
    checkout.add_workers(first={}, second=settings)
    status, printed = checkout.run("-e", "benchmark_wait=false", "-e", "ansible_become=false")
    assert (status != 0) == is_tuned, printed
    assert ("is started with 2 jobs." in printed) != is_tuned
    assert ("[master1 -> second" in printed) == is_tuned
    assert "first" not in printed


def test_a_canceled_run_restores_the_workers(checkout: Checkout, agent: Agent) -> None:
    """The playbook fails at the worker that it restores: this computer lacks the systemd unit."""
    status, printed = checkout.run("-e", "benchmark_wait=false")
    assert status == 0, printed
    cancel = [*commands(printed)["Cancel"], "-e", "ansible_become=false"]
    claim = agent.claim()
    checkout.add_workers(first={}, second={"host_tuning_enabled": True})
    log = checkout.folder / "cancel.log"
    playbook = checkout.start_command(cancel, log)
    wait_for_text(log, "(1 running, 1 canceled)")
    # The workers are restored only when the agent has stopped its job.
    with pytest.raises(subprocess.TimeoutExpired):
        playbook.wait(timeout=5)
    assert "second" not in log.read_text()
    agent.fail(claim)
    assert playbook.wait(timeout=60) == 2
    assert "[master1 -> second" in log.read_text()
    assert "first" not in log.read_text()


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
def test_results_are_complete_without_the_package_for_charts(
    farm: Farm, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vl_convert.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    checkout = Checkout(tmp_path / "checkout", farm)
    log = checkout.folder / "run.log"
    playbook = checkout.start(log)
    for _ in range(2):
        agent.succeed(agent.claim(wait_s=60))
    assert playbook.wait(timeout=300) == 0, log.read_text()
    assert "Report: none, because the charts" in log.read_text().splitlines()[-1]
    assert (checkout.folder / "results/latest/table.txt").exists()
    assert not (checkout.folder / "results/latest/report.html").exists()


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
    assert "No active node can run 1 of 1 scenario, so the run would wait:" in printed
    assert "clip/x264/800k: no node meets the requirements: worker1 lacks encoder" in printed
    assert "-e benchmark_wait_for_nodes=true" in printed
    assert_nothing_was_copied(checkout, printed)


@pytest.mark.deep
def test_jobs_wait_for_a_node_only_if_this_is_permitted(checkout: Checkout, agent: Agent) -> None:
    checkout.suite.write_text(checkout.suite.read_text().replace("libx264", "libx265"))
    permission = ("-e", "benchmark_wait_for_nodes=true")
    status, printed = checkout.run(*permission, "--check")
    assert status == 0, printed
    assert "2 jobs on no node: 1 scenario, each measured twice" in printed
    assert "clip/x264/800k: no node meets the requirements: worker1 lacks encoder" in printed
    assert_nothing_was_copied(checkout, printed)
    status, printed = checkout.run(*permission, "-e", "benchmark_timeout_s=0")
    assert status == 2
    assert "No active node can run these scenarios, so their jobs wait for one:" in printed
    assert "worker1 lacks encoder libx265" in printed
    assert "is started with 2 jobs." in printed


def test_invalid_suites_are_refused_before_anything_is_copied(
    checkout: Checkout, agent: Agent
) -> None:
    valid = checkout.suite.read_text()
    checkout.suite.write_text(valid.replace("name: demo", "name: [demo"))
    status, printed = checkout.run("--check")
    assert status == 2
    assert f"{checkout.suite}:3:8: invalid YAML: expected ',' or ']'" in printed
    assert "set_fact" not in printed
    assert_nothing_was_copied(checkout, printed)

    checkout.suite.write_text(valid)
    (checkout.folder / "clip.mp4").write_bytes(b"another clip")
    status, printed = checkout.run()
    assert status == 2
    assert f"{checkout.suite}:6:13: source clip: clip.mp4 has the SHA-256 " in printed
    assert str(checkout.temporary) not in printed
    assert_nothing_was_copied(checkout, printed)
    assert checkout.keys == []


@pytest.mark.deep
def test_a_key_of_another_suite_is_refused_with_the_name_of_the_variable(
    checkout: Checkout, agent: Agent
) -> None:
    arguments = (
        "-e",
        "benchmark_timeout_s=0",
        "-e",
        f"benchmark_key={checkout.folder.parent.name}",
    )
    status, printed = checkout.run(*arguments)
    assert status == 2
    assert "is started with 2 jobs." in printed
    checkout.suite.write_text(checkout.suite.read_text() + "slowest_speed: 0.1\n")
    for more in (("--check",), ()):
        status, printed = checkout.run(*arguments, *more)
        assert status == 2
        assert f"benchmark_key {checkout.folder.parent.name} was used for run " in printed
        assert "Choose another benchmark_key" in printed
        assert_nothing_was_copied(checkout, printed)


def assert_nothing_was_copied(checkout: Checkout, printed: str) -> None:
    assert "Copy the " not in printed
    assert "temporary directory on the master" not in printed
    assert not list(checkout.temporary.glob("*.benchmark"))
