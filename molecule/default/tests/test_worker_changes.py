"""Changing a worker that stands."""

import pytest

from .conftest import SECRETS, Machine, play

testinfra_hosts = ["ansible://worker1"]
ONE = ("--limit", "master1,worker1")


def test_fewer_slots_stop_the_agents_that_are_too_many(machine: Machine) -> None:
    for slots, is_running in ((2, True), (1, False)):
        done = play("playbooks/worker.yml", *ONE, "--extra-vars", f"worker_slots={slots}")
        assert done.returncode == 0, done.stdout
        surplus = machine.host.service("ffrtmp-agent@2.service")
        assert (surplus.is_running, surplus.is_enabled) == (is_running, is_running)
        assert machine.host.service("ffrtmp-agent@1.service").is_running


@pytest.mark.parametrize("tag", ["master_configure", "worker_configure"])
def test_settings_can_be_written_alone(machine: Machine, tag: str) -> None:
    done = play("site.yml", *ONE, "--tags", tag)
    assert done.returncode == 0, done.stdout
    assert "settings and unit" in done.stdout


def test_check_mode_works_before_a_new_workers_token_is_made(machine: Machine) -> None:
    token = SECRETS / "tokens/agent-worker2"
    kept = token.read_text()
    token.unlink()
    try:
        done = play("site.yml", "--check")
    finally:
        token.write_text(kept)
        token.chmod(0o600)
    assert done.returncode == 0, done.stdout
