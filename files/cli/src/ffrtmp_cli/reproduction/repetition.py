"""Repetition of an encode on this host, with the agent's own code."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path, PurePath

import msgspec
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.encoders import QualityControl
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Result
from ffrtmp_shared.scenario import Scenario, Source
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError, identify_build
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder
from ffrtmp_worker.ffmpeg.synthetic_source import synthetic_source
from ffrtmp_worker.inputs.cache import SourceCache
from ffrtmp_worker.inputs.download import UrlAccess, download_url
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from ffrtmp_worker.measure.calibration import Calibration

from ffrtmp_cli.errors import CommandError

KINDS = ("transcode", "ladder", "decode")
"""The kinds that can be repeated. The others need an RTMP server, or search for a limit."""

_MIN_FREE_BYTES = 1_073_741_824
_GENERATION_SPEED = 0.01
"""Minimum speed at which a synthetic source is generated, as a multiple of real time."""


class LocalPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of this host: `ffmpeg` encodes, and `quality_ffmpeg` compares."""

    ffmpeg: Path
    ffprobe: Path
    quality_ffmpeg: Path
    vmaf_threads: int


def repeat_encode(
    result: Result,
    programs: LocalPrograms,
    source_file: Path | None,
    report_stage: Callable[[str], None],
) -> Measurement:
    """Run the encode of a result on this host, and measure it as an agent does.

    Args:
        result: The result.
        programs: The programs to use.
        source_file: The source, if it is a file of this host.
        report_stage: A function that receives the name of each stage.

    Raises:
        CommandError: The kind cannot be repeated, the source is not available, a program cannot be
            used, or the encode failed.
    """
    scenario = _without_search(result)
    if scenario.kind not in KINDS:
        raise CommandError(
            f"a {scenario.kind} cannot be repeated; --check supports {', '.join(KINDS)}"
        )
    expected_sha256 = result.measurement.provenance.source_sha256
    stages: list[str] = []

    def report(progress: Progress) -> None:
        if progress.stage not in stages[-1:]:
            stages.append(progress.stage)
            report_stage(progress.stage)

    try:
        with tempfile.TemporaryDirectory(prefix="ffrtmp-reproduce-") as name:
            folder = Path(name)
            attempt = Attempt(
                scenario=scenario,
                folder=folder,
                tools=_tools(programs, scenario.encoder),
                fetch=lambda source, target: _fetch(
                    source, target, expected_sha256, source_file, programs.quality_ffmpeg
                ),
                report=report,
                stop_reason=str,
            )
            return kinds.run_attempt(attempt)
    except AttemptFailedError as error:
        log = f"\n{error.log_tail}" if error.log_tail else ""
        raise CommandError(f"the encode failed ({error.failure_class}): {error}{log}") from error
    except (UnusableFfmpegError, OSError) as error:
        raise CommandError(f"the encode cannot be repeated: {error}") from error


def find_source(result: Result, directories: Sequence[Path]) -> Path | None:
    """Return the source of a result if one of the directories has it under its own name."""
    # The name is that of a file of results, which may come from elsewhere.
    name = PurePath(result.scenario.source.file_name).name
    files = [directory / name for directory in directories if name]
    expected_sha256 = result.measurement.provenance.source_sha256
    return next(
        (file for file in files if file.is_file() and _sha256(file) == expected_sha256), None
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _without_search(result: Result) -> Scenario:
    """Return the scenario with the setting that was found instead of a requested VMAF."""
    scenario, search = result.scenario, result.measurement.rate_search
    encode = scenario.encode
    if search is None or encode is None:
        return scenario
    control: QualityControl = "crf" if search.control == "crf" else "cq"
    rate = encode.rate.with_quality(control, search.setting)
    encode = msgspec.structs.replace(encode, rate=rate)
    return msgspec.structs.replace(scenario, encode=encode)


def _tools(programs: LocalPrograms, encoder: str | None) -> Tools:
    quality_build = identify_build(programs.quality_ffmpeg)
    works = encoder is not None and check_encoder(encoder, programs.ffmpeg).works
    return Tools(
        ffmpeg=programs.ffmpeg.absolute(),
        farm_ffmpeg=programs.ffmpeg.absolute(),
        ffprobe=programs.ffprobe.absolute(),
        quality_ffmpeg=programs.quality_ffmpeg.absolute(),
        ffmpeg_build=identify_build(programs.ffmpeg),
        quality_ffmpeg_build=quality_build,
        encoders=frozenset([encoder] if encoder and works else []),
        vmaf_threads=programs.vmaf_threads,
        min_free_bytes=_MIN_FREE_BYTES,
        agent_version=version("ffmpeg-rtmp-worker"),
        calibration=Calibration(None, programs.quality_ffmpeg.absolute(), quality_build.sha256),
    )


def _fetch(
    source: Source, target: Path, sha256: str, file: Path | None, quality_ffmpeg: Path
) -> str:
    """Place the source at `target`, and return the digest of its content."""
    if file is not None:
        found = _sha256(file)
        if found != sha256:
            raise CommandError(
                f"{file} is not the source: its SHA-256 is {found}, and that of the result {sha256}"
            )
        shutil.copyfile(file, target)
        return found
    if source.synthetic is not None:
        outcome = process.run_process(
            synthetic_source(source.synthetic, quality_ffmpeg.absolute(), target.name),
            cwd=target.parent,
            log=target.parent / "synthetic-source.log",
            deadline_s=source.synthetic.duration_s / _GENERATION_SPEED,
            stop=lambda: False,
        )
        if outcome.stopped_by is not None or outcome.exit_code:
            raise CommandError(f"the source could not be generated:\n{outcome.log_tail}")
        return _sha256(target)
    if source.url is None:
        raise CommandError(
            f"the source {source.file_name} is not in the file of results; name it with --source"
        )
    with _cache(target.parent) as cache:
        cache.fetch(sha256, target, download_url(source.url, UrlAccess()), lambda: None)
    return sha256


@contextmanager
def _cache(folder: Path) -> Iterator[SourceCache]:
    with tempfile.TemporaryDirectory(prefix="download-", dir=folder) as name:
        # The size of a source is limited by the disk, on which a check has required free space.
        yield SourceCache(Path(name), shutil.disk_usage(folder).free - _MIN_FREE_BYTES // 2)
