"""The user's clip: checks before anything is measured, and the part of it that is examined."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_worker.ffmpeg.packet_list import PacketList
from ffrtmp_worker.ffmpeg.probe import (
    UnreadableFileError,
    VideoProbe,
    list_packets,
    summarize_packets,
)

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.local.ffmpeg_programs import Programs

SHORTEST_S = 1.0
"""Duration of the shortest clip that is measured, in seconds."""

_WINDOW_S = 60.0
# Listing the packets of a longer clip would read the whole file.
_LONGEST_WHOLE_S = 180.0
_TIMEOUT_S = 120.0
_PROTOCOLS = ["-protocol_whitelist", "file"]


@dataclass(frozen=True)
class Clip:
    """A clip that can be measured.

    Attributes:
        name: The name of the user's file.
        file: The file to cut excerpts from: that of the user, or the middle of it.
        probe: The properties of `file`.
        packets: The packets of `file`.
    """

    name: str
    file: Path
    probe: VideoProbe
    packets: PacketList

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return float(self.probe.frame_rate)


def check_file(path: Path) -> None:
    """Raise CommandError if a path is not a file with content that the user can read."""
    remedy = "name the file of a clip"
    try:
        if path.is_dir():
            raise _usage(f"{path} is a directory: {remedy} in it")
        if not path.exists():
            raise CommandError(
                f"{path} does not exist: check the path of the clip or suite", ExitCode.NOT_FOUND
            )
        if not path.is_file():
            raise _usage(
                f"{path} is a pipe or a device, which can be read only once: store its content in "
                f"a file, and {remedy}"
            )
        with path.open("rb") as opened:
            if not opened.read(1):
                raise _usage(f"{path} is empty: {remedy}")
    except OSError as error:
        raise _usage(
            f"{path} cannot be read: {error.strerror}. Change its permissions, or copy it"
        ) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file. Raises CommandError if it cannot be read."""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise _usage(f"{path} cannot be read: {error.strerror}") from error


def open_clip(path: Path, programs: Programs, folder: Path) -> Clip:
    """Examine a clip.

    Args:
        path: The clip.
        programs: FFmpeg and ffprobe.
        folder: A directory for the middle of a long clip.

    Returns:
        The clip.

    Raises:
        CommandError: The file is not a video, or is too short.
    """
    duration_s = _check_streams(path, programs)
    file = path.absolute()
    if duration_s is not None and duration_s > _LONGEST_WHOLE_S:
        file = _cut_window(file, programs, (duration_s - _WINDOW_S) / 2, folder)
    try:
        # The guard of the agent permits fewer containers. The excerpt is stored in one of them.
        found, packets, log = list_packets(programs.ffprobe.path, file, guard=_PROTOCOLS)
        probe = summarize_packets(path.name, found, packets, log)
    except UnreadableFileError as error:
        raise _unreadable(path, str(error)) from error
    if probe.frames / float(probe.frame_rate) < SHORTEST_S:
        raise _usage(
            f"{path} has {probe.frames} frames, less than a second of video, which is too short to "
            "measure. Use a typical part of your video, of 10 to 60 seconds"
        )
    return Clip(path.name, file, probe, packets)


def _check_streams(path: Path, programs: Programs) -> float | None:
    """Return the duration of a clip in seconds, or None if it is unknown.

    Raises CommandError if the file is not a video.
    """
    command = [
        str(programs.ffprobe.path), "-v", "error", *_PROTOCOLS, "-show_entries",
        "stream=codec_type:stream_disposition=attached_pic:format=duration", "-of", "json",
        str(path.absolute()),
    ]  # fmt: skip
    found = _run(command, path)
    if found.returncode:
        raise _unreadable(path, _last_line(found.stderr))
    document = json.loads(found.stdout)
    if not any(
        stream.get("codec_type") == "video"
        and not stream.get("disposition", {}).get("attached_pic")
        for stream in document.get("streams", ())
    ):
        raise _usage(f"{path} has no video (cover images do not count): use a clip with video")
    try:
        return float(document["format"]["duration"])
    except (KeyError, ValueError):
        return None


def _cut_window(file: Path, programs: Programs, start_s: float, folder: Path) -> Path:
    """Copy a part of a clip without encoding it, and return the copy."""
    errors = ""
    for suffix in ("mp4", "mkv"):
        target = folder / f"window.{suffix}"
        command = [
            str(programs.ffmpeg.path), "-v", "error", "-nostdin", "-y", *_PROTOCOLS,
            "-ss", f"{start_s:.3f}", "-i", str(file), "-map", "0:V:0", "-c", "copy",
            "-t", f"{_WINDOW_S:g}", "-avoid_negative_ts", "make_zero", str(target),
        ]  # fmt: skip
        found = _run(command, file)
        if found.returncode == 0:
            return target
        errors = _last_line(found.stderr)
    raise _unreadable(file, errors)


def _run(command: list[str], path: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(path, f"it was not read within {_TIMEOUT_S:g} s") from error


def _last_line(output: bytes) -> str:
    return "".join(output.decode(errors="replace").strip().splitlines()[-1:])


def _usage(message: str) -> CommandError:
    return CommandError(message, ExitCode.USAGE)


def _unreadable(path: Path, reason: str) -> CommandError:
    return _usage(f"{path} cannot be used as a clip: {reason}. Use a file that FFmpeg can play")
