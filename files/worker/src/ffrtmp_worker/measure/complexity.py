"""How much there is to encode in a source: spatial and temporal information."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from ffrtmp_shared.measurement import SourceMeasurement, Unavailable

from ffrtmp_worker.ffmpeg import command, process
from ffrtmp_worker.ffmpeg.probe import VideoProbe

_LONGEST_S = 10.0
"""As long as the sequences of ITU-T P.910; a whole film would take longer than its encodes."""

_DEADLINE_S = 600.0
# FFmpeg makes a graph twice, and the first, which gets no frame, gives a summary too.
_SUMMARY = re.compile(
    r"Total frames: [1-9]\d*\s+"
    r"Spatial Information:\s+Average: (\S+)\s+Max: (\S+)\s+Min: \S+\s+"
    r"Temporal Information:\s+Average: (\S+)\s+Max: (\S+)"
)


class Complexity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found in the first `characterised_s` seconds; see SourceMeasurement."""

    characterised_s: float
    si_mean: float
    si_max: float
    ti_mean: float
    ti_max: float


def measure_complexity(
    ffmpeg: Path, folder: Path, name: str, duration_s: float, stop: Callable[[], bool]
) -> Complexity | Unavailable:
    """Look at the pictures of the file `name` in `folder`; `duration_s` is how long it is."""
    looked_s = min(duration_s, _LONGEST_S)
    outcome = process.run_process(
        command.complexity_command(ffmpeg, name, looked_s),
        cwd=folder,
        log=folder / "content.log",
        deadline_s=_DEADLINE_S,
        stop=stop,
    )
    found = _SUMMARY.search(outcome.log_tail)
    if outcome.stopped_by is not None or outcome.exit_code or found is None:
        return Unavailable(reason="FFmpeg's filter siti could not look at the source")
    si_mean, si_max, ti_mean, ti_max = (float(value) for value in found.groups())
    return Complexity(
        characterised_s=looked_s, si_mean=si_mean, si_max=si_max, ti_mean=ti_mean, ti_max=ti_max
    )


class ComplexityCache:
    """What was found in sources, kept in a folder by the digests of their content and of FFmpeg."""

    def __init__(self, folder: Path | None, ffmpeg_sha256: str = "") -> None:
        """Keep notes in `folder`; without one, every source is looked at anew."""
        self._folder = folder
        self._ffmpeg_sha256 = ffmpeg_sha256

    def get_or_measure(
        self, sha256: str, look: Callable[[], Complexity | Unavailable]
    ) -> Complexity | Unavailable:
        """Return what is known of the source with this digest, or `look` and note it."""
        if self._folder is None:
            return look()
        note = self._folder / f"content-{sha256}-{self._ffmpeg_sha256}.json"
        try:
            return msgspec.json.decode(note.read_bytes(), type=Complexity)
        except FileNotFoundError:
            pass
        except msgspec.DecodeError:
            # Of another release, or not written to its end.
            note.unlink(missing_ok=True)
        found = look()
        if isinstance(found, Complexity):
            # Slots of a node share the folder.
            part = note.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(msgspec.json.encode(found))
            part.replace(note)
        return found


def source_measurement(probe: VideoProbe, content: Complexity | Unavailable) -> SourceMeasurement:
    """Put together what is reported of a source."""
    looked = (
        dict.fromkeys(Complexity.__struct_fields__, content)
        if isinstance(content, Unavailable)
        else msgspec.structs.asdict(content)
    )
    return SourceMeasurement(
        codec=probe.codec,
        width=probe.width,
        height=probe.height,
        pixel_format=probe.pixel_format,
        frame_rate=probe.frame_rate_text,
        frames=probe.frames,
        duration_s=probe.duration_s,
        **looked,
    )
