"""The upgrade from the last release: the run in progress, and the removal of obsolete files."""

import json
import re
from pathlib import Path
from typing import Any

from deployed_farm import ROOT
from testinfra.host import Host

from .conftest import request, run_playbook

testinfra_hosts = ["ansible://all"]

JOBS = 20
UNITS = {
    "master": {"ffrtmp-master.service", "ffrtmp-exporter@.service"},
    "worker": {"ffrtmp-agent@.service", "ffrtmp-exporter@.service", "ffrtmp-energy-reader.service"},
    "rtmp_server": {"ffrtmp-rtmp-server.service"},
    # A monitoring host that is not a master has an exporter health of its own.
    "monitoring": {
        "ffrtmp-exporter@.service",
        "ffrtmp-victoria-metrics.service",
        "ffrtmp-victoria-metrics-backup.service",
        "ffrtmp-victoria-metrics-backup.timer",
        "ffrtmp-vmalert.service",
        "ffrtmp-alertmanager.service",
        "ffrtmp-series-importer.service",
    },
    "postgresql": {
        "ffrtmp-postgresql-backup.service",
        "ffrtmp-postgresql-backup.timer",
        "ffrtmp-postgresql-exporter.service",
    },
    "load_balancer": set(),
}
UNITS_EVERYWHERE = {"ffrtmp-node-exporter.service"}
SQLITE_UNITS = {"ffrtmp-master-backup.service", "ffrtmp-master-backup.timer"}
SETTINGS = {
    "master": {
        "master.yml",
        "credentials.yml",
        "exporter.token",
        "exporter-results.yml",
        "exporter-qoe.yml",
        "exporter-cost.yml",
        "prices.json",
        "components.yml",
        "exporter-health.yml",
    },
    "worker": {
        "agent.yml",
        "agent.token",
        "energy-reader.yml",
        "exporter-cpu.yml",
        "exporter-gpu.yml",
        "exporter-ffmpeg.yml",
    },
    "rtmp_server": {"rtmp-server.conf"},
    "monitoring": {
        "components.yml",
        "exporter-health.yml",
        "monitoring.token",
        "series-importer.yml",
        "series-importer.token",
        "monitoring/scrape.yml",
        "monitoring/rules.yml",
        "monitoring/alertmanager.yml",
        "monitoring/alertmanager-web.yml",
    },
    "postgresql": {"postgresql-exporter/web.yml"},
    "load_balancer": set(),
}
SETTINGS_EVERYWHERE = {
    "node-exporter.yml",
    "pki/ca.pem",
    "pki/crl.pem",
    "pki/host.pem",
    "pki/host.key",
}


def groups_of(host: Host) -> list[str]:
    """Return the inventory groups of a machine."""
    names: list[str] = host.ansible.get_variables()["group_names"]
    return [name for name in names if name in UNITS]


def has_postgresql(host: Host) -> bool:
    """Return whether the farm stores its state in PostgreSQL."""
    return bool(host.ansible.get_variables()["groups"].get("postgresql"))


def reported_part(stored: Any, reported: Any) -> Any:
    """Return what is stored without the fields that the report does not have, at any depth."""
    if isinstance(stored, dict) and isinstance(reported, dict):
        names = reported.keys() & stored.keys()
        return {name: reported_part(stored[name], reported[name]) for name in names}
    return stored


def test_the_run_in_progress_lost_no_job_and_has_no_job_twice(results_dir: Path) -> None:
    (run,) = results_dir.glob("[0-9]*")
    document = json.loads((run / "results.json").read_text())
    results = document["results"]
    assert document["run"]["state"] == "succeeded"
    assert len(results) == len({result["job_id"] for result in results}) == JOBS
    repeats = {(result["scenario"]["name"], result["repeat"]) for result in results}
    assert len(repeats) == JOBS


def test_every_program_runs_from_this_release(host: Host) -> None:
    link = host.file("/opt/ffmpeg-rtmp/current")
    current = link.linked_to if link.exists else ""
    running = host.check_output(
        "systemctl list-units --plain --no-legend --state=active 'ffrtmp-*.service'"
    )
    for line in running.splitlines():
        pid = host.check_output("systemctl show --property=MainPID --value %s", line.split()[0])
        command = host.file(f"/proc/{pid}/cmdline").content_string
        if "/opt/ffmpeg-rtmp/releases/" in command or "/opt/ffmpeg-rtmp/current/" in command:
            assert command.startswith(f"{current}/"), line
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_no_obsolete_unit_is_left(host: Host) -> None:
    wanted = UNITS_EVERYWHERE.union(*(UNITS[group] for group in groups_of(host)))
    if not has_postgresql(host) and "master" in groups_of(host):
        wanted |= SQLITE_UNITS
    command = "find /etc/systemd/system -maxdepth 1 -name 'ffrtmp-*' -type f -printf '%f\\n'"
    assert set(host.check_output(command).split()) == wanted


