"""Text of a new suite for some clips, encoders and bit rates."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARACTERS_MAX = 60


@dataclass(frozen=True)
class SuiteClip:
    """A clip of a suite: its path and its digest."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class EncodeChoice:
    """An encoder with a preset, which is None for the default of the encoder."""

    encoder: str
    preset: str | None

    @property
    def name(self) -> str:
        """The name of the encode, such as `x264-medium`."""
        short = self.encoder.removeprefix("lib")
        return _safe(short if self.preset is None else f"{short}-{self.preset}")

    @classmethod
    def of(cls, text: str) -> "EncodeChoice":
        """Return the choice that a text such as `libx264:medium` stands for."""
        encoder, _, preset = text.partition(":")
        return cls(encoder, preset or None)


def suite_text(
    name: str,
    clips: Sequence[SuiteClip],
    encodes: Sequence[EncodeChoice],
    bitrates_kbps: Sequence[int],
    *,
    repeats: int,
    directory: Path,
) -> str:
    """Return the YAML text of a suite.

    Args:
        name: Name of the suite.
        clips: The clips, whose paths become relative to `directory`.
        encodes: The encoders with their presets.
        bitrates_kbps: The bit rates, in kbit/s.
        repeats: Number of times that each scenario is measured.
        directory: Directory of the suite's file.
    """
    lines = [
        "# docs/suites.md describes all keys. Check the suite before you run it: ffrtmp suite plan",
        f"name: {_quoted(_safe(name))}",
        "sources:",
    ]
    for number, clip in enumerate(clips):
        stem = _safe(clip.path.stem)
        is_repeated = stem in (_safe(other.path.stem) for other in clips[:number])
        lines += [
            f"  - name: {_quoted(f'{stem}-{number + 1}' if is_repeated else stem)}",
            f"    file: {_quoted(os.path.relpath(clip.path, directory))}",
            f"    sha256: {clip.sha256}",
        ]
    lines.append("encodes:")
    for encode in encodes:
        lines += [f"  - name: {_quoted(encode.name)}", f"    encoder: {_quoted(encode.encoder)}"]
        if encode.preset is not None:
            lines.append(f"    preset: {_quoted(encode.preset)}")
    lines.append("rate_points:")
    lines += [f"  - bitrate_kbps: {bitrate_kbps}" for bitrate_kbps in bitrates_kbps]
    lines += ["placement: each", f"repeats: {repeats}"]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    """Return a text as a name that the API accepts."""
    return _UNSAFE.sub("_", text)[:_NAME_CHARACTERS_MAX].strip("._-") or "clip"


def _quoted(text: str) -> str:
    """Return a string of YAML, whose quoted strings are those of JSON."""
    return json.dumps(text, ensure_ascii=False)
