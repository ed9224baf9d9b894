"""What the agent costs the encode that it runs, and what it costs when there is nothing to do."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Limit, Line, ratios
from bench.measurement import Measuring
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
    """What the agent itself used while its FFmpeg encoded."""

    cpu_percent: float
    rss_mib: float


def measure(measuring: Measuring) -> Line:
    """Encode a clip by turns bare and under the agent."""
    pairs = measuring.pick(21, 2)
    idle_s = measuring.pick(60.0, 5.0)
    bare: list[float] = []
    ours: list[float] = []
    costs: list[_Cost] = []
    with (
        measuring.folder() as folder,
        measuring.on_sqlite(folder, nodes=1, submitters=1) as master,
    ):
        worker = Worker(master, folder, ffmpeg=_FFMPEG, ffprobe=Path("/usr/bin/ffprobe"))
        with worker.working():
            # The first shows the argument list, and brings everything into the page cache.
            argv = worker.measure(_CLIP, _ENCODE, _RATE).measurement.provenance.argv
            for number in range(pairs):
                # Each takes the first turn as often as the other.
                if number % 2:
                    bare.append(_bare_beside(worker, argv, folder))
                with _Watch(worker.pid) as watch:
                    result = worker.measure(_CLIP, _ENCODE, _RATE)
                ours.append(result.measurement.encode.wall_s)
                costs.append(watch.cost())
                if not number % 2:
                    bare.append(_bare_beside(worker, argv, folder))
                measuring.say(
                    f"pair {number + 1}: {ours[-1]:.3f} s, bare {bare[-1]:.3f} s, agent "
                    f"{costs[-1].cpu_percent:.2f} % of a core"
                )
            meter = CpuMeter(worker.pid)
            time.sleep(idle_s)
            idle_percent = meter.percent()
            idle_mib = memory_kib(worker.pid, "Rss") / _KIB_PER_MIB
    return Line(
        key="overhead",
        title="An encode under the agent, and the same bare",
        conditions=(
            f"{pairs} pairs, taking turns at being first: the repository's 720p clip, x264 "
            "medium, crf 23, 2 threads; the bare one is the result's own argument list, started "
            "and timed with wait4 while the agent waits for work; the benchmark looks at the agent "
            "and asks the master equally often in both",
            "the agent's CPU time is that of its process without FFmpeg, from the start of the "
            "encode to its end; fetching, ffprobe and the quality pass are outside of it",
            f"idle: an agent that waits for work, {idle_s:g} s",
        ),
        figures=(
            Figure(
                label="wall time under the agent / bare",
                unit="",
                samples=ratios(ours, bare),
                limit=Limit("at most", 1.01),
            ),
            Figure(
                label="agent's CPU while encoding",
                unit="% of a core",
                samples=tuple(cost.cpu_percent for cost in costs),
                limit=Limit("under", 1.0),
            ),
            Figure(
                label="agent's CPU idle",
                unit="% of a core",
                samples=(idle_percent,),
                limit=Limit("under", 0.1),
            ),
            Figure(
                label="agent's memory",
                unit="MiB",
                samples=(*(cost.rss_mib for cost in costs), idle_mib),
                limit=Limit("under", 60),
            ),
        ),
    )


def _bare_beside(worker: Worker, argv: Sequence[str], folder: Path) -> float:
    """Run the bare encode beside all that runs beside the agent's but for the agent's own work."""
    with _Watch(worker.pid), worker.asked_after():
        return _bare(argv, folder)


def _bare(argv: Sequence[str], folder: Path) -> float:
    """Run an argument list as the agent does; return the wall time."""
    place = folder / "bare"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    source = argv[argv.index("-i") + 1]
    shutil.copyfile(_CLIP, place / source)
    started = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=place,
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


class _Watch:
    """Reads the agent's CPU time when its encode begins and when it ends, looking often."""

    _LOOK_S = 0.05

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._begun: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
        self._rss_kib = 0

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def cost(self) -> _Cost:
        if self._begun is None or self._last is None or self._last[0] <= self._begun[0]:
            raise RuntimeError("the agent's encode was not seen")
        used = self._last[1] - self._begun[1]
        return _Cost(
            cpu_percent=100 * used / (self._last[0] - self._begun[0]),
            rss_mib=self._rss_kib / _KIB_PER_MIB,
        )

    def _look(self) -> None:
        while not self._over.wait(self._LOOK_S):
            if self._encodes():
                now = (time.monotonic(), cpu_s(self._pid))
                self._begun = self._begun or now
                self._last = now
                self._rss_kib = max(self._rss_kib, memory_kib(self._pid, "Rss"))

    def _encodes(self) -> bool:
        """Whether a child of the agent is the encode: it alone names the encoder."""
        for task in Path(f"/proc/{self._pid}/task").iterdir():
            try:
                children = (task / "children").read_text().split()
                lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(b"libx264" in line.split(b"\0") for line in lines):
                return True
        return False