def test_no_obsolete_setting_is_left(host: Host) -> None:
    wanted = SETTINGS_EVERYWHERE.union(*(SETTINGS[group] for group in groups_of(host)))
    if has_postgresql(host) and "master" in groups_of(host):
        wanted |= {"database.password"}
    found = host.check_output("find /etc/ffmpeg-rtmp -type f -printf '%P\\n'")
    assert set(found.split()) == wanted


def test_every_account_is_declared(host: Host) -> None:
    listed = host.file("/etc/sysusers.d/ffmpeg-rtmp.conf").content_string
    users = set(re.findall(r"^(ffrtmp-[a-z-]+):", host.file("/etc/passwd").content_string, re.M))
    assert users == set(re.findall(r"^u (ffrtmp-[a-z-]+) ", listed, re.M))
    names = set(re.findall(r"^(ffrtmp-[a-z-]+):", host.file("/etc/group").content_string, re.M))
    assert names == set(re.findall(r"^g (ffrtmp-[a-z-]+) ", listed, re.M))


def test_every_directory_is_declared_or_created_by_a_service(host: Host) -> None:
    listed = host.file("/etc/tmpfiles.d/ffmpeg-rtmp.conf").content_string
    wanted = set(re.findall(r'^d "([^"]+)"', listed, re.M))
    # State directories of units, directories that services create in their state directories, and
    # the records of the module current_units.
    own = re.compile(
        r"/var/lib/ffmpeg-rtmp/(victoria-metrics|alertmanager|series-importer|master/|worker/"
        r"|rtmp-server-check/|units$)"
    )
    found = host.check_output("find /var/lib/ffmpeg-rtmp /etc/ffmpeg-rtmp -type d").split()
    assert {path for path in found if not own.match(path)} <= wanted


def test_no_obsolete_ffmpeg_is_left(host: Host) -> None:
    if "worker" in groups_of(host):
        names = host.file("/opt/ffmpeg-rtmp/ffmpeg").listdir()
        assert {re.sub("^wheel-.*", "wheel", name) for name in names} == {
            "under-test",
            "quality",
            "wheel",
        }


def test_another_deployment_changes_nothing() -> None:
    done = run_playbook("site.yml")
    assert done.returncode == 0, done.stdout
    assert not re.search(r"changed=[1-9]", done.stdout), done.stdout


def test_the_last_release_is_named_by_a_commit_of_this_history() -> None:
    text = (ROOT / "molecule/upgrade/vars/last_release.yml").read_text()
    assert re.search(r"^upgrade_last_release_commit: .*default='[0-9a-f]{7,40}'", text, re.M)


def test_the_report_in_the_spool_was_delivered_once(host: Host, results_dir: Path) -> None:
    undelivered = json.loads(
        (results_dir.parent / f"{_farm_name(results_dir)}-previous/undelivered.json").read_text()
    )
    (run,) = results_dir.glob("[0-9]*")
    results = json.loads((run / "results.json").read_text())["results"]
    (delivered,) = (item for item in results if item["job_id"] == undelivered["job_id"])
    assert delivered["attempt"] == undelivered["result"]["attempt"]
    measurement = undelivered["result"]["measurement"]
    assert reported_part(delivered["measurement"], measurement) == measurement
    # The last release did not report it.
    measured_at = delivered["measurement"]["environment"]["measured_at"]
    assert measured_at["status"] == "unavailable"
    if "worker" in groups_of(host):
        assert host.check_output("find /var/lib/ffmpeg-rtmp/worker/spool -type f") == ""


def test_audit_entries_of_the_last_release_are_readable(host: Host, results_dir: Path) -> None:
    if "master" not in groups_of(host):
        return
    variables = host.ansible.get_variables()
    secrets = ROOT / ".secrets" / _farm_name(results_dir)
    entries = request(
        f"https://{variables['ansible_host']}:8080/v1/audit?limit=100",
        token=(secrets / "tokens/operator").read_text().strip(),
        ca=secrets / "pki/ca.pem",
    )["items"]
    actions = {(entry["actor"], entry["action"]) for entry in entries}
    assert ("command line", "tokens synchronized") in actions
    assert ("operator", "run created") in actions


def _farm_name(results_dir: Path) -> str:
    return results_dir.name.removesuffix("-results")
