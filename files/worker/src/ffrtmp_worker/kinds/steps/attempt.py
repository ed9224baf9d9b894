"""An attempt, the input of a kind: its scenario, its work folder, its tools and callbacks."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.comparison_threads import count_threads
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.provenance import FfmpegBuild, Provenance
from ffrtmp_shared.scenario import Scenario, Source
from ffrtmp_shared.stages import Stage

from ffrtmp_worker.energy.client import request_reading
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import container_crop
from ffrtmp_worker.ffmpeg.probe import MAX_PACKETS
from ffrtmp_worker.ffmpeg.program_identity import ProgramIdentity
from ffrtmp_worker.kinds.steps.probe_cache import ProbeCache
from ffrtmp_worker.kinds.steps.stream_cost import Prices
from ffrtmp_worker.measure.calibration import Calibration
from ffrtmp_worker.measure.cgroup import usable_cpus
from ffrtmp_worker.measure.energy_meter import EnergyMeter
from ffrtmp_worker.measure.host_watch import HostWatch
from ffrtmp_worker.measure.measurement_cache import CacheRecord, MeasurementCache, Producer
from ffrtmp_worker.measure.nvml import Nvml
from ffrtmp_worker.measure.rtmp_stat import StatPage
from ffrtmp_worker.measure.series import Series

ENCODE_LOG_NAME = "ffmpeg.log"
"""Name of FFmpeg's log in the attempt's folder; the first line of the log is the command."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The programs and services that this node uses for measurements.

    Attributes:
        ffmpeg: The binary that is timed: either `farm_ffmpeg` or the binary that the scenario
            specifies. The path of the latter is relative to the attempt's folder.
        encoders: The encoders of `ffmpeg` that passed a test encode on this node.
        vmaf_threads: The number of threads of a comparison that the operator set, or None.
        slots_sharing_cpus: The number of slots that share the CPUs of this one, if it is known.
        energy_socket: The socket of the energy reader, if there is one.
        energy_idle_s: The time for which idle power is measured, in seconds.
        rtmp_url: The application of the RTMP server that streams are sent to, if there is one.
        rtmp_stat: The statistics page of that server.
        nvml: The client that reads NVIDIA GPUs.
        max_packets: The maximum number of video packets of a source.
        calibration: The calibrations of the quality metrics; None means that all of them are used.
        probe_fault: The reason why `ffprobe` cannot be used, or "".
        ffprobe_identity: The identity of `ffprobe`; None means that its values are not cached.
        quality_identity: The identity of `quality_ffmpeg`; None means that its values are not
            cached.
        measurements: The cache of measured values of sources and outputs.
        probe_cache: The cache of the probes with which settings for a VMAF were found.
        prices: The operator's prices for this host.
        received_max_bytes: The maximum size of a stored stream.
        loops: The registry of the agent's loops.
    """

    ffmpeg: Path
    farm_ffmpeg: Path
    ffprobe: Path
    quality_ffmpeg: Path
    ffmpeg_build: FfmpegBuild
    quality_ffmpeg_build: FfmpegBuild
    encoders: frozenset[str]
    vmaf_threads: int | None
    min_free_bytes: int
    agent_version: str
    slots_sharing_cpus: int | None = None
    energy_socket: Path | None = None
    energy_idle_s: float = 0.0
    rtmp_url: str | None = None
    rtmp_stat: StatPage | None = None
    nvml: Nvml = field(default_factory=Nvml)
    max_packets: int = MAX_PACKETS
    calibration: Calibration | None = None
    probe_fault: str = ""
    ffprobe_identity: ProgramIdentity | None = None
    quality_identity: ProgramIdentity | None = None
    measurements: MeasurementCache = field(default_factory=lambda: MeasurementCache(None))
    probe_cache: ProbeCache = field(default_factory=lambda: ProbeCache(None))
    prices: Prices = field(default_factory=Prices)
    received_max_bytes: int = 2_147_483_648
    loops: LoopRegistry = field(default_factory=LoopRegistry)

    def comparison_threads(self, *, is_exclusive: bool) -> int:
        """Return the number of threads that compare an output with its source.

        Args:
            is_exclusive: Whether no other job runs on the node.
        """
        return count_threads(
            self.vmaf_threads,
            self.slots_sharing_cpus,
            is_exclusive=is_exclusive,
            usable_cpus=usable_cpus(),
            cpus=len(os.sched_getaffinity(0)),
        )

    def probe_producer(self) -> Producer:
        """Return what identifies the agent and its current ffprobe in the cache of measurements."""
        return self._producer(self.ffprobe_identity)

    def quality_producer(self) -> Producer:
        """Return what identifies the agent and its current `quality_ffmpeg` in that cache."""
        return self._producer(self.quality_identity)

    def _producer(self, identity: ProgramIdentity | None) -> Producer:
        program = None if identity is None else identity.fingerprint()
        return Producer(agent_version=self.agent_version, program=program)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt at a scenario.

    Attributes:
        scenario: The scenario to run.
        folder: The work folder, which is initially empty and not shared with other attempts.
        tools: The programs and services of the node.
        fetch: A function that stores the source at a path, after checking its digest, and returns
            the SHA-256 of its content.
        report: A function that receives progress and does not block.
        stop_reason: A function that returns the reason to stop the attempt, or "" if it may
            continue.
        is_exclusive: Whether no other job runs on the node.
        series: The time series, which receives a row for each second of the measurement.
        cache_record: The record of the values that came from caches.
    """

    scenario: Scenario
    folder: Path
    tools: Tools
    fetch: Callable[[Source, Path], str]
    report: Callable[[Progress], None]
    stop_reason: Callable[[], str]
    is_exclusive: bool = False
    series: Series = field(default_factory=Series)
    cache_record: CacheRecord = field(default_factory=CacheRecord)

    def stored_frames(self, ffmpeg: Path) -> tuple[str, ...]:
        """Return the options with which this FFmpeg reads the frames of a source as stored.

        The path of the FFmpeg may be relative to the attempt's folder.
        """
        return container_crop.stored_frames(self.folder / ffmpeg)

    @property
    def quality_threads(self) -> int:
        """The number of threads that compare an output with its source.

        If no other job runs on the node, nothing is measured there during the comparison, so it
        may use all CPUs of the slot. Otherwise it must leave CPUs to the other jobs.
        """
        return self.tools.comparison_threads(is_exclusive=self.is_exclusive)

    @property
    def timed_stage(self) -> Stage:
        """The stage in which the process that is measured runs."""
        return Stage.DECODE if self.scenario.kind == "decode" else Stage.ENCODE

    def enter(self, stage: Stage) -> None:
        """Report that a stage begins."""
        self.report(Progress(stage=stage))

    def provenance(
        self, source_sha256: str, argv: Sequence[str], *more: Sequence[str]
    ) -> Provenance:
        """Return the provenance of a measurement, which allows repeating it manually.

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
            self.energy_meter(),
            self.gpu_energy_meter(),
            self.tools.energy_idle_s,
            self.series,
            self.tools.loops,
        )

    def settle(self, watch: HostWatch) -> None:
        """Measure the idle power with a watch that is not started, if the host has counters."""
        watch.settle(self.check_stop, lambda: self.enter(Stage.IDLE_POWER))

    def start(self, watch: HostWatch, source_name: str) -> None:
        """Start a watch; call this right before starting the process that is measured.

        Args:
            watch: The watch.
            source_name: The name of the source in the folder, which the process reads.
        """
        # This only wakes the thread that sends heartbeats. The heartbeat with this stage is sent
        # while the process that is measured runs.
        self.enter(self.timed_stage)
        watch.start(self.folder / source_name)

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
