"""A deployment fails if a service does not keep running, and the next run corrects it."""

import pytest
from deployed_farm import ROOT, Machine, run_playbook
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

INVENTORY = ROOT / "molecule/interrupted/inventory"
# Python cannot start with this setting, so the program ends at once, whenever it is restarted.
BROKEN = "Environment=PYTHONHOME=/nonexistent"


@pytest.mark.parametrize(
    ("variable", "playbook", "unit", "log"),
    [
        (
            "master_systemd_hardening_extra",
            "master",
            "ffrtmp-master",
            "No module named 'encodings'",
        ),
        (
            "exporters_systemd_hardening_extra",
            "worker",
            "ffrtmp-exporter@cpu",
            "No module named 'encodings'",
        ),
        ("worker_ffmpeg", "worker", "ffrtmp-agent@1", "/usr/bin/true"),
    ],
    ids=["master", "exporter", "agent"],
)
def test_a_crash_loop_fails_the_play(
    host: Host, variable: str, playbook: str, unit: str, log: str
) -> None:
    value = "/usr/bin/true" if variable == "worker_ffmpeg" else f"['{BROKEN}']"
    broken = run_playbook(
        INVENTORY, f"playbooks/{playbook}.yml", "--extra-vars", f"{{{variable}: {value}}}"
    )
    assert broken.returncode != 0
    output = " ".join(broken.stdout.split())
    assert f"{unit}.service is not up" in output, broken.stdout
    assert log in output
    assert f"journalctl -u {unit}.service" in output
    # The settings are corrected; systemd has given up on the unit by now.
    corrected = run_playbook(INVENTORY, f"playbooks/{playbook}.yml")
    assert corrected.returncode == 0, corrected.stdout
    service = Machine(host, host.ansible.get_variables()).host.service(unit)
    assert service.is_running
    assert service.systemd_properties["NRestarts"] == "0"
