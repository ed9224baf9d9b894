"""Speed of encoders on this computer, measured with a short encode of each."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import EncodeSettings
from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder

from ffrtmp_cli.errors import CommandError

THREADS = 2
"""Number of threads of an encoder, which is the default of suites."""

_DEADLINE_S = 60.0
# Part of the time in which two threads of an encoder use their CPUs, if nothing else does.
_EFFICIENCY = 0.8


class SlowEncodeError(CommandError):
    """An encode takes so long that its speed is not measured."""


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder of the first look.

    Attributes:
        name: The name of the encode in the suite.
        encoder: FFmpeg's name for the encoder.
        crfs: The rate points, from a quality that most people cannot tell from the source to that
            of a bad connection. The bit rates of the encoders overlap. Unlike with a requested bit
            rate, the encoders write the same bytes in each repeat, so that they are compared once.
            No two encoders have the same one, because it has another meaning for each of them.
        preset: The preset that is tried first.
        costs: The CPU time of each preset relative to that one, from slow to fast. The values are
            typical; they only select a preset.
    """

    name: str
    encoder: str
    crfs: tuple[int, ...]
    preset: str
    costs: Mapping[str, float]


_X26X = {"slow": 1.9, "medium": 1.0, "fast": 0.85, "faster": 0.65, "veryfast": 0.42}

KNOWN_ENCODERS = (
    KnownEncoder(
        "x264",
        "libx264",
        (22, 26, 30, 34),
        "medium",
        {**_X26X, "superfast": 0.28, "ultrafast": 0.16},
    ),
    KnownEncoder(
        "svtav1",
        "libsvtav1",
        (32, 40, 48, 56),
        "8",
        {"6": 2.2, "7": 1.4, "8": 1.0, "9": 0.7, "10": 0.48, "11": 0.37, "12": 0.31},
    ),
    KnownEncoder(
        "x265",
        "libx265",
        (23, 27, 31, 35),
        "fast",
        {"medium": 1.5, "fast": 1.0, "veryfast": 0.7, "superfast": 0.5, "ultrafast": 0.35},
    ),
    KnownEncoder(
        "vp9",
        "libvpx-vp9",
        (29, 37, 45, 53),
        "good-4",
        {"good-3": 1.3, "good-4": 1.0, "good-5": 0.7},
    ),
)
"""The encoders in the order of preference, of which the first look uses two that work."""


@dataclass(frozen=True)
class Sample:
    """A clip to measure the speed of an encoder with, and its duration in seconds."""

    file: Path
    duration_s: float


@dataclass(frozen=True)
class EncoderSpeed:
    """The cost of an encoder with its first preset at its last, fastest rate point.

    If another preset was measured, the costs are divided by the relative cost of that preset.

    Attributes:
        known: The encoder.
        wall_s: The least wall time for a second of video on an idle computer, in seconds.
        slowdown: How many times longer it took, because other programs used the processor.
        cpu_s: The CPU time for a second of video, in seconds.
    """

    known: KnownEncoder
    wall_s: float
    slowdown: float
    cpu_s: float


def working_encoders(ffmpeg: Path, count: int) -> tuple[list[KnownEncoder], list[str]]:
    """Return the first encoders that complete an encode with an FFmpeg, and those that do not.

    Args:
        ffmpeg: The FFmpeg.
        count: The number of encoders.
    """
    found: list[KnownEncoder] = []
    missing: list[str] = []
    for known in KNOWN_ENCODERS:
        if len(found) == count:
            break
        if check_encoder(known.encoder, ffmpeg).works:
            found.append(known)
        else:
            missing.append(known.encoder)
    return found, missing


def measure_speed(
    known: KnownEncoder,
    preset: str,
    ffmpeg: Path,
    sample: Sample,
) -> EncoderSpeed:
    """Encode a sample with an encoder at its last, fastest rate point.

    Args:
        known: The encoder.
        preset: The preset of the encoder.
        ffmpeg: The FFmpeg.
        sample: The sample.

    Raises:
        SlowEncodeError: The encode takes longer than a minute.
        CommandError: The encode failed.
    """
    rate = RatePoint(crf=known.crfs[-1])
    settings = EncodeSettings(encoder=known.encoder, preset=preset, rate=rate, threads=THREADS)
    file, duration_s = sample.file, sample.duration_s
    with tempfile.TemporaryDirectory(prefix="ffrtmp-speed-", dir=file.parent) as name:
        folder = Path(name)
        (folder / file.name).symlink_to(file)
        outcome = process.run_process(
            command.encode(settings, ffmpeg, file.name, command.OUTPUT_NAME),
            cwd=folder,
            log=folder / "encode.log",
            deadline_s=_DEADLINE_S,
            stop=lambda: False,
        )
        if outcome.stopped_by is process.StoppedBy.DEADLINE:
            raise SlowEncodeError(
                f"{known.encoder} does not encode {duration_s:.1f} s of the clip within "
                f"{_DEADLINE_S:g} s: stop other programs, or use a smaller clip"
            )
        if outcome.exit_code:
            last = "".join(outcome.log_tail.strip().splitlines()[-1:])
            raise CommandError(
                f"{known.encoder} cannot encode the clip: {last}. Use another FFmpeg: --ffmpeg "
                "PATH, or convert the clip to H.264 and use the result"
            )
    cpu_s = outcome.user_s + outcome.system_s
    cpus = min(THREADS, len(os.sched_getaffinity(0)))
    wall_s = min(outcome.wall_s, cpu_s / (_EFFICIENCY * cpus))
    cost = known.costs[preset]
    return EncoderSpeed(
        known=known,
        wall_s=wall_s / duration_s / cost,
        slowdown=outcome.wall_s / wall_s,
        cpu_s=cpu_s / duration_s / cost,
    )
