"""Diagnosis of a host: all checks, and the facts that a bug report needs."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec
from ffrtmp_shared.node_models import NodeFacts
from ffrtmp_worker.agent.capabilities import node_facts
from ffrtmp_worker.measure.throttling import throttle_counts

from ffrtmp_cli.diagnosis.clock_findings import check_clock
from ffrtmp_cli.diagnosis.cpu_findings import check_cpu, check_throttling
from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.energy_findings import check_energy, check_gpu_energy
from ffrtmp_cli.diagnosis.ffmpeg_findings import check_ffmpeg
from ffrtmp_cli.diagnosis.findings import Finding, Status
from ffrtmp_cli.diagnosis.load_findings import check_load
from ffrtmp_cli.diagnosis.memory_findings import check_memory
from ffrtmp_cli.diagnosis.power_findings import check_power
from ffrtmp_cli.diagnosis.storage_findings import check_storage
from ffrtmp_cli.ffmpeg_origin import FfmpegOrigin


class Diagnosis(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="ffrtmp/doctor/1"
):
    """All findings about a host, and its facts.

    Attributes:
        version: The release of this program.
        host: The hardware and the operating system.
        ffmpeg: The origin of FFmpeg; null if there is no FFmpeg that can be used.
        faults: The number of findings that are faults.
        warnings: The number of findings that are warnings.
        findings: The findings.
    """

    version: str
    host: NodeFacts
    ffmpeg: FfmpegOrigin | None
    faults: int
    warnings: int
    findings: tuple[Finding, ...]


class CheckedPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """The FFmpeg and the ffprobe to check; None means that there is none."""

    ffmpeg: Path | None
    ffprobe: Path | None


def diagnose(
    host: DiagnosedHost,
    programs: CheckedPrograms,
    directory: Path,
    report_step: Callable[[str], None],
) -> Diagnosis:
    """Check a host, which takes about fifteen seconds. Its CPUs are busy for five of them.

    Args:
        host: The host.
        programs: The FFmpeg and the ffprobe to check.
        directory: The directory for sources and outputs.
        report_step: A function that receives the name of each step that takes seconds.

    Raises:
        OSError: The directory does not exist, or the load cannot be started.
    """
    report_step("other load")
    # The counters of GPUs advance during the following checks, which take at least two seconds.
    throttled, gpu_begin = throttle_counts(host.cpu_tree), host.read_gpu_energy()
    findings = check_load(host)
    report_step("energy counters, with all CPUs busy")
    findings += check_energy(host)
    findings += [
        check_gpu_energy(gpu_begin, host.read_gpu_energy()),
        *check_cpu(host),
        check_throttling(throttled, throttle_counts(host.cpu_tree)),
        *check_power(host),
        *check_clock(host),
        check_memory(host),
    ]
    report_step("disk")
    findings += check_storage(host, directory)
    report_step("FFmpeg and encoders")
    origin, about_ffmpeg = check_ffmpeg(host, programs.ffmpeg, programs.ffprobe)
    findings += about_ffmpeg
    return Diagnosis(
        version=version("ffmpeg-rtmp-cli"),
        host=node_facts(),
        ffmpeg=origin,
        faults=sum(finding.status is Status.FAULT for finding in findings),
        warnings=sum(finding.status is Status.WARNING for finding in findings),
        findings=tuple(findings),
    )
