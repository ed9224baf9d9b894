"""Tests of the import of results' series from a real master into a real VictoriaMetrics."""

import hashlib
import io
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pyarrow
import pytest
from ffrtmp_master.series.checkpoint import load_checkpoint
from ffrtmp_master.series.import_format import METRICS, UnreadableSeriesError, import_lines
from ffrtmp_master.series.importer import (
    Importer,
    PushError,
    import_until_stopped,
    main,
    pusher,
)
from ffrtmp_master.settings import Settings
from ffrtmp_shared.agent_models import ClaimRequest, ResultReport
from ffrtmp_shared.attempt_models import Artifact
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.item_guard import ItemGuard
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing
from ffrtmp_shared.node_models import Registration
from master_process import MasterProcess
from polling import TIMEOUT_S, wait_until
from postgresql import free_port
from pyarrow import parquet

_VICTORIA = Path(__file__).resolve().parents[3] / ".cache/victoria-metrics/usr/bin/victoria-metrics"
_SECONDS = 5


class Victoria:
    """A VictoriaMetrics process that can be stopped and restarted."""

    def __init__(self, folder: Path) -> None:
        if not _VICTORIA.exists():
            pytest.fail(f"{_VICTORIA} is not there: run make test", pytrace=False)
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "victoria.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _VICTORIA,
                    f"-storageDataPath={self._folder / 'victoria'}",
                    f"-httpListenAddr=127.0.0.1:{self._port}",
                    "-search.latencyOffset=0s",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_healthy, "VictoriaMetrics serves")

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(TIMEOUT_S)
            self._process = None

    def samples(self, metric: str) -> list[dict[str, Any]]:
        """Return all stored series of a metric."""
        # VictoriaMetrics buffers recent samples, so they are flushed first.
        httpx.get(f"{self.url}/internal/force_flush").raise_for_status()
        answer = httpx.get(f"{self.url}/api/v1/export", params={"match[]": metric})
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    server = Victoria(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def master(tmp_path: Path, migrated: Settings) -> Iterator[MasterProcess]:
    with MasterProcess(tmp_path, migrated).serving() as serving:
        yield serving


@pytest.fixture
def push(victoria: Victoria) -> Iterator[Callable[[bytes], None]]:
    with httpx.Client() as http:
        yield pusher(http, f"{victoria.url}/api/v1/import")


def series(begin: datetime, **columns: list[float | None]) -> bytes:
    moments = [begin + timedelta(seconds=n) for n in range(_SECONDS)]
    table = pyarrow.table(
        {"time": pyarrow.array(moments, pyarrow.timestamp("us", tz="UTC")), **columns}
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


class Worker:
    """A worker that reports results of jobs without a run, with or without a series."""

    def __init__(self, master: MasterProcess, folder: Path) -> None:
        self._master, self._folder = master, folder
        self._number = 0
        with master.client("worker1") as client:
            client.register(msgspec.convert(factories.registration("worker1"), Registration))

    def report_result_with(self, content: bytes | None) -> None:
        self._number += 1
        with self._master.http("submitter") as http:
            http.post("/v1/jobs", content=msgspec.json.encode(factories.job())).raise_for_status()
        with self._master.client("worker1") as agent:
            claim = agent.claim(ClaimRequest(node="worker1", slot=1, wait_s=5))
            assert claim is not None
            artifacts: tuple[Artifact, ...] = ()
            if content is not None:
                file = self._folder / f"{self._number}.parquet"
                file.write_bytes(content)
                digest = hashlib.sha256(content).hexdigest()
                agent.upload_artifact(claim.job.id, claim.attempt, "series.parquet", file)
                artifacts = (
                    Artifact(name="series.parquet", sha256=digest, size_bytes=len(content)),
                )
            report = ResultReport(
                attempt=claim.attempt, measurement=factories.measurement(), artifacts=artifacts
            )
            agent.report_result(claim.job.id, report)


@pytest.fixture
def worker(master: MasterProcess, tmp_path: Path) -> Worker:
    return Worker(master, tmp_path)


_NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.mark.slow
def test_samples_are_imported_with_their_timestamps(
    master: MasterProcess,
    victoria: Victoria,
    push: Callable[[bytes], None],
    worker: Worker,
    tmp_path: Path,
) -> None:
    fps: list[float | None] = [None, 20.0, 21.0, 22.0, 23.0]
    worker.report_result_with(None)
    worker.report_result_with(
        series(_NOW, fps=fps, frequency_mean_mhz=[3000.0] * 5, power_w=[None] * 5),
    )
    worker.report_result_with(b"not a parquet file")
    later = _NOW + timedelta(minutes=10)
    worker.report_result_with(series(later, fps=[30.0] * 5))
    state = tmp_path / "checkpoint"
    with master.client("viewer") as client:
        importer = Importer(client, push, state, LoopRegistry())
        assert importer.import_new() == 2
        assert importer.import_new() == 0
    (found,) = victoria.samples("ffrtmp_sample_frames_per_second")
    assert found["metric"] == {
        "__name__": "ffrtmp_sample_frames_per_second",
        "node": "worker1",
        "scenario": "clip/one",
        "kind": "transcode",
        "encoder": "libx264",
    }
    assert found["values"] == [20, 21, 22, 23, *[30] * 5]
    first_ms = round((_NOW + timedelta(seconds=1)).timestamp() * 1000)
    assert found["timestamps"][:4] == [first_ms + 1000 * n for n in range(4)]
    (frequency,) = victoria.samples("ffrtmp_sample_cpu_frequency_hertz")
    assert frequency["values"] == [3e9] * 5
    # Power was not measured, so it has no samples, not even with the value 0.
    assert victoria.samples("ffrtmp_sample_power_watts") == []


@pytest.mark.slow
def test_no_series_is_lost_during_outages(
    master: MasterProcess,
    victoria: Victoria,
    push: Callable[[bytes], None],
    worker: Worker,
    tmp_path: Path,
) -> None:
    state = tmp_path / "checkpoint"
    worker.report_result_with(series(_NOW, fps=[1.0] * 5))
    worker.report_result_with(series(_NOW + timedelta(minutes=1), fps=[2.0] * 5))
    victoria.stop()
    with master.client("viewer") as client, pytest.raises(PushError, match="is unreachable"):
        Importer(client, push, state, LoopRegistry()).import_new()
    assert load_checkpoint(state).done == ()
    victoria.start()
    sent: list[bytes] = []

    def push_once(content: bytes) -> None:
        if sent:
            raise PushError("killed here")
        sent.append(content)
        push(content)

    with master.client("viewer") as client, pytest.raises(PushError):
        Importer(client, push_once, state, LoopRegistry()).import_new()
    assert len(load_checkpoint(state).done) == 1
    # A new importer continues where the previous one stored its checkpoint.
    master.end(signal.SIGKILL)
    with master.client("viewer") as client, pytest.raises(MasterUnreachableError):
        Importer(client, push, state, LoopRegistry()).import_new()
    master.start()
    with master.client("viewer") as client:
        assert Importer(client, push, state, LoopRegistry()).import_new() == 1
        assert Importer(client, push, state, LoopRegistry()).import_new() == 0
    (found,) = victoria.samples("ffrtmp_sample_frames_per_second")
    assert sorted(found["values"]) == [1] * 5 + [2] * 5


def test_a_missing_artifact_does_not_stop_the_import(
    master: MasterProcess, worker: Worker, tmp_path: Path
) -> None:
    removed = series(_NOW, fps=[1.0] * 5)
    worker.report_result_with(removed)
    worker.report_result_with(series(_NOW, fps=[2.0] * 5))
    sent: list[bytes] = []

    class ClientWithMissingArtifact(MasterClient):
        """A client whose first download fails, as if retention had removed the artifact."""

        downloads = 0

        def download_artifact(self, job_id: Any, attempt: int, name: str) -> bytes:
            self.downloads += 1
            return super().download_artifact(
                job_id, attempt + (50 if self.downloads == 1 else 0), name
            )

    with ClientWithMissingArtifact(master.url, "token-viewer", master.ca_file) as client:
        importer = Importer(client, sent.append, tmp_path / "checkpoint", LoopRegistry())
        assert importer.import_new() == 1
    assert len(sent) == 1


class UnreliableClient(MasterClient):
    """A client that cannot download one artifact, because of an error that nothing foresees."""

    broken: Any = None

    def download_artifact(self, job_id: Any, attempt: int, name: str) -> bytes:
        if job_id == self.broken:
            raise RecursionError
        return super().download_artifact(job_id, attempt, name)


def metrics_of(pushed: bytes) -> dict[str, float]:
    """Return the last values of the importer's own metrics, by the end of their names."""
    lines = [json.loads(line) for line in pushed.splitlines()]
    names = {line["metric"]["__name__"]: line["values"][0] for line in lines}
    return {
        name.partition("_loop_")[2]: value
        for name, value in names.items()
        if name.startswith("ffrtmp_importer_loop_")
    }


@pytest.mark.slow
def test_the_import_survives_a_failing_result_and_a_stopped_server(
    master: MasterProcess, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other results are imported, the alert is raised, and the loop recovers."""
    defaults: Any = ItemGuard.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "retry_pause_s", 0.0)
    pauses: Any = Pacing.__init__.__kwdefaults__
    monkeypatch.setitem(pauses, "retry_pause_max_s", 0.02)
    for number in range(2):
        worker.report_result_with(series(_NOW, fps=[float(number)] * 5))
    pushed: list[bytes] = []
    is_down = threading.Event()

    def push(content: bytes) -> None:
        if is_down.is_set():
            raise PushError("VictoriaMetrics is unreachable")
        pushed.append(content)

    def series_pushed() -> int:
        return sum(b"ffrtmp_sample_frames_per_second" in content for content in pushed)

    def is_alerting() -> bool:
        """Evaluate the expression of the alert LoopStalled on the metrics that were written."""
        found = metrics_of(pushed[-1])
        age_s = time.time() - found["last_success_timestamp_seconds"]
        return age_s > found["stale_after_seconds"]

    loops, stopped = LoopRegistry(), threading.Event()
    with UnreliableClient(master.url, "token-viewer", master.ca_file) as client:
        client.broken = client.result_page().items[0].job_id
        importer = Importer(client, push, tmp_path / "checkpoint", loops)
        status = loops.find("import")
        assert status is not None
        running = threading.Thread(
            target=import_until_stopped, args=(importer, 0.02, stopped, loops)
        )
        running.start()
        wait_until(lambda: status.read().items_set_aside == 1, "the broken result is set aside")
        wait_until(lambda: metrics_of(pushed[-1]).get("items_set_aside") == 1, "this is exported")
        assert series_pushed() == 1
        client.broken = None
        wait_until(lambda: series_pushed() == 2, "the repaired result is imported")
        wait_until(lambda: metrics_of(pushed[-1]).get("items_set_aside") == 0, "this is exported")
        status.stale_after_s = 0.3
        wait_until(
            lambda: metrics_of(pushed[-1])["stale_after_seconds"] == 0.3, "the limit is exported"
        )
        is_down.set()
        wait_until(is_alerting, "the alert is raised", interval_s=0.01)
        is_down.clear()
        wait_until(lambda: not is_alerting(), "the loop recovers", interval_s=0.01)
        stopped.set()
        running.join(TIMEOUT_S)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"]
)
def test_an_invalid_file_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableSeriesError):
        list(import_lines(content, {}))


def test_a_table_without_timestamps_is_refused() -> None:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"time": [1, 2], "fps": [1.0, 2.0]}), file)
    with pytest.raises(UnreadableSeriesError):
        list(import_lines(file.getvalue(), {}))


def test_every_metric_has_a_column_that_agents_write() -> None:
    # The master does not depend on the agent's package, so the package's source is read as text.
    source = Path(__file__).resolve().parents[2] / "worker/src/ffrtmp_worker/measure/series.py"
    text = source.read_text(encoding="utf-8")
    assert all(f'"{column}"' in text for column in METRICS)


def test_invalid_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("master_url: https://master.example\n")
    assert main(["--config", str(file)]) == 2
    assert "token_file" in capsys.readouterr().err
