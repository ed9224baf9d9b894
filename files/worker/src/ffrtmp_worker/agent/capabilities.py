"""Facts and capabilities of this node. Only encoders that pass a test are listed."""

import logging
import os
import platform
import socket
import threading
from importlib.metadata import version
from pathlib import Path

import psutil
from ffrtmp_shared.credentials import ClientCertificate
from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.node_models import NodeFacts, Registration
from ffrtmp_shared.scenario import (
    KINDS_OF_EVERY_NODE,
    QUALITY_SETTINGS,
    RECEIVED_LIVE,
    VMAF_TARGET,
)
from ffrtmp_shared.value_rules import clean_text

from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.ffmpeg import build_info
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder
from ffrtmp_worker.ffmpeg.program_identity import ProgramIdentity
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.kinds.steps.probe_cache import ProbeCache
from ffrtmp_worker.kinds.steps.stream_cost import Prices
from ffrtmp_worker.measure.calibration import Calibration
from ffrtmp_worker.measure.environment import cpu_model
from ffrtmp_worker.measure.measurement_cache import MeasurementCache
from ffrtmp_worker.measure.probe_calibration import ProbeCalibrationError, find_probe_fault
from ffrtmp_worker.measure.rtmp_stat import StatPage

_MAX_FACT = 1024

_log = logging.getLogger(__name__)


def node_facts() -> NodeFacts:
    """Return the facts of this host. `cpu_count` counts the CPUs that this process may use."""
    return NodeFacts(
        hostname=_text(socket.gethostname()),
        os=_text(_os_name()),
        kernel=_text(platform.release()),
        architecture=_text(platform.machine()),
        cpu_model=_text(cpu_model()),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
    )


def _text(fact: str) -> str:
    """Return a fact as text that the master accepts; firmware may report any characters."""
    return clean_text(fact, _MAX_FACT)


def proved_encoders(ffmpeg: Path) -> frozenset[str]:
    """Return the known encoders that complete a short encode on this host."""
    return frozenset(name for name in ENCODERS if _works(name, ffmpeg))


def find_tools(settings: AgentSettings) -> Tools:
    """Identify the programs and services that this node uses for measurements.

    Raises UnusableFfmpegError if an FFmpeg binary cannot be identified.
    """
    quality_build = build_info.identify_build(settings.quality_ffmpeg)
    measurements = MeasurementCache(settings.cache_dir, settings.measurement_cache_max_bytes)
    measurements.remove_unused()
    return Tools(
        ffmpeg=settings.ffmpeg,
        farm_ffmpeg=settings.ffmpeg,
        ffprobe=settings.ffprobe,
        quality_ffmpeg=settings.quality_ffmpeg,
        ffmpeg_build=build_info.identify_build(settings.ffmpeg),
        quality_ffmpeg_build=quality_build,
        encoders=proved_encoders(settings.ffmpeg),
        vmaf_threads=settings.vmaf_threads,
        slots_sharing_cpus=settings.slots_sharing_cpus,
        min_free_bytes=settings.min_free_bytes,
        agent_version=version("ffmpeg-rtmp-worker"),
        energy_socket=settings.energy_socket,
        energy_idle_s=settings.energy_idle_s,
        rtmp_url=settings.rtmp_url,
        rtmp_stat=_rtmp_stat(settings),
        received_max_bytes=settings.received_max_bytes,
        max_packets=settings.source_max_packets,
        calibration=Calibration(settings.cache_dir, settings.quality_ffmpeg, quality_build.sha256),
        probe_fault=_probe_fault(settings),
        ffprobe_identity=_identity(settings, settings.ffprobe),
        quality_identity=_identity(settings, settings.quality_ffmpeg),
        measurements=measurements,
        probe_cache=ProbeCache(settings.cache_dir),
        prices=Prices(
            currency=settings.currency,
            host_per_hour=settings.host_price_per_hour,
            energy_per_kwh=settings.energy_price_per_kwh,
        ),
    )


def check_metrics(found: Tools, stopped: threading.Event) -> None:
    """Calibrate the quality metrics for usual sizes, and log those that are wrong."""
    if found.calibration is not None:
        # Jobs may run in other slots.
        threads = found.comparison_threads(is_exclusive=False)
        found.calibration.check_common_sizes(threads, stopped.is_set)


def _probe_fault(settings: AgentSettings) -> str:
    """Return why this node's ffprobe cannot be used, or "" if it can or could not be checked."""
    try:
        fault = find_probe_fault(settings.ffmpeg, settings.ffprobe)
    except (ProbeCalibrationError, OSError) as error:
        _log.warning("ffprobe was not calibrated: %s", error)
        return ""
    if fault:
        _log.error("ffprobe is not used: %s", fault)
    return fault


def _identity(settings: AgentSettings, program: Path) -> ProgramIdentity | None:
    """Return the identity of a program whose measurements are cached, or None if none are."""
    if not settings.measurement_cache_max_bytes:
        return None
    identity = ProgramIdentity(program)
    # No job waits for it, and the log at the start states why a program cannot be identified.
    identity.fingerprint()
    return identity


def _rtmp_stat(settings: AgentSettings) -> StatPage | None:
    if settings.rtmp_stat_url is None:
        return None
    certificate = ClientCertificate.from_files(settings.certificate_file, settings.key_file)
    return StatPage(settings.rtmp_stat_url, settings.ca_file, certificate)


def registration(settings: AgentSettings, found: Tools) -> Registration:
    """Return the registration that the agent sends to the master."""
    return Registration(
        name=settings.node_name,
        facts=node_facts(),
        encoders=tuple(sorted(found.encoders)),
        ffmpeg=found.ffmpeg_build,
        quality_ffmpeg=found.quality_ffmpeg_build,
        agent_version=found.agent_version,
        address=settings.address,
        exporters=settings.exporters,
        labels=settings.labels,
        kinds=(
            *KINDS_OF_EVERY_NODE,
            VMAF_TARGET,
            QUALITY_SETTINGS,
            *(() if found.rtmp_url is None else ("live", RECEIVED_LIVE)),
        ),
        ffmpeg_under_test=settings.allow_ffmpeg_under_test,
    )


def _works(encoder: str, ffmpeg: Path) -> bool:
    proof = check_encoder(encoder, ffmpeg)
    if not proof.works:
        _log.info("an encoder does not work on this node", extra={"encoder": encoder})
        _log.debug(
            "log of FFmpeg for the encoder", extra={"encoder": encoder, "log": proof.log_tail}
        )
    return proof.works


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
