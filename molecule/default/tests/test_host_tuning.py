"""Slots on their cores, and workers that are tuned while a benchmark runs, then put back."""

import json
from pathlib import Path
from typing import Any

from .conftest import RESULTS, ROOT, Machine, play

testinfra_hosts = ["ansible://worker"]

UNIT = "ffrtmp-host-tuning.service"
STATE = "/run/ffrtmp-host-tuning/before.json"
TIMER = "systemd-tmpfiles-clean.timer"
MASKED = "apt-daily.timer"
TREE = "/var/lib/ffrtmp-test-cpus"
BEFORE = ["powersave", "schedutil", "0"]
TUNED = ["performance", "performance", "1"]


def look(machine: Machine) -> dict[str, Any]:
    """Return what tuning may change."""
    names = ("cpu0/cpufreq/scaling_governor", "cpu1/cpufreq/scaling_governor")
    files = [machine.host.file(f"{TREE}/{name}") for name in (*names, "intel_pstate/no_turbo")]
    show = "systemctl show --property=LoadState,ActiveState,UnitFileState %s"
    return {
        "timer": machine.host.check_output(show, TIMER),
        "masked": machine.host.check_output(show, MASKED),
        "cpus": [file.content_string.strip() for file in files if file.exists],
    }


def is_put_back(machine: Machine) -> bool:
    """Whether a worker is as it was made."""
    found = look(machine)
    cpus = BEFORE if machine.variables["inventory_hostname"] == "worker1" else []
    return (
        "ActiveState=active" in found["timer"]
        and "LoadState=loaded" in found["timer"]
        and found["cpus"] == cpus
        and not machine.host.file(STATE).exists
    )


def test_runs_left_every_worker_as_it_was(machine: Machine) -> None:
    log = machine.host.check_output("journalctl --no-pager --unit %s", UNIT)
    assert is_put_back(machine), log
    assert not machine.host.service(UNIT).is_running
    assert "put back" in log


def test_results_say_that_the_workers_were_tuned() -> None:
    documents = [json.loads(file.read_text()) for file in RESULTS.glob("*/results.json")]
    (codecs,) = (one for one in documents if one["run"]["suite_name"] == "codecs")
    said = [result["measurement"]["environment"]["host_tuning"] for result in codecs["results"]]
    assert said == ["on"] * len(said) != []


def test_a_worker_is_tuned_while_it_lasts(machine: Machine) -> None:
    before = look(machine)
    try:
        machine.host.check_output("systemctl start %s", UNIT)
        tuned, kept = look(machine), machine.host.file(STATE).content_string
        assert "LoadState=masked" in tuned["timer"]
        assert "ActiveState=inactive" in tuned["timer"]
        assert tuned["cpus"] == (TUNED if before["cpus"] else [])
        assert tuned["masked"] == before["masked"]
        # Once more, as for another run, and by a new process.
        command = "/opt/ffmpeg-rtmp/current/bin/ffrtmp-host-tuning --config %s set"
        machine.host.check_output(command, "/etc/ffmpeg-rtmp/host-tuning.yml")
        assert machine.host.file(STATE).content_string == kept
        machine.host.check_output("runuser -u ffrtmp-worker -- cat %s", STATE)
    finally:
        # As docs/operating.md says.
        machine.host.check_output("systemctl stop ffrtmp-host-tuning")
    assert look(machine) == before
    assert is_put_back(machine)


def test_a_host_without_frequency_control_says_so(machine: Machine) -> None:
    log = machine.host.check_output("journalctl --no-pager --unit %s", UNIT)
    wanted = machine.variables["inventory_hostname"] != "worker1"
    assert ("no control of frequency" in log) == wanted


def test_the_unit_is_hardened(machine: Machine) -> None:
    path = machine.host.service(UNIT).systemd_properties["FragmentPath"]
    command = "systemd-analyze security --offline=true --no-pager %s"
    said = machine.host.check_output(command, path).splitlines()[-1]
    assert float(said.split(":")[1].split()[0]) <= 2.0, said


def test_workers_stay_tuned_while_a_run_goes_on(machine: Machine, tmp_path: Path) -> None:
    suite = ROOT / ".state/molecule-suites/builds.yml"
    key = f"interrupted-{machine.variables['inventory_hostname']}"
    settings = f"benchmark_suite={suite} benchmark_key={key} farm_results_dir={tmp_path}"
    arguments = ("run-benchmark.yml", "--extra-vars", settings, "--extra-vars")
    interrupted = play(*arguments, "benchmark_timeout_s=0")
    assert interrupted.returncode != 0
    assert "stay tuned" in interrupted.stdout
    assert machine.host.file(STATE).exists
    done = play(*arguments, "benchmark_timeout_s=900")
    assert done.returncode == 0, done.stdout
    assert is_put_back(machine)


def test_switching_it_off_puts_back_and_removes_it(machine: Machine) -> None:
    machine.host.check_output("systemctl start %s", UNIT)
    arguments = ("playbooks/worker.yml", "--tags", "host_tuning", "--extra-vars")
    try:
        done = play(*arguments, '{"host_tuning_enabled": false}')
        assert done.returncode == 0, done.stdout
        assert is_put_back(machine)
        assert not machine.host.service(UNIT).exists
    finally:
        again = play(*arguments, '{"host_tuning_enabled": true}')
    assert again.returncode == 0, again.stdout
    assert machine.host.service(UNIT).exists


def test_the_agent_runs_on_the_cores_of_its_slot(machine: Machine) -> None:
    properties = machine.host.service("ffrtmp-agent@1.service").systemd_properties
    # systemd shows what it was given with spaces between, and CPUs in a row as a range.
    assert properties["AllowedCPUs"] == properties["CPUAffinity"] != ""
    status = machine.host.file(f"/proc/{properties['MainPID']}/status").content_string
    (allowed,) = (line for line in status.splitlines() if line.startswith("Cpus_allowed_list:"))
    assert allowed.split()[1].replace(",", " ") == properties["AllowedCPUs"]
