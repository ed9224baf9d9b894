"""Input of a kind: the scenario, a work folder, the node's tools, and callbacks."""

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
from ffrtmp_worker.measure.energy_meter import EnergyMeter
from ffrtmp_worker.measure.host_watch import HostWatch
from ffrtmp_worker.measure.nvml import Nvml
from ffrtmp_worker.measure.rtmp_stat import StatPage
from ffrtmp_worker.measure.series import Series

ENCODE_LOG_NAME = "ffmpeg.log"
"""The file in the attempt's folder with FFmpeg's log; its first line is the command."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The programs and services that this node measures with.

    `ffmpeg` is the binary that is timed: either the farm's, `farm_ffmpeg`, or the one that the
    scenario specifies, whose path is relative to the attempt's folder. `encoders` are the encoders
    of that binary that passed a test encode on this node. `energy_socket` is the socket of the
    energy reader, if there is one, and `energy_idle_s` the duration of the measurement of idle
    power, in seconds. `rtmp_url` is the application of the RTMP server that streams are sent to,
    if there is one, and `rtmp_stat` the statistics page of that server. `nvml` reads the energy of
    NVIDIA GPUs. `content_notes` caches the complexity of sources. `prices` are the operator's
    prices for this host.
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
    """An attempt at a scenario.

    `folder` is empty at the start and not shared with other attempts. `fetch` stores the source,
    checked against its digest, at a path and returns the SHA-256 of its content. `report` receives
    progress and does not block. `stop_reason` returns the reason to stop the attempt, or "" while
    it may continue. `series` receives a row for each second of the measurement.
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
        """Return the provenance of a measurement, with which it can be repeated manually.

        Args:
            source_sha256: The digest of the source's content.
            argv: The first command that was run.
            *more: The commands that were run after it, in their order.
        """
        return Provenance(
            argv=tuple(argv),
            more_argv=tuple(tuple(command) for command in more),
            ffmpeg=self.tools.ffmpeg_build,
            quality_ffmpeg=self.tools.quality_ffmpeg_build,
            source_sha256=source_sha256,
            agent_version=self.tools.agent_version,
        )

    def watch(self) -> HostWatch:
        """Return a watch of the host for one encode."""
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
        """Raise AttemptFailedError if the attempt is to stop."""
        reason = self.stop_reason()
        if reason:
            raise AttemptFailedError(FailureClass.STOPPED, reason)

    def is_stopped(self) -> bool:
        """Return whether the attempt is to stop."""
        return bool(self.stop_reason())
