"""The suite of a first look at a clip: an excerpt of the clip, and settings for this computer."""

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ffrtmp_client.progress import duration_text
from ruamel.yaml import YAML

from ffrtmp_cli.local.clip import Clip, file_digest, open_clip
from ffrtmp_cli.local.encoder_speed import (
    EncoderSpeed,
    KnownEncoder,
    measure_speed,
    working_encoders,
)
from ffrtmp_cli.local.excerpt import Excerpt, cut_excerpt
from ffrtmp_cli.local.ffmpeg_programs import Programs
from ffrtmp_cli.local.first_look import (
    WARM_UP_S,
    FirstLook,
    is_too_slow,
    plan_first_look,
)
from ffrtmp_cli.local.frame_size import divided, fitting_size

_ENCODERS = 2
_SAMPLE_S = 1.5
_SMALLEST_HEIGHT = 180
_NAME_CHARACTERS_MAX = 40
_BUSY_RATIO = 1.5


@dataclass(frozen=True)
class ClipSuite:
    """A suite for a clip.

    Attributes:
        text: The suite, as YAML.
        file: The excerpt that the suite measures.
        expected_s: The expected duration of the run, in seconds.
        remarks: What the user needs to know about the suite.
    """

    text: str
    file: Path
    expected_s: float
    remarks: tuple[str, ...]


def make_clip_suite(
    path: Path, programs: Programs, folder: Path, report: Callable[[str], None]
) -> ClipSuite:
    """Adapt the suite of the first look to a clip and to this computer.

    Args:
        path: The clip.
        programs: The programs to measure with.
        folder: The directory for the excerpt.
        report: A function that receives what is being done.

    Raises:
        CommandError: The clip cannot be measured.
    """
    report(f"Examining {path.name}")
    clip = open_clip(path, programs, folder)
    encoders, missing = working_encoders(programs.ffmpeg.path, _ENCODERS)
    remarks = [
        f"{encoder} does not work with {programs.ffmpeg.path}, so it is not measured. To measure "
        "it, use another FFmpeg: --ffmpeg PATH"
        for encoder in missing
    ]
    probe = clip.probe
    size = fitting_size(probe.width, probe.height)
    if size != (probe.width // 2 * 2, probe.height // 2 * 2):
        remarks.append(
            f"The clip has {probe.width}x{probe.height} pixels. It is measured with "
            f"{size[0]}x{size[1]}, because more do not fit into the free memory."
        )
    report("Measuring the speed of the encoders")
    speeds, plan = _measured_plan(clip, programs, encoders, size, folder)
    while is_too_slow(speeds, plan, clip.frame_rate) and size[1] // 2 >= _SMALLEST_HEIGHT:
        size = divided(*size, 2)
        remarks.append(
            f"The clip is measured with {size[0]}x{size[1]} pixels, because a run with more would "
            "take longer than three minutes on this computer. To measure it as it is, use a suite."
        )
        speeds, plan = _measured_plan(clip, programs, encoders, size, folder)
    excerpt = cut_excerpt(clip, programs, plan.frames, size, folder / "excerpt")
    if excerpt.remarks:
        remarks.append(
            f"The clip was decoded and stored again without loss: {', '.join(excerpt.remarks)}."
        )
    remarks.append(_excerpt_text(clip, excerpt))
    if plan.expected_s > _BUSY_RATIO * plan.idle_s:
        remarks.append(
            "Other programs use the processor. On an idle computer, the run takes about "
            f"{duration_text(plan.idle_s)}."
        )
    text = _suite_text(path, excerpt, speeds, plan)
    return ClipSuite(text, excerpt.file, plan.expected_s, tuple(remarks))


def _measured_plan(
    clip: Clip,
    programs: Programs,
    encoders: list[KnownEncoder],
    size: tuple[int, int],
    folder: Path,
) -> tuple[list[EncoderSpeed], FirstLook]:
    cpu_count = len(os.sched_getaffinity(0))
    frames = round(_SAMPLE_S * clip.frame_rate)
    sample = cut_excerpt(clip, programs, frames, size, folder / "sample")
    duration_s = sample.frames / clip.frame_rate
    speeds = [
        measure_speed(known, programs.ffmpeg.path, sample.file, duration_s, cpu_count)
        for known in encoders
    ]
    sample.file.unlink()
    return speeds, plan_first_look(speeds, clip.frame_rate, cpu_count)


def _excerpt_text(clip: Clip, excerpt: Excerpt) -> str:
    seconds = excerpt.frames / clip.frame_rate
    if excerpt.frames > clip.probe.frames:
        return f"{seconds:.1f} s are encoded, a loop of the clip."
    return f"{seconds:.1f} s from the middle of the clip are encoded."


def _suite_text(path: Path, excerpt: Excerpt, speeds: list[EncoderSpeed], plan: FirstLook) -> str:
    suite = YAML(typ="safe").load(
        resources.files("ffrtmp_cli.local").joinpath("first-look.yml").read_text("utf-8")
    )
    suite["description"] = "Two encoders at four bit rates, adapted to the clip and this computer"
    suite["sources"] = [
        {
            "name": _source_name(path),
            "file": excerpt.file.name,
            "sha256": file_digest(excerpt.file),
        }
    ]
    suite["encodes"] = [
        {"name": speed.known.name, "encoder": speed.known.encoder, "preset": preset}
        for speed, preset in zip(speeds, plan.presets, strict=True)
    ]
    suite["rate_points"] = [{"bitrate_kbps": rate} for rate in plan.bitrates_kbps]
    suite["warm_up_s"] = WARM_UP_S
    yaml = YAML()
    yaml.default_flow_style = False
    text = io.StringIO()
    yaml.dump(suite, text)
    return text.getvalue()


def _source_name(path: Path) -> str:
    """Return a name for the source that suites accept."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem)[:_NAME_CHARACTERS_MAX].strip("._-")
    return name or "clip"
