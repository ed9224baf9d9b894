"""Overhead that the agent adds to an encode, and the cost of an idle agent."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.context import BenchmarkContext
from bench.figures import Figure, Limit, Line, ratios
from bench.process import CpuMeter, cpu_s, memory_kib
from bench.worker import Worker

_ROOT = Path(__file__).resolve().parents[3]
_FFMPEG = _ROOT / ".cache/ffmpeg/ffmpeg"
_CLIP = _ROOT / "files/media/bigbuckbunny-720p.mp4"
_ENCODE = {"encoder": "libx264", "preset": "medium", "threads": 2}
_RATE = {"crf": 23}
_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class _Cost:
    """The resources that the agent used while its FFmpeg encoded."""

    cpu_percent: float
    rss_mib: float


def measure(context: BenchmarkContext) -> Line:
    """Encode a clip alternately without the agent and with it."""
    pairs = context.pick(21, 2)
    idle_s = context.pick(60.0, 5.0)
    bare: list[float] = []
    under_agent: list[float] = []
    costs: list[_Cost] = []
    with (
        context.folder() as folder,
        context.on_sqlite(folder, nodes=1, submitters=1) as master,
    ):
        worker = Worker(master, folder, ffmpeg=_FFMPEG, ffprobe=Path("/usr/bin/ffprobe"))
        with worker.working():
            # The first encode provides FFmpeg's argument list and fills the page cache.
            argv = worker.measure(_CLIP, _ENCODE, _RATE).measurement.provenance.argv
            for number in range(pairs):
                # The order alternates, so that each variant is first in half of the pairs.
                if number % 2:
                    bare.append(_bare_with_polling(worker, argv, folder))
                with _AgentMonitor(worker.pid) as monitor:
                    result = worker.measure(_CLIP, _ENCODE, _RATE)
                under_agent.append(result.measurement.encode.wall_s)
                costs.append(monitor.cost())
                if not number % 2:
                    bare.append(_bare_with_polling(worker, argv, folder))
                context.log(
                    f"pair {number + 1}: {under_agent[-1]:.3f} s, bare {bare[-1]:.3f} s, agent "
                    f"{costs[-1].cpu_percent:.2f} % of a core"
                )
            meter = CpuMeter(worker.pid)
            time.sleep(idle_s)
            idle_percent = meter.percent()
            idle_mib = memory_kib(worker.pid, "Rss") / _KIB_PER_MIB
    return Line(
        key="overhead",
        title="An encode under the agent, compared with the same encode alone",
        conditions=(
            f"{pairs} pairs in alternating order: the repository's 720p clip, x264 "
            "medium, crf 23, 2 threads; the encode alone uses the argument list of the "
            "result, started and timed with wait4 while the agent waits for a job; the benchmark "
            "reads the state of agent and master equally often in both",
            "the agent's CPU time is that of its process without FFmpeg, from the start of the "
            "encode to its end; downloads, ffprobe and the quality pass are not included",
            f"idle: an agent that waits for a job, for {idle_s:g} s",
        ),
        figures=(
            Figure(
                label="wall time under the agent / alone",
                unit="",
                samples=ratios(under_agent, bare),
                limit=Limit("at most", 1.01),
            ),
            Figure(
                label="CPU of the agent while encoding",
                unit="% of a core",
                samples=tuple(cost.cpu_percent for cost in costs),
                limit=Limit("under", 1.0),
            ),
            Figure(
                label="CPU of the idle agent",
                unit="% of a core",
                samples=(idle_percent,),
                limit=Limit("under", 0.1),
            ),
            Figure(
                label="memory of the agent",
                unit="MiB",
                samples=(*(cost.rss_mib for cost in costs), idle_mib),
                limit=Limit("under", 60),
            ),
        ),
    )


def _bare_with_polling(worker: Worker, argv: Sequence[str], folder: Path) -> float:
    """Encode without the agent, with the same polling as during an encode by the agent."""
    with _AgentMonitor(worker.pid), worker.polled():
        return _bare(argv, folder)


def _bare(argv: Sequence[str], folder: Path) -> float:
    """Run FFmpeg with an argument list of the agent and return the wall time."""
    directory = folder / "bare"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    source = argv[argv.index("-i") + 1]
    shutil.copyfile(_CLIP, directory / source)
    started = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, _ = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the bare encode failed with code {process.returncode}")
    return wall_s


class _AgentMonitor:
    """Polls the CPU time and memory of the agent while FFmpeg encodes."""

    _POLL_S = 0.05

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
        self._rss_kib = 0

    def __enter__(self) -> "_AgentMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def cost(self) -> _Cost:
        if self._first is None or self._last is None or self._last[0] <= self._first[0]:
            raise RuntimeError("the encode of the agent was not observed")
        used = self._last[1] - self._first[1]
        return _Cost(
            cpu_percent=100 * used / (self._last[0] - self._first[0]),
            rss_mib=self._rss_kib / _KIB_PER_MIB,
        )

    def _poll(self) -> None:
        while not self._stop.wait(self._POLL_S):
            if self._encodes():
                now = (time.monotonic(), cpu_s(self._pid))
                self._first = self._first or now
                self._last = now
                self._rss_kib = max(self._rss_kib, memory_kib(self._pid, "Rss"))

    def _encodes(self) -> bool:
        """Return whether the agent has a child process with the name of the encoder as argument."""
        for task in Path(f"/proc/{self._pid}/task").iterdir():
            try:
                children = (task / "children").read_text().split()
                lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(b"libx264" in line.split(b"\0") for line in lines):
                return True
        return False
