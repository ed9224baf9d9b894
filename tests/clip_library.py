"""The library of unusual clips: generation and expected outcomes, from clips.yml.

`python tests/clip_library.py` generates all clips in .cache/clips and lists them. A clip whose
definition and whose FFmpeg have not changed is not generated again.
"""

import argparse
import fcntl
import hashlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DATA_FILE = ROOT / "tests" / "clips.yml"
CACHE = ROOT / ".cache" / "clips"

KINDS = ("transcode", "ladder", "decode", "density", "live")
_STREAMED = ("density", "live")

_RELEASE = 1
"""Release of this module's code that generates clips; clips of other releases are not used."""

_OPTIONS = {
    "picture": "-f lavfi -i testsrc=size=160x90:rate=25:duration=1.6",
    "x264": "-c:v libx264 -preset veryfast -crf 18 -g 25 -pix_fmt yuv420p",
    "x265": "-c:v libx265 -preset ultrafast -x265-params log-level=error",
    "vp9": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k",
    "av1": "-c:v libsvtav1 -preset 12 -crf 35",
    "bt709": "-colorspace bt709 -color_primaries bt709 -color_trc bt709",
}

# Identifiers of Matroska's elements.
_DISPLAY_UNIT_PARENT = bytes([0x55, 0xB0])
"""The element Colour. Its place is used for a crop, so that no other element moves."""

_CROP_BOTTOM, _CROP_RIGHT, _VOID = bytes([0x54, 0xAA]), bytes([0x54, 0xDD]), bytes([0xEC])
_DEFAULT_DURATION = bytes([0x23, 0xE3, 0x83])
_CROP_LINES, _CROP_COLUMNS = 8, 16


@dataclass(frozen=True)
class Outcome:
    """The expected outcome of a job of one kind: a rejection, or the values that it measures."""

    rejected: str
    failure_class: str
    frames: int
    rate: str
    duration_s: float
    size: tuple[int, int]
    pixel_format: str
    quality: str
    note: str
    model: str


@dataclass(frozen=True)
class Clip:
    """A clip of the library: its definition in clips.yml with the defaults."""

    definition: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.definition["id"])

    @property
    def section(self) -> str:
        return str(self.definition["section"])

    @property
    def title(self) -> str:
        return str(self.definition["title"])

    @property
    def file_name(self) -> str:
        return str(self.definition["file"])

    @property
    def is_fast(self) -> bool:
        """Return whether the tests that are not deep include a transcode of the clip."""
        return bool(self.definition.get("fast", False))

    @property
    def is_heavy(self) -> bool:
        """Return whether encoding the clip in real time needs more than a small computer."""
        return bool(self.definition.get("heavy", False))

    @property
    def width_height(self) -> tuple[int, int]:
        width, _, height = str(self.definition["size"]).partition("x")
        return int(width), int(height)

    def outcome(self, kind: str) -> Outcome:
        """Return the expected outcome of a job of a kind."""
        found = self.definition
        rejected, failure_class = "", found.get("class", "source_unreadable")
        if "rejected" in found and kind in found.get("kinds", KINDS):
            rejected = found["rejected"]
        elif "streams" in found and kind in _STREAMED:
            rejected, failure_class = found["streams"], "source_unreadable"
        elif "live" in found and kind == "live":
            rejected, failure_class = found["live"], "source_unreadable"
        return Outcome(
            rejected=rejected,
            failure_class=failure_class,
            frames=found["frames"],
            rate=found["rate"],
            duration_s=found["duration_s"],
            size=self.width_height,
            pixel_format=found["pixel_format"],
            quality=found.get("quality", ""),
            note=found.get("note", ""),
            model=found.get("model", "vmaf_v0.6.1"),
        )


def load_clips() -> list[Clip]:
    """Return all clips of the library in their order."""
    data = yaml.safe_load(DATA_FILE.read_text(encoding="utf-8"))
    return [
        Clip(data["defaults"] | {"section": section["title"]} | entry)
        for section in data["sections"]
        for entry in section["clips"]
    ]


def page_tables(clips: Iterable[Clip]) -> str:
    """Return the tables of docs/clips.md: a heading and a table for each section."""
    lines: list[str] = []
    for title, members in itertools.groupby(clips, lambda clip: clip.section):
        lines += [f"## {title}", "", "| clip | what the farm does |", "|---|---|"]
        lines += [f"| {clip.title} | {_outcome_text(clip)} |" for clip in members]
        lines.append("")
    return "\n".join(lines)


def _outcome_text(clip: Clip) -> str:
    kinds = {kind: clip.outcome(kind) for kind in KINDS}
    by_message: dict[str, list[str]] = {}
    for kind, outcome in kinds.items():
        if outcome.rejected:
            by_message.setdefault(outcome.rejected, []).append(f"`{kind}`")
    if list(by_message.values()) == [[f"`{kind}`" for kind in KINDS]]:
        return f'rejects it: "{next(iter(by_message))} …"'
    found = kinds["transcode"]
    width, height = found.size
    parts = []
    if not all(outcome.rejected for outcome in kinds.values()):
        frames = "1 frame" if found.frames == 1 else f"{found.frames} frames"
        parts.append(
            f"measures {frames} of {width}x{height} at {found.rate} per "
            f"second, {found.duration_s:.3f} s"
        )
    if found.quality:
        parts.append(f'no quality: "{found.quality}"')
    if found.note:
        parts.append(f'reports: "{found.note}"')
    parts += [f'{", ".join(names)}: "{text} …"' for text, names in by_message.items()]
    return "; ".join(parts)


