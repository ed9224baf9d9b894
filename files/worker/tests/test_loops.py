"""Every loop of the worker's programs, with a dependency that stops and with items that fail.

Each loop must export its state, make the alert's expression true while it is stalled, and recover
without a restart.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_shared.agent_models import Claim, FailureReport
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.loop_metrics import LoopCollector
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import Pacing, ThreadLoop
from ffrtmp_worker import kinds
from ffrtmp_worker.agent.agent import Agent
from ffrtmp_worker.agent.directory_lock import DirectoryLock
from ffrtmp_worker.agent.lease_keeper import LeaseKeeper
from ffrtmp_worker.agent.log_uploader import LogUploader
from ffrtmp_worker.agent.node_heartbeats import NodeHeartbeats
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.energy.reader import EnergyReader, EnergyReaderSettings, ReadingServer
from ffrtmp_worker.exporters import ffmpeg
from ffrtmp_worker.exporters.docker_engine import Containers
from ffrtmp_worker.exporters.docker_stats import Poller
from ffrtmp_worker.exporters.ffmpeg import AGENT_LOOPS, DatagramReceiver, SlotRegistry, listen
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure import rtmp_stat, sampling
from ffrtmp_worker.measure.rtmp_stat import ServerWatch, StatPage
from ffrtmp_worker.measure.sampling import HostSampler
from polling import TIMEOUT_S, wait_until
from prometheus_client import CollectorRegistry

from .api_server import ApiServer
from .conftest import claim_of, scenario
from .impostor import Impostor, Reply

_QUICK_S = 0.02
_BROKEN = Reply(200, b"<html>a page of a proxy</html>")
_NO_STREAM = Reply(200, b"<rtmp><pid>1</pid></rtmp>")


class Rig:
    """The registry of a loop, and what the loop depends on, which the test breaks and repairs."""

    def __init__(self, folder: Path, impostor: Impostor, claim: Claim) -> None:
        self.folder = folder
        self.impostor = impostor
        self.claim = claim
        self.loops = LoopRegistry()
        self.is_broken = False
        self.good = Reply(204)

    def set_broken(self, is_broken: bool) -> None:
        self.is_broken = is_broken
        self.impostor.answer_with(_BROKEN if is_broken else self.good)

    def check(self, *_: object) -> None:
        """Raise an error of a kind that nothing foresees, while the dependency is broken."""
        if self.is_broken:
            raise RecursionError("the dependency has stopped")


@contextmanager
def heartbeat(rig: Rig) -> Iterator[None]:
    rig.good = Reply(200, b'{"lease_s": 60, "cancel": false}')
    rig.set_broken(False)
    with LeaseKeeper(rig.claim, rig.impostor.connect, rig.loops):
        yield


@contextmanager
def node_heartbeat(rig: Rig) -> Iterator[None]:
    rig.good = Reply(200, b'{"time": "2026-01-01T00:00:00Z"}')
    rig.set_broken(False)
    beats = NodeHeartbeats(
        "worker-1",
        rig.impostor.connect,
        rig.loops,
        DirectoryLock(rig.folder),
        interval_s=_QUICK_S,
        read_units=lambda: None,
    )
    beats.start()
    yield
    beats.stop()


@contextmanager
def log_upload(rig: Rig) -> Iterator[None]:
    rig.good = Reply(200, b'{"size_bytes": 5, "repeated": false}')
    rig.set_broken(False)
    log = rig.folder / "ffmpeg.log"
    written = threading.Event()

    def write() -> None:
        while not written.wait(_QUICK_S):
            with log.open("a") as file:
                file.write("line\n")

    writing = threading.Thread(target=write)
    writing.start()
    with LogUploader(rig.claim, log, rig.impostor.connect, rig.loops):
        yield
    written.set()
    writing.join()


@contextmanager
def host_samples(rig: Rig) -> Iterator[None]:
    sampler = HostSampler(rig.check, rig.loops)
    yield
    sampler.finish()


@contextmanager
def rtmp_stat_page(rig: Rig) -> Iterator[None]:
    rig.good = _NO_STREAM
    rig.set_broken(False)
    url = str(rig.impostor.connect()._http.base_url)
    page = StatPage(url=f"{url.rstrip('/')}/stat", ca_file=rig.impostor.ca_file)
    with ServerWatch(page, "rtmp://127.0.0.1/live/mine", 60.0, rig.loops):
        yield


@contextmanager
def containers(rig: Rig) -> Iterator[None]:
    def read() -> Containers:
        rig.check()
        return Containers(version="", containers=(), reason="", read_at_s=0.0)

    poller = Poller(read, _QUICK_S, rig.loops)
    poller.start()
    yield
    poller.stop()


class ClosableSocket(socket.socket):
    """A socket that fails while the rig is broken."""

    rig: Rig

    def recv(self, *arguments: Any) -> bytes:
        self.rig.check()
        return super().recv(*arguments)


@contextmanager
def datagrams(rig: Rig) -> Iterator[None]:
    with listen(rig.folder / "progress.sock") as opened:
        closable = ClosableSocket(fileno=opened.detach())
        closable.rig = rig
        with closable:
            receiver = DatagramReceiver(closable, SlotRegistry(), rig.loops)
            receiver.start()
            yield
            receiver.stop()


@contextmanager
def samples(rig: Rig) -> Iterator[None]:
    class Reader(EnergyReader):
        def sample(self) -> None:
            rig.check()

    settings = EnergyReaderSettings(
        socket=rig.folder / "s", state_file=rig.folder / "f", interval_s=_QUICK_S
    )
    reader, (ended, end), stopped = Reader(settings), socket.socketpair(), threading.Event()
    with socket.socket(socket.AF_UNIX) as listener, ended, end:
        listener.bind(str(rig.folder / "reader.sock"))
        listener.listen()
        server = ReadingServer(reader, listener, ended)
        loop = ThreadLoop(
            rig.loops.add("samples", stale_after_s=60.0),
            server.serve_next,
            Pacing(interval_s=0.0),
            stopped=stopped,
        )
        loop.start()
        yield
        stopped.set()
        end.send(b".")
        loop.join()


CASES: dict[str, Callable[[Rig], AbstractContextManager[None]]] = {
    "heartbeat": heartbeat,
    "node_heartbeat": node_heartbeat,
    "log_upload": log_upload,
    "host_samples": host_samples,
    "rtmp_stat": rtmp_stat_page,
    "containers": containers,
    "datagrams": datagrams,
    "samples": samples,
}


@pytest.fixture
def quick_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of all loops, and those before a failed pass is retried."""
    monkeypatch.setattr(sampling, "_EVERY_S", _QUICK_S)
    monkeypatch.setattr(rtmp_stat, "_PERIOD_S", _QUICK_S)
    monkeypatch.setattr(ffmpeg, "_RECEIVE_TIMEOUT_S", _QUICK_S)
    monkeypatch.setattr("ffrtmp_worker.energy.reader._FIND_ZONES_INTERVAL_S", _QUICK_S)
    monkeypatch.setattr("ffrtmp_worker.energy.reader._REPORT_INTERVAL_S", _QUICK_S)
    pauses: Any = Pacing.__init__.__kwdefaults__
    monkeypatch.setitem(pauses, "retry_pause_s", _QUICK_S)
    monkeypatch.setitem(pauses, "retry_pause_max_s", _QUICK_S)


