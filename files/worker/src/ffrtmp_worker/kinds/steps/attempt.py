"""What a kind is given: one scenario, a folder of its own, tools, and ears for the outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.measurement import FfmpegBuild, Provenance
from ffrtmp_shared.models import Progress
from ffrtmp_shared.scenario import Scenario, Source

from ffrtmp_worker.energy.client import request_reading
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds.steps.stream_cost import Prices
from ffrtmp_worker.measure.complexity import ComplexityCache
from ffrtmp_worker.measure.energy import EnergyMeter
from ffrtmp_worker.measure.host_watch import HostWatch
from ffrtmp_worker.measure.nvml import Nvml
from ffrtmp_worker.measure.rtmp_stat import StatPage
from ffrtmp_worker.measure.series import Series

ENCODE_LOG_NAME = "ffmpeg.log"
"""The file in the attempt's folder with what FFmpeg said, its command in the first line."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What this node measures with.

    `ffmpeg` is what is timed: the farm's own, which is `farm_ffmpeg`, or the one that a scenario
    brings, relative to the attempt's folder. `encoders` are those that were proved with it here.
    `energy_socket` is where the energy reader answers, if there is one, and `energy_idle_s` how
    long idle power is measured. `rtmp_url` is the application of an RTMP server that streams are
    sent to, if there is one, and `rtmp_stat` where that server says what it counts. `nvml` knows
    the energy of NVIDIA's GPUs, `content_notes` what was found in sources before. `prices` is what
    the operator says that this host costs.
    """

    ffmpeg: Path
    farm_ffmpeg: Path
    ffprobe: Path
    quality_ffmpeg: Path
    ffmpeg_build: FfmpegBuild
    quality_ffmpeg_build: FfmpegBuild
    encoders: frozenset[str]
    vmaf_threads: int
    min_free_bytes: int
    agent_version: str
    energy_socket: Path | None = None
    energy_idle_s: float = 0.0
    rtmp_url: str | None = None
    rtmp_stat: StatPage | None = None
    nvml: Nvml = field(default_factory=Nvml)
    content_notes: ComplexityCache = field(default_factory=lambda: ComplexityCache(None))
    prices: Prices = field(default_factory=Prices)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a scenario.

    `folder` is empty and the attempt's own. `fetch` puts the checked source at a path
    and returns the SHA-256 of its content.
    `report` takes progress and returns at once. `stop_reason` says why the attempt is to end,
    or "" while it may go on. `series` gets a row for each second of what is measured.
    """

    scenario: Scenario
    folder: Path
    tools: Tools
    fetch: Callable[[Source, Path], str]
    report: Callable[[Progress], None]
    stop_reason: Callable[[], str]
    series: Series = field(default_factory=Series)

    def provenance(
        self, source_sha256: str, argv: Sequence[str], *more: Sequence[str]
    ) -> Provenance:
        """Say how what these commands measured, one after the other, can be done by hand."""
        return Provenance(
            argv=tuple(argv),
            more_argv=tuple(tuple(each) for each in more),
            ffmpeg=self.tools.ffmpeg_build,
            quality_ffmpeg=self.tools.quality_ffmpeg_build,
            source_sha256=source_sha256,
            agent_version=self.tools.agent_version,
        )

    def watch(self) -> HostWatch:
        """Return a watch over the host for one encode."""
        return HostWatch(
            self.energy_meter(), self.gpu_energy_meter(), self.tools.energy_idle_s, self.series
        )

    def energy_meter(self) -> EnergyMeter:
        """Return a meter for the energy of the host's processors."""
        socket = self.tools.energy_socket
        return EnergyMeter(None if socket is None else partial(request_reading, socket))

    def gpu_energy_meter(self) -> EnergyMeter:
        """Return a meter for the energy of the host's NVIDIA GPUs."""
        return EnergyMeter(self.tools.nvml.read_energy)

    def check_stop(self) -> None:
        """Raise AttemptFailedError when the attempt is to end."""
        reason = self.stop_reason()
        if reason:
            raise AttemptFailedError(FailureClass.STOPPED, reason)

    def is_stopped(self) -> bool:
        """Whether the attempt is to end."""
        return bool(self.stop_reason())