def find_programs() -> dict[str, Path]:
    """Return the FFmpegs that generate clips, by their names in clips.yml."""
    pinned = os.environ.get("FFRTMP_TEST_FFMPEG", ROOT / ".cache" / "ffmpeg" / "ffmpeg")
    return {"pinned": Path(pinned), "distribution": Path(shutil.which("ffmpeg") or "ffmpeg")}


def generate(clip: Clip, folder: Path = CACHE, programs: Mapping[str, Path] | None = None) -> Path:
    """Return the file of a clip, which is generated unless the folder has it.

    Raises subprocess.CalledProcessError if FFmpeg fails.
    """
    ffmpeg = (programs or find_programs())[clip.definition.get("ffmpeg", "pinned")]
    place = folder / _digest(clip, ffmpeg)
    file = place / clip.file_name
    with _locked(folder, place.name):
        if not file.exists():
            unfinished = folder / f"unfinished-{place.name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            made = _run_steps(clip, ffmpeg, unfinished)
            place.mkdir(exist_ok=True)
            made.rename(file)
            shutil.rmtree(unfinished)
    return file


def _digest(clip: Clip, ffmpeg: Path) -> str:
    keys = ("file", "steps", "change", "change-first", "ffmpeg")
    definition = {key: clip.definition.get(key) for key in keys}
    text = json.dumps([_RELEASE, definition, _OPTIONS, _version(ffmpeg)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def _version(ffmpeg: Path) -> str:
    done = subprocess.run([ffmpeg, "-version"], check=True, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run_steps(clip: Clip, ffmpeg: Path, folder: Path) -> Path:
    suffix = Path(clip.file_name).suffix
    steps = clip.definition.get("steps", [])
    file = folder / f"0{suffix}"
    change_first = clip.definition.get("change-first", "")
    for number, step in enumerate(steps):
        # A crop can be written only to Matroska, from which FFmpeg copies it.
        is_changed = bool(change_first) and number < len(steps) - 1
        made = folder / f"{number + 1}{'.mkv' if is_changed else suffix}"
        still = folder / "still.png"
        if "{still}" in step:
            picture = "-f lavfi -i testsrc2=size=96x96:rate=1 -frames:v 1"
            _run_ffmpeg(ffmpeg, shlex.split(picture), still)
        values = {"previous": str(file), "still": str(still)}
        words = [word.format(**values) for word in shlex.split(_with_options(step), comments=False)]
        _run_ffmpeg(ffmpeg, words, made)
        file = made
        if is_changed:
            file.write_bytes(_changed(file.read_bytes(), change_first))
    if "change" in clip.definition:
        content = file.read_bytes() if steps else b""
        file.write_bytes(_changed(content, clip.definition["change"]))
    return file


def _with_options(step: str) -> str:
    for name, options in _OPTIONS.items():
        step = step.replace(f"{{{name}}}", options)
    return step


def _run_ffmpeg(ffmpeg: Path, words: list[str], target: Path) -> None:
    command = [str(ffmpeg), "-nostdin", "-v", "error", "-y", *words, "-fflags", "+bitexact"]
    done = subprocess.run([*command, str(target)], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(f"{shlex.join(command)}\n{done.stderr}")
        done.check_returncode()


def _changed(content: bytes, change: str) -> bytes:
    """Return the content of a clip with a change of clips.yml: its name and its argument."""
    name, _, argument = change.partition(" ")
    match name:
        case "truncate":
            return content[: int(len(content) * float(argument))]
        case "text":
            return b"This is not a video.\n" * int(argument)
        case "matroska-crop":
            return _with_crop(content)
        case "matroska-frame-duration":
            return _with_frame_duration(content, int(argument))
        case "matroska-without-frame-duration":
            start = content.index(_DEFAULT_DURATION)
            length = len(_DEFAULT_DURATION) + 1 + (content[start + 3] & 0x7F)
            return content[:start] + _void(length) + content[start + length :]
    raise ValueError(f"clips.yml has the unknown change {change!r}")


def _void(length: int) -> bytes:
    """Return an element without meaning of this length, at least 2 bytes."""
    return _VOID + bytes([0x80 | (length - 2)]) + bytes(length - 2)


def _with_crop(content: bytes) -> bytes:
    """Return a Matroska file whose element Colour is replaced by a crop at the bottom and right."""
    start = content.index(_DISPLAY_UNIT_PARENT)
    length = 3 + (content[start + 2] & 0x7F)
    crop = _CROP_BOTTOM + bytes([0x81, _CROP_LINES]) + _CROP_RIGHT + bytes([0x81, _CROP_COLUMNS])
    return content[:start] + crop + _void(length - len(crop)) + content[start + length :]


def _with_frame_duration(content: bytes, duration_ns: int) -> bytes:
    """Return a Matroska file whose header states another duration of a frame."""
    start = content.index(_DEFAULT_DURATION)
    length = content[start + 3] & 0x7F
    value = duration_ns.to_bytes(length, "big")
    return content[: start + 4] + value + content[start + 4 + length :]


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the library of unusual clips.")
    parser.add_argument("--folder", type=Path, default=CACHE, help="folder of the clips")
    parser.add_argument("--page", action="store_true", help="print the tables of docs/clips.md")
    arguments = parser.parse_args()
    if arguments.page:
        sys.stdout.write(page_tables(load_clips()))
        return 0
    folder = arguments.folder
    clips, programs, start_s = load_clips(), find_programs(), time.monotonic()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        files = list(pool.map(lambda clip: generate(clip, folder, programs), clips))
    for clip, file in zip(clips, files, strict=True):
        sys.stdout.write(f"{clip.id:24}{file}\n")
    elapsed_s = time.monotonic() - start_s
    sys.stdout.write(f"{len(clips)} clips were available after {elapsed_s:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
