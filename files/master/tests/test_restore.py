"""Tests of followers of results and events after a restore, by the commands of the documents.

A backup is restored into a new PostgreSQL cluster, or an older copy of an SQLite file is put in
place. Afterwards, the list, the export and each follower must have exactly what was stored.
"""

import functools
import hashlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import factories
import httpx
import msgspec
import postgresql
import pyarrow
import pytest
from databases import only, settings_for
from ffrtmp_master.series.importer import Importer
from ffrtmp_master.settings import Settings
from ffrtmp_shared.agent_models import ClaimRequest, ResultReport
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.node_models import Registration
from ffrtmp_shared.result_pages import ReadablePage
from master_process import PROGRAM, MasterProcess
from postgresql import Cluster, Database
from prometheus_client import CollectorRegistry
from pyarrow import parquet
from result_collectors import latest_results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PAGE = 2


class SmallPages(MasterClient):
    """A client whose pages of results are small, so that few results need several cursors."""

    def result_page(self, cursor: str = "", run_id: UUID | None = None) -> ReadablePage:
        assert run_id is None
        params = {"cursor": cursor, "limit": str(PAGE)}
        return self._call("GET", "/v1/results", ReadablePage, params=params)


class Followers:
    """Followers of a master that remember their cursors, as they do across restores."""

    def __init__(self, folder: Path) -> None:
        self.cursor = ""
        self.last_event = "0.0"
        self.listed: list[str] = []
        self.finished: list[str] = []
        # Results are read again because of the restore, and not because of the time.
        self.exporter = latest_results(recount_s=1e9)
        self.imported: list[bytes] = []
        self._state = folder / "importer.json"

    def read(self, master: MasterProcess) -> None:
        """Let each follower read everything that is new."""
        with master.http("viewer") as http:
            self._list(http)
            self._follow_events(http)
        with SmallPages(master.url, "token-viewer", master.ca_file) as client:
            self.exporter.refresh(client.result_page, client.precision)
            Importer(client, self.imported.append, self._state, LoopRegistry()).import_new()

    def counted(self) -> float:
        registry = CollectorRegistry()
        registry.register(self.exporter)
        return sum(
            sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "ffrtmp_results_stored"
        )

    def _list(self, http: httpx.Client) -> None:
        """Page through the results; the last page is read again, because it may have grown."""
        while True:
            params = {"cursor": self.cursor, "limit": "1"}
            page = http.get("/v1/results", params=params).raise_for_status().json()
            new = [item["id"] for item in page["items"] if item["id"] not in self.listed[-1:]]
            self.listed += new
            if page["next_cursor"] is None:
                return
            self.cursor = page["next_cursor"]

    def _follow_events(self, http: httpx.Client) -> None:
        """Read the events until there is nothing new."""
        headers = {"Last-Event-ID": self.last_event}
        idle = httpx.Timeout(30, read=2)
        with http.stream("GET", "/v1/events", headers=headers, timeout=idle) as answer:
            answer.raise_for_status()
            try:
                for line in answer.iter_lines():
                    if line.startswith("id: "):
                        self.last_event = line.removeprefix("id: ")
                    elif line.startswith("data: "):
                        event = json.loads(line.removeprefix("data: "))
                        if event.get("after") == "succeeded":
                            self.finished.append(event["job_id"])
            except httpx.ReadTimeout:
                return


class Farm:
    """A worker and a submitter, which store one result at a time, each with a series."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def store_results(self, master: MasterProcess, count: int) -> list[str]:
        """Store results and return the ids of their jobs."""
        with master.client("worker1") as agent:
            agent.register(msgspec.convert(factories.registration("worker1"), Registration))
        return [self._store_result(master) for _ in range(count)]

    def _store_result(self, master: MasterProcess) -> str:
        body = msgspec.json.encode(factories.job())
        with master.http("submitter") as http, master.client("worker1") as agent:
            http.post("/v1/jobs", content=body).raise_for_status()
            claim = agent.claim(ClaimRequest(node="worker1", slot=1, wait_s=5))
            assert claim is not None
            self.jobs.append(str(claim.job.id))
            content = series(len(self.jobs))
            file = master.folder / "series.parquet"
            file.write_bytes(content)
            agent.upload_artifact(claim.job.id, claim.attempt, "series.parquet", file)
            artifact = Artifact(
                name="series.parquet",
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=len(content),
            )
            agent.report_result(
                claim.job.id,
                ResultReport(
                    attempt=claim.attempt,
                    measurement=factories.measurement(),
                    artifacts=(artifact,),
                ),
            )
            return str(claim.job.id)


def series(number: int) -> bytes:
    """Return a series with one sample, which identifies the result."""
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    columns = {"time": pyarrow.array([moment], pyarrow.timestamp("us", tz="UTC"))}
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({**columns, "fps": [float(number)]}), file)
    return file.getvalue()


def job_ids(master: MasterProcess, kind: str) -> list[str]:
    """Return the jobs of all results in the list or the export."""
    with master.http("viewer") as http:
        if kind == "export":
            text = http.get("/v1/results/export", params={"format": "jsonl"}).text
            return [json.loads(line)["job_id"] for line in text.splitlines()]
        items = http.get("/v1/results", params={"limit": "1000"}).raise_for_status().json()["items"]
        return [item["job_id"] for item in items]


def commands(page: str, section: str) -> list[str]:
    """Return the commands of a section of a page, each on one line and without comments."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line[2:]) for line in lines if line.startswith("# ")]


