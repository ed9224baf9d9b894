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

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local.clip import Clip, file_digest, open_clip
from ffrtmp_cli.local.encoder_speeds import (
    EncoderSpeed,
    KnownEncoder,
    Sample,
    SlowEncodeError,
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
from ffrtmp_cli.local.frame_size import divided, fast_size, fitting_size

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
    planner = _Planner(clip, programs, encoders, folder)
    fitting, size = size, fast_size(size, clip.frame_rate)
    plan, is_slow = planner.plan(size)
    while is_slow and size[1] // 2 >= _SMALLEST_HEIGHT:
        size = divided(*size, 2)
        plan, is_slow = planner.plan(size)
    if plan is None:
        raise CommandError(
            "the encoders take too long on this computer now: stop other programs, or use a "
            "smaller clip"
        )
    if size != fitting:
        remarks.append(
            f"The clip is measured with {size[0]}x{size[1]} pixels, because a run with more would "
            "take longer than three minutes on this computer. To measure it as it is, use a suite."
        )
    excerpt, plan = planner.excerpt(size, plan)
    if excerpt.remarks:
        remarks.append(f"The clip was decoded and stored again: {', '.join(excerpt.remarks)}.")
    remarks.append(_excerpt_text(clip, excerpt))
    if plan.expected_s > _BUSY_RATIO * plan.idle_s:
        remarks.append(
            "Other programs use the processor. On an idle computer, the run takes about "
            f"{duration_text(plan.idle_s)}."
        )
    text = _suite_text(path, excerpt, encoders, plan)
    return ClipSuite(text, excerpt.file, plan.expected_s, tuple(remarks))


class _Planner:
    """Measures the speed of encoders with parts of a clip, and chooses settings for it."""

    def __init__(
        self, clip: Clip, programs: Programs, encoders: list[KnownEncoder], folder: Path
    ) -> None:
        self._clip = clip
        self._programs = programs
        self._encoders = encoders
        self._folder = folder
        self._cpu_count = len(os.sched_getaffinity(0))

    def plan(self, size: tuple[int, int]) -> tuple[FirstLook | None, bool]:
        """Return settings for frames of a size, and whether they take too long nevertheless.

        There are no settings if a short encode takes longer than a minute.
        """
        sample = self._cut(round(_SAMPLE_S * self._clip.frame_rate), size, "sample")
        try:
            speeds = [self._speed(known, known.preset, sample) for known in self._encoders]
        except SlowEncodeError:
            return None, True
        sample.file.unlink()
        plan = plan_first_look(speeds, self._clip.frame_rate, self._cpu_count)
        return plan, is_too_slow(plan, self._clip.frame_rate)

    def excerpt(self, size: tuple[int, int], plan: FirstLook) -> tuple[Excerpt, FirstLook]:
        """Return the excerpt to measure, and the settings with its duration.

        The first measurement is that of a short sample with another preset. This one is that of the
        fastest encodes of the run, which have the chosen presets.
        """
        excerpt = self._cut(plan.frames, size, "excerpt")
        speeds = [
            self._speed(known, preset, excerpt)
            for known, preset in zip(self._encoders, plan.presets, strict=True)
        ]
        corrected = plan_first_look(speeds, self._clip.frame_rate, self._cpu_count, plan.presets)
        return self._cut(corrected.frames, size, "excerpt"), corrected

    def _cut(self, frames: int, size: tuple[int, int], name: str) -> Excerpt:
        return cut_excerpt(self._clip, self._programs, frames, size, self._folder / name)

    def _speed(self, known: KnownEncoder, preset: str, excerpt: Excerpt) -> EncoderSpeed:
        sample = Sample(excerpt.file, excerpt.frames / self._clip.frame_rate)
        return measure_speed(known, preset, self._programs.ffmpeg.path, sample)


def _excerpt_text(clip: Clip, excerpt: Excerpt) -> str:
    seconds = excerpt.frames / clip.frame_rate
    if excerpt.frames > clip.probe.frames:
        return f"{seconds:.1f} s are encoded, a loop of the clip."
    return f"{seconds:.1f} s from the middle of the clip are encoded."


def _suite_text(path: Path, excerpt: Excerpt, encoders: list[KnownEncoder], plan: FirstLook) -> str:
    suite = YAML(typ="safe").load(
        resources.files("ffrtmp_cli.local").joinpath("first-look.yml").read_text("utf-8")
    )
    suite["description"] = "Two encoders at four qualities, adapted to the clip and this computer"
    suite["sources"] = [
        {
            "name": _source_name(path),
            "file": excerpt.file.name,
            "sha256": file_digest(excerpt.file),
        }
    ]
    suite["encodes"] = [
        {
            "name": known.name,
            "encoder": known.encoder,
            "preset": preset,
            "rate_points": [{"crf": crf} for crf in known.crfs],
        }
        for known, preset in zip(encoders, plan.presets, strict=True)
    ]
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
