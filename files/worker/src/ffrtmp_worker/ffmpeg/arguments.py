"""Parts of FFmpeg's argument lists that several commands have."""

from collections.abc import Sequence
from pathlib import Path

from ffrtmp_shared.scenario import EncodeSettings

from ffrtmp_worker.ffmpeg import encoder_options

# The allowed containers. Playlists and similar formats are excluded: they refer to other files.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ivf,yuv4mpegpipe,mxf"


def demuxers() -> tuple[str, ...]:
    """Return the names of the containers that inputs may have, as FFmpeg names them."""
    return tuple(_DEMUXERS.split(","))


def input_guard() -> list[str]:
    """Return the options that restrict inputs to local files in known containers."""
    return ["-protocol_whitelist", "file", "-format_whitelist", _DEMUXERS]


def stored_stream_guard() -> list[str]:
    """Return the options that restrict an input to a local file with a stored stream."""
    return ["-protocol_whitelist", "file", "-f", "flv"]


def prelude(ffmpeg: Path, period_s: float = 0.5) -> list[str]:
    """Return the program and its general options, with which it prints its progress."""
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-y",
        "-progress", "pipe:1", "-stats_period", f"{period_s:g}", "-nostats",
    ]  # fmt: skip


def source_input(
    threads: int, source: str, stored: Sequence[str], pace: Sequence[str] = ()
) -> list[str]:
    """Return the options of a source that is decoded, with a number of threads.

    `stored` are the options of `container_crop.stored_frames`.
    """
    return [
        "-filter_threads", str(threads), "-xerror",
        *input_guard(), "-threads", str(threads), "-noautorotate", *stored, *pace, "-i", source,
    ]  # fmt: skip


def mapped(stream: str) -> list[str]:
    """Return the options that select a stream without its metadata and keep each of its frames."""
    return [
        "-map", stream, "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1",
        "-fps_mode", "passthrough",
    ]  # fmt: skip


def filtered(settings: EncodeSettings) -> list[str]:
    """Return the options of the filters that the settings need."""
    chain = ",".join(encoder_options.filters(settings))
    return ["-vf", chain] if chain else []
