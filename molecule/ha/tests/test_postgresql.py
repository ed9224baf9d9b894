"""PostgreSQL: access control, durability, settings, and backups."""

import json
import time

from .conftest import Machine, host_named

testinfra_hosts = ["ansible://postgresql"]

READY_S = 60
RETAINED = 14
DUMPS = "/var/backups/ffmpeg-rtmp-postgresql"
_VERIFIED = {"sslmode": "verify-full", "sslrootcert": "/etc/ffmpeg-rtmp/pki/ca.pem"}
# A program that connects in the same way as the farm. It runs on a master, whose release contains
# the driver.
_CONNECT = """
import json, sys
import psycopg
password = open("/etc/ffmpeg-rtmp/database.password").read().strip()
own = {"user": "ffmpeg_rtmp", "dbname": "ffmpeg_rtmp", "password": password, "connect_timeout": 5}
try:
    with psycopg.connect(**own | json.loads(sys.argv[1])) as connection:
        query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        print(json.dumps(connection.execute(query).fetchone()))
except psycopg.OperationalError as error:
    print(json.dumps(str(error)))
"""


def connect(machine: Machine, **options: str) -> object:
    """Connect from a master. Return [TLS in use, TLS version], or the error message.

    The options override those of the farm.
    """
    parameters = json.dumps({"host": machine.address, **_VERIFIED, **options})
    command = "/opt/ffmpeg-rtmp/current/master/venv/bin/python -c %s %s"
    return json.loads(host_named("master1").check_output(command, _CONNECT, parameters))


def as_postgres(machine: Machine, query: str) -> str:
    command = (
        "runuser -u postgres -- psql --no-align --tuples-only --dbname ffmpeg_rtmp --command %s"
    )
    return str(machine.host.check_output(command, query))


def test_a_master_connects_over_tls(machine: Machine) -> None:
    assert connect(machine) == [True, "TLSv1.3"]


def test_a_connection_without_tls_is_refused(machine: Machine) -> None:
    assert "no encryption" in str(connect(machine, sslmode="disable"))


def test_a_wrong_password_is_refused(machine: Machine) -> None:
    assert "password authentication failed" in str(connect(machine, password="wrong"))


def test_a_client_other_than_a_master_is_refused(machine: Machine) -> None:
    address = f"host={machine.address} user=ffmpeg_rtmp dbname=ffmpeg_rtmp sslmode=require"
    refused = machine.host.run("psql --no-password --command 'SELECT 1' %s", address)
    assert refused.rc != 0
    assert "no pg_hba.conf entry" in refused.stderr


def test_the_settings_of_durability_are_on(machine: Machine) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert as_postgres(machine, f"SHOW {setting}") == "on", setting


def test_every_setting_is_in_effect(machine: Machine) -> None:
    problems = "SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL"
    assert as_postgres(machine, problems) == ""
    assert as_postgres(machine, "SHOW shared_buffers") == "256MB"
    waiting = "SELECT name FROM pg_settings WHERE pending_restart"
    assert as_postgres(machine, waiting) == ""


def test_the_password_is_not_in_urls_or_logs(machine: Machine, password: str) -> None:
    for name in ("master1", "master2"):
        master = host_named(name)
        found = master.file("/etc/ffmpeg-rtmp/database.password")
        assert (found.user, found.group, oct(found.mode)) == ("root", "ffrtmp-master", oct(0o640))
        assert password not in master.file("/etc/ffmpeg-rtmp/master.yml").content_string
        assert password not in master.check_output("systemctl show 'ffrtmp-*'")
        assert password not in master.check_output("ps -eww -o args")
        assert password not in master.check_output("journalctl --no-pager")
    assert password not in machine.host.check_output("cat /var/log/postgresql/*.log")
    assert password not in machine.host.check_output("journalctl --no-pager")


def test_the_backup_is_timed_and_hardened(machine: Machine) -> None:
    timer = machine.host.service("ffrtmp-postgresql-backup.timer")
    assert timer.is_running
    assert timer.is_enabled
    unit = "/etc/systemd/system/ffrtmp-postgresql-backup.service"
    command = "systemd-analyze security --offline=true --no-pager %s"
    exposure = machine.host.check_output(command, unit).splitlines()[-1]
    assert float(exposure.split(":")[1].split()[0]) <= 2.0, exposure
    folder = machine.host.file(DUMPS)
    assert (folder.user, oct(folder.mode)) == ("postgres", oct(0o700))


def test_only_the_newest_backups_are_retained(machine: Machine) -> None:
    for day in range(10, 30):
        old = f"{DUMPS}/ffmpeg_rtmp-202001{day}T000000Z.dump"
        machine.host.check_output("install -o postgres -m 0600 /dev/null %s", old)
    before = machine.host.file(DUMPS).listdir()
    machine.host.check_output("systemctl start ffrtmp-postgresql-backup.service")
    after = machine.host.file(DUMPS).listdir()
    (created,) = set(after) - set(before)
    assert sorted(after) == sorted([*before, created])[-RETAINED:]
    assert machine.host.file(f"{DUMPS}/{created}").size > 0


def test_a_farm_is_restored_from_its_backup(machine: Machine, operator: str) -> None:
    """Restore a backup with the commands of docs/backup-and-restore.md."""
    url = f"https://{machine.address}:8080/v1/results?limit=100"
    before = machine.request(url, token=operator).json()
    assert before["items"]
    machine.host.check_output("systemctl start ffrtmp-postgresql-backup.service")
    newest = sorted(machine.host.file(DUMPS).listdir())[-1]
    masters = [host_named(name) for name in ("master1", "master2")]
    for master in masters:
        master.check_output("systemctl stop ffrtmp-master")
    machine.host.check_output("systemctl stop ffrtmp-postgresql-exporter")
    as_postgres(machine, "DELETE FROM results")
    assert as_postgres(machine, "SELECT count(*) FROM results") == "0"
    restore = "runuser -u postgres -- pg_restore --clean --create --if-exists --exit-on-error "
    machine.host.check_output(restore + "--dbname postgres %s", f"{DUMPS}/{newest}")
    machine.host.check_output("systemctl start ffrtmp-postgresql-exporter")
    for master in masters:
        master.check_output("systemctl start ffrtmp-master")
    until = time.monotonic() + READY_S
    while not all(machine.balanced().values()):
        assert time.monotonic() < until
    after = machine.request(url, token=operator).json()
    assert after["items"] == before["items"]
    # Clients that follow the results notice from it that their positions are no longer valid.
    assert after["epoch"] != before["epoch"]