@pytest.fixture
def rig(tmp_path: Path, clip: Path, quick_loops: None) -> Iterator[Rig]:
    with Impostor(tmp_path).serving() as impostor:
        yield Rig(tmp_path, impostor, claim_of(scenario(clip), heartbeat_s=_QUICK_S))


def metric(loops: LoopRegistry, name: str, loop: str) -> float:
    registry = CollectorRegistry()
    registry.register(LoopCollector("ffrtmp_test", loops.read))
    value = registry.get_sample_value(f"ffrtmp_test_loop_{name}", {"loop": loop})
    assert value is not None
    return value


def is_alerting(loops: LoopRegistry, loop: str) -> bool:
    """Evaluate the expression of the alert LoopStalled on the exported metrics."""
    age_s = time.time() - metric(loops, "last_success_timestamp_seconds", loop)
    return age_s > metric(loops, "stale_after_seconds", loop)


def test_every_loop_of_an_agent_is_tested() -> None:
    assert {*CASES, "claims"} >= AGENT_LOOPS


@pytest.mark.slow
@pytest.mark.parametrize("loop", CASES)
def test_a_loop_survives_a_stopped_dependency(rig: Rig, loop: str) -> None:
    with CASES[loop](rig):
        status = rig.loops.find(loop)
        assert status is not None
        status.stale_after_s = 0.3
        wait_until(lambda: not is_alerting(rig.loops, loop), "the loop runs", interval_s=_QUICK_S)
        failures = metric(rig.loops, "failures_total", loop)
        rig.set_broken(True)
        wait_until(lambda: is_alerting(rig.loops, loop), "the alert is raised", interval_s=_QUICK_S)
        assert metric(rig.loops, "failures_total", loop) > failures
        rig.set_broken(False)
        wait_until(
            lambda: not is_alerting(rig.loops, loop), "the loop recovers", interval_s=_QUICK_S
        )


