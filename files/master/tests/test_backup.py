"""Tests of backups of a running master and their restore, as in docs/backup-and-restore.md."""

import functools
import json
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from databases import as_document, only, settings_for
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import migrate
from forked_master import Master
from master_process import PROGRAM, MasterProcess
from polling import wait_until
from postgresql import Database

ROOT = Path(__file__).resolve().parents[3]


def back_up(config: Path, target: Path) -> subprocess.CompletedProcess[str]:
    arguments = ["--config", config, "backup", target]
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        code = Master(arguments, errors, output).wait(60)
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


def config_of(settings: Settings, folder: Path) -> Path:
    config = folder / "backup.yml"
    config.write_text(json.dumps(as_document(settings)))
    return config


@pytest.fixture
def master(migrated: Settings, tmp_path: Path) -> Iterator[MasterProcess]:
    with MasterProcess(tmp_path, migrated).serving() as serving:
        yield serving


class Load:
    """Submitters and an agent that work within the context and record the acknowledged jobs."""

    def __init__(self, master: MasterProcess) -> None:
        self._master = master
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(3)]
        self._threads.append(threading.Thread(target=self._work))
        self.submitted: list[str] = []
        self.done: list[str] = []
        self.enough = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Load"]:
        with self._master.http("worker1") as agent:
            body = msgspec.json.encode(factories.registration("worker1"))
            send(agent, "PUT", "/v1/nodes/worker1", body)
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _submit(self) -> None:
        body = msgspec.json.encode(factories.job())
        with self._master.http("submitter") as client:
            while not self._stop.is_set():
                self.submitted.append(send(client, "POST", "/v1/jobs", body)["id"])

    def _work(self) -> None:
        claim_body = msgspec.json.encode({"node": "worker1", "slot": 1, "wait_s": 5})
        with self._master.http("worker1") as client:
            while not self._stop.is_set():
                claim = send(client, "POST", "/v1/claims", claim_body)
                job_id = claim["job"]["id"]
                report = {"attempt": claim["attempt"], "measurement": factories.measurement()}
                path = f"/v1/jobs/{job_id}/result"
                send(client, "POST", path, msgspec.json.encode(report))
                self.done.append(job_id)
                if len(self.done) >= 30:
                    self.enough.set()


def send(client: httpx.Client, method: str, path: str, body: bytes) -> Any:
    headers = {"Content-Type": "application/json"}
    answer = client.request(method, path, content=body, headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def listed(master: MasterProcess, path: str) -> list[Any]:
    items: list[Any] = []
    cursor: str | None = ""
    with master.http("viewer") as client:
        while cursor is not None:
            page = client.get(path, params={"cursor": cursor}).json()
            items += page["items"]
            cursor = page["next_cursor"]
    return items


@pytest.mark.slow
@only("sqlite")
def test_a_backup_under_load_has_everything_acknowledged_before(
    master: MasterProcess, migrated: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    with Load(master).running() as load:
        assert load.enough.wait(60)
        submitted, done = list(load.submitted), list(load.done)
        ended = back_up(master.config, target)
        later = len(load.submitted)
    assert ended.returncode == 0, ended.stderr
    assert later > len(submitted), "the load continued during the backup"
    report = json.loads(ended.stdout)
    assert report == {
        "target": str(target),
        "size_bytes": target.stat().st_size,
        "revision": migrate.head(),
    }
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    master.end(signal.SIGKILL)
    folder = tmp_path / "restored"
    folder.mkdir()
    shutil.copy(target, folder / "farm.db")
    settings = settings_for(Database(f"sqlite:///{folder}/farm.db"), folder)
    with MasterProcess(folder, settings).serving() as restored:
        states = {job["id"]: job["state"] for job in listed(restored, "/v1/jobs")}
        results = [result["job_id"] for result in listed(restored, "/v1/results")]
        assert set(submitted) <= states.keys()
        assert {states[job_id] for job_id in done} == {"succeeded"}
        assert set(done) <= set(results)
        assert len(results) == len(set(results))
        with restored.http("submitter") as client:
            job = msgspec.json.encode(factories.job())
            assert send(client, "POST", "/v1/jobs", job)["state"] == "queued"


@pytest.mark.slow
@only("sqlite")
def test_a_stopped_master_is_backed_up(migrated: Settings, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    config = config_of(migrated, tmp_path)
    assert back_up(config, target).returncode == 0
    with sqlite3.connect(f"file:{target}?mode=ro", uri=True) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()


@pytest.mark.slow
@only("sqlite")
def test_an_existing_file_is_never_overwritten(migrated: Settings, tmp_path: Path) -> None:
    config = config_of(migrated, tmp_path)
    for target in (tmp_path / "farm.db", tmp_path / "empty", tmp_path / "link"):
        if target.name == "empty":
            target.touch()
        if target.name == "link":
            target.symlink_to(tmp_path / "elsewhere")
        before = target.read_bytes() if target.exists() else b""
        ended = back_up(config, target)
        assert ended.returncode == 1
        assert (
            ended.stderr
            == f"ffrtmp-master: {target} already exists and was not changed; choose another file\n"
        )
        assert (target.read_bytes() if target.exists() else b"") == before


@only("sqlite")
@pytest.mark.parametrize("damage", ["missing", "not a database", "no folder"])
def test_a_backup_that_fails_leaves_nothing(
    migrated: Settings, tmp_path: Path, damage: str
) -> None:
    target = tmp_path / ("nowhere/copy.db" if damage == "no folder" else "copy.db")
    if damage == "missing":
        (tmp_path / "farm.db").unlink()
    if damage == "not a database":
        (tmp_path / "farm.db").write_bytes(b"something else" * 1000)
    ended = back_up(config_of(migrated, tmp_path), target)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert not target.exists()


@only("postgresql")
def test_postgresql_is_backed_up_by_its_own_program(migrated: Settings, tmp_path: Path) -> None:
    ended = back_up(config_of(migrated, tmp_path), tmp_path / "copy.db")
    assert ended.returncode == 1
    assert "pg_dump" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "copy.db").exists()


def commands_of(section: str) -> list[str]:
    """Return the commands of a section of docs/backup-and-restore.md, each on one line."""
    page = (ROOT / "docs" / "backup-and-restore.md").read_text(encoding="utf-8")
    text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("# ")]


def run_in_shell(command: str) -> None:
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)


