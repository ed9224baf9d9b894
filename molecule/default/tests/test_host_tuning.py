"""CPU affinity of slots, and tuning of workers that is reverted after a benchmark."""

import json
from pathlib import Path
from typing import Any

from deployed_farm import ROOT, Machine

from .conftest import RESULTS, run_playbook

testinfra_hosts = ["ansible://worker"]

UNIT = "ffrtmp-host-tuning.service"
STATE = "/run/ffrtmp-host-tuning/before.json"
TIMER = "systemd-tmpfiles-clean.timer"
MASKED = "apt-daily.timer"
TREE = "/var/lib/ffrtmp-test-cpus"
BEFORE = ["powersave", "schedutil", "0"]
TUNED = ["performance", "performance", "1"]


def read_settings(machine: Machine) -> dict[str, Any]:
    """Return the settings that tuning may change."""
    names = ("cpu0/cpufreq/scaling_governor", "cpu1/cpufreq/scaling_governor")
    files = [machine.host.file(f"{TREE}/{name}") for name in (*names, "intel_pstate/no_turbo")]
    show = "systemctl show --property=LoadState,ActiveState,UnitFileState %s"
    return {
        "timer": machine.host.check_output(show, TIMER),
        "masked": machine.host.check_output(show, MASKED),
        "cpus": [file.content_string.strip() for file in files if file.exists],
    }


def is_reverted(machine: Machine) -> bool:
    """Return whether the settings of a worker are those from before the tuning."""
    found = read_settings(machine)
    cpus = BEFORE if machine.variables["inventory_hostname"] == "worker1" else []
    return (
        "ActiveState=active" in found["timer"]
        and "LoadState=loaded" in found["timer"]
        and found["cpus"] == cpus
        and not machine.host.file(STATE).exists
    )


def test_tuning_is_reverted_after_the_runs(machine: Machine) -> None:
    log = machine.host.check_output("journalctl --no-pager --unit %s", UNIT)
    assert is_reverted(machine), log
    assert not machine.host.service(UNIT).is_running
    assert "put back" in log


def test_results_record_the_tuning() -> None:
    documents = [json.loads(file.read_text()) for file in RESULTS.glob("[0-9]*/results.json")]
    (codecs,) = (document for document in documents if document["run"]["suite_name"] == "codecs")
    states = [result["measurement"]["environment"]["host_tuning"] for result in codecs["results"]]
    assert states == ["on"] * len(states) != []


def test_a_worker_is_tuned_while_the_unit_runs(machine: Machine) -> None:
    before = read_settings(machine)
    try:
        machine.host.check_output("systemctl start %s", UNIT)
        tuned, saved_state = read_settings(machine), machine.host.file(STATE).content_string
        assert "LoadState=masked" in tuned["timer"]
        assert "ActiveState=inactive" in tuned["timer"]
        assert tuned["cpus"] == (TUNED if before["cpus"] else [])
        assert tuned["masked"] == before["masked"]
        # Tuning again for another run, by a new process, must not overwrite the saved state.
        command = "/opt/ffmpeg-rtmp/current/bin/ffrtmp-host-tuning --config %s set"
        machine.host.check_output(command, "/etc/ffmpeg-rtmp/host-tuning.yml")
        assert machine.host.file(STATE).content_string == saved_state
        machine.host.check_output("runuser -u ffrtmp-worker -- cat %s", STATE)
    finally:
        # This is the command that docs/operating.md recommends.
        machine.host.check_output("systemctl stop ffrtmp-host-tuning")
    assert read_settings(machine) == before
    assert is_reverted(machine)


def test_a_host_without_frequency_control_logs_that(machine: Machine) -> None:
    log = machine.host.check_output("journalctl --no-pager --unit %s", UNIT)
    wanted = machine.variables["inventory_hostname"] != "worker1"
    assert ("no control of frequency" in log) == wanted


def test_the_unit_is_hardened(machine: Machine) -> None:
    path = machine.host.service(UNIT).systemd_properties["FragmentPath"]
    command = "systemd-analyze security --offline=true --no-pager %s"
    exposure = machine.host.check_output(command, path).splitlines()[-1]
    assert float(exposure.split(":")[1].split()[0]) <= 2.0, exposure


def test_workers_stay_tuned_during_an_unfinished_run(machine: Machine, tmp_path: Path) -> None:
    suite = ROOT / ".state/molecule-suites/builds.yml"
    key = f"interrupted-{machine.variables['inventory_hostname']}"
    settings = f"benchmark_suite={suite} benchmark_key={key} farm_results_dir={tmp_path}"
    arguments = ("run-benchmark.yml", "--extra-vars", settings, "--extra-vars")
    interrupted = run_playbook(*arguments, "benchmark_timeout_s=0")
    assert interrupted.returncode != 0
    assert "stay tuned" in interrupted.stdout
    assert machine.host.file(STATE).exists
    done = run_playbook(*arguments, "benchmark_timeout_s=900")
    assert done.returncode == 0, done.stdout
    assert is_reverted(machine)


def test_disabling_the_tuning_reverts_and_removes_it(machine: Machine) -> None:
    machine.host.check_output("systemctl start %s", UNIT)
    arguments = ("playbooks/worker.yml", "--tags", "host_tuning", "--extra-vars")
    try:
        done = run_playbook(*arguments, '{"host_tuning_enabled": false}')
        assert done.returncode == 0, done.stdout
        assert is_reverted(machine)
        assert not machine.host.service(UNIT).exists
    finally:
        again = run_playbook(*arguments, '{"host_tuning_enabled": true}')
    assert again.returncode == 0, again.stdout
    assert machine.host.service(UNIT).exists


def test_the_agent_runs_on_the_cores_of_its_slot(machine: Machine) -> None:
    properties = machine.host.service("ffrtmp-agent@1.service").systemd_properties
    # systemd separates CPUs with spaces, and prints consecutive CPUs as a range.
    assert properties["AllowedCPUs"] == properties["CPUAffinity"] != ""
    status = machine.host.file(f"/proc/{properties['MainPID']}/status").content_string
    (allowed,) = (line for line in status.splitlines() if line.startswith("Cpus_allowed_list:"))
    assert allowed.split()[1].replace(",", " ") == properties["AllowedCPUs"]