@pytest.fixture
def agent_settings(master: ApiServer, tools: Tools, tmp_path: Path) -> AgentSettings:
    (tmp_path / "token").write_text("token\n", encoding="ascii")
    return AgentSettings(
        master_url=master.url,
        token_file=tmp_path / "token",
        ca_file=master.ca_file,
        node_name="worker-1",
        address="127.0.0.1",
        work_dir=tmp_path / "work",
        spool_dir=tmp_path / "spool",
        cache_dir=tmp_path / "cache",
        ffmpeg=tools.ffmpeg,
        ffprobe=tools.ffprobe,
        quality_ffmpeg=tools.quality_ffmpeg,
        min_free_bytes=1,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [TypeError("must be real number, not NoneType"), RecursionError(), KeyError("vmaf")]
)
def test_an_unexpected_error_of_an_attempt_is_its_failure(
    *,
    agent_settings: AgentSettings,
    master: ApiServer,
    tools: Tools,
    clip: Path,
    error: Exception,
    quick_loops: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The agent reports the attempt that raised the error and continues with the next job."""

    def fail(_attempt: Any) -> Any:
        raise error

    monkeypatch.setitem(kinds.KINDS, "transcode", fail)
    stopped, loops = threading.Event(), LoopRegistry()
    claims = [claim_of(scenario(clip), heartbeat_s=_QUICK_S) for _ in range(2)]
    master.claims.extend(claims)
    agent = Agent(agent_settings, 1, replace(tools, loops=loops), stopped)
    running = threading.Thread(target=agent.run)
    running.start()
    wait_until(
        lambda: len(master.bodies("/failure")) == 2,
        "both attempts are reported",
        interval_s=_QUICK_S,
    )

    # The main loop of the agent loses the master, and recovers when it is back.
    status = loops.find("claims")
    assert status is not None
    status.stale_after_s = 0.3
    master.refuse("/claims", 503, 503)
    wait_until(lambda: is_alerting(loops, "claims"), "the alert is raised", interval_s=_QUICK_S)
    wait_until(lambda: not is_alerting(loops, "claims"), "the loop recovers", interval_s=_QUICK_S)
    stopped.set()
    running.join(TIMEOUT_S)
    reports = [msgspec.json.decode(body, type=FailureReport) for body in master.bodies("/failure")]
    assert {report.failure.failure_class for report in reports} == {FailureClass.NODE}
    assert type(error).__name__ in reports[0].failure.message