def wait_for_next_second() -> None:
    first_s = int(time.time())
    wait_until(lambda: int(time.time()) > first_s, "the second has passed", interval_s=0.01)


def newest_copy(folder: Path) -> str:
    """Return the name of the newest copy of the database, or an empty name."""
    return max((path.name for path in folder.glob("farm-*.db")), default="")


@pytest.mark.slow
@only("sqlite")
def test_the_commands_of_the_page_back_up_and_restore(
    master: MasterProcess, migrated: Settings, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir(mode=0o700)
    replacements = {
        "/opt/ffmpeg-rtmp/current/bin/ffrtmp-master": str(PROGRAM),
        "/etc/ffmpeg-rtmp/master.yml": str(master.config),
        "/var/lib/ffmpeg-rtmp/master": str(tmp_path),
        "/var/backups/ffmpeg-rtmp": str(backups),
        "runuser -u ffrtmp-master -- ": "",
        "-o ffrtmp-master -g ffrtmp-master ": "",
    }
    clip = f"/v1/sources/{factories.CLIP_SHA256}"
    with master.http("submitter") as client:
        assert client.put(clip, content=factories.CLIP).is_success
        saved = send(client, "POST", "/v1/jobs", msgspec.json.encode(factories.job()))["id"]
    commands = commands_of("SQLite")
    restore_from = commands.index("systemctl stop ffrtmp-master")
    assert restore_from == 2
    assert len(commands) == 7
    for number, command in enumerate(commands):
        if number == restore_from:
            # This job is lost, because it is submitted after the backup. The sources are removed
            # here and must be restored.
            with master.http("submitter") as client:
                body = msgspec.json.encode(factories.job())
                lost = send(client, "POST", "/v1/jobs", body)["id"]
            shutil.rmtree(tmp_path / "sources")
        if command.startswith("systemctl "):
            match command.removeprefix("systemctl "):
                case "stop ffrtmp-master":
                    master.end(signal.SIGKILL)
                case "start ffrtmp-master":
                    master.start()
                case other:
                    pytest.fail(f"the test does not know the command systemctl {other}")
            continue
        local = functools.reduce(
            lambda text, replacement: text.replace(*replacement), replacements.items(), command
        )
        run_in_shell(local.replace("farm-DATE.db", newest_copy(backups)))
        if number == 0:
            # The command can be repeated, and the second copy has a later name.
            wait_for_next_second()
            run_in_shell(local)
            assert len(list(backups.glob("farm-*.db"))) == 2
    assert [job["id"] for job in listed(master, "/v1/jobs")] == [saved]
    assert lost != saved
    with master.http("viewer") as client:
        assert client.get(clip).content == factories.CLIP
