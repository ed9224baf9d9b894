"""Changes of a deployed worker: slots, settings, and tokens."""

import pytest
from deployed_farm import Machine

from .conftest import SECRETS, run_playbook

testinfra_hosts = ["ansible://worker1"]
ONE_WORKER = ("--limit", "master1,worker1")


def test_fewer_slots_stop_the_surplus_agents(machine: Machine) -> None:
    for slots, is_running in ((2, True), (1, False)):
        done = run_playbook(
            "playbooks/worker.yml", *ONE_WORKER, "--extra-vars", f"worker_slots={slots}"
        )
        assert done.returncode == 0, done.stdout
        surplus = machine.host.service("ffrtmp-agent@2.service")
        assert (surplus.is_running, surplus.is_enabled) == (is_running, is_running)
        assert machine.host.service("ffrtmp-agent@1.service").is_running


@pytest.mark.parametrize("tag", ["master_configure", "worker_configure"])
def test_settings_can_be_written_separately(machine: Machine, tag: str) -> None:
    done = run_playbook("site.yml", *ONE_WORKER, "--tags", tag)
    assert done.returncode == 0, done.stdout
    assert "settings and unit" in done.stdout


def test_check_mode_works_before_the_token_of_a_new_worker_exists(machine: Machine) -> None:
    token = SECRETS / "tokens/agent-worker2"
    content = token.read_text()
    token.unlink()
    try:
        done = run_playbook("site.yml", "--check")
    finally:
        token.write_text(content)
        token.chmod(0o600)
    assert done.returncode == 0, done.stdout