def run(command: str, **environment: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, (command, done.stderr)


def check_after_restore(
    followers: Followers, farm: Farm, master: MasterProcess, kept: list[str], lost: list[str]
) -> None:
    """Check that everybody has exactly what is stored, before and after further results."""
    assert job_ids(master, "list") == job_ids(master, "export") == kept
    followers.read(master)
    assert followers.counted() == len(kept)
    new = farm.store_results(master, 2 * PAGE + 1)
    assert job_ids(master, "list") == job_ids(master, "export") == kept + new
    followers.read(master)
    followers.read(master)
    assert followers.counted() == len(kept + new)
    ever = [*kept, *lost, *new]
    assert followers.finished == ever, "each end of a job is an event once"
    assert len(followers.listed) == len(set(followers.listed)) == len(ever)
    lines = b"".join(followers.imported).splitlines()
    numbers = [json.loads(line)["values"][0] for line in lines]
    assert numbers == [float(farm.jobs.index(job) + 1) for job in ever], "each series is sent once"


@only("sqlite")
@pytest.mark.parametrize("restarts", [0, 2])
def test_an_older_copy_of_sqlite(migrated: Settings, tmp_path: Path, restarts: int) -> None:
    backups = tmp_path / "backups"
    backups.mkdir(mode=0o700)
    farm, followers = Farm(), Followers(tmp_path)
    master = MasterProcess(tmp_path, migrated)
    replacements = {
        "/opt/ffmpeg-rtmp/current/bin/ffrtmp-master": str(PROGRAM),
        "/etc/ffmpeg-rtmp/master.yml": str(master.config),
        "/var/lib/ffmpeg-rtmp/master": str(tmp_path),
        "/var/backups/ffmpeg-rtmp": str(backups),
        "runuser -u ffrtmp-master -- ": "",
        "-o ffrtmp-master -g ffrtmp-master ": "",
    }
    documented = commands("backup-and-restore.md", "SQLite")
    stop = documented.index("systemctl stop ffrtmp-master")
    with master.serving():
        kept = farm.store_results(master, 3)
        followers.read(master)
        for command in documented:
            if command == documented[stop]:
                lost = []
                for _ in range(restarts + 1):
                    lost += farm.store_results(master, 2)
                    master.end(signal.SIGTERM)
                    master.start()
                followers.read(master)
                assert followers.counted() == len(kept + lost)
                master.end(signal.SIGTERM)
            elif command == "systemctl start ffrtmp-master":
                master.start()
            elif not command.startswith("systemctl "):
                local = functools.reduce(
                    lambda text, change: text.replace(*change), replacements.items(), command
                )
                copy = max((path.name for path in backups.glob("farm-*.db")), default="")
                run(local.replace("farm-DATE.db", copy))
        check_after_restore(followers, farm, master, kept, lost)


@only("postgresql")
@pytest.mark.parametrize("same_cluster", [True, False])
def test_a_dump_of_postgresql(
    migrated: Settings, cluster: Cluster, tmp_path: Path, same_cluster: bool
) -> None:
    farm, followers = Farm(), Followers(tmp_path)
    name = migrated.database_url.rpartition("/")[2].partition("?")[0]
    with cluster.connect() as connection:
        # The ids of the transactions become greater than those of a new cluster.
        for _ in range(3000):
            connection.execute("SELECT pg_current_xact_id()")
    dump = tmp_path / f"{name}.dump"
    dump_script = (ROOT / "roles/postgresql/files/ffrtmp-postgresql-backup").read_text()
    (dump_command,) = re.findall(r"^pg_dump .*$", dump_script, re.MULTILINE)
    (restore_command,) = (
        command
        for command in commands("backup-and-restore.md", "PostgreSQL")
        if "pg_restore" in command
    )
    restore_command = restore_command.replace("runuser -u postgres -- ", "").replace(
        "/var/backups/ffmpeg-rtmp-postgresql/ffmpeg_rtmp-DATE.dump", shlex.quote(str(dump))
    )
    master = MasterProcess(tmp_path, migrated)
    with master.serving():
        kept = farm.store_results(master, 3)
        followers.read(master)
        run(dump_command, partial=str(dump), database=name, **cluster.client_environment())
        lost = farm.store_results(master, 2)
        followers.read(master)
        assert followers.counted() == len(kept + lost)
        master.end(signal.SIGTERM)
    with postgresql.running() as new:
        target = cluster if same_cluster else new
        run(restore_command, **target.client_environment())
        restored = settings_for(
            Database(
                migrated.database_url.replace(f":{cluster.port}/", f":{target.port}/"),
                target.password_file,
            ),
            tmp_path,
        )
        again = MasterProcess(tmp_path, restored, "again")
        with again.serving():
            check_after_restore(followers, farm, again, kept, lost)
