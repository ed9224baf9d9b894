"""FFmpeg's argument lists for live streams: the feed, the encoder that sends, and the player."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ffrtmp_shared.scenario import EncodeSettings

from ffrtmp_worker.ffmpeg import encoder_options
from ffrtmp_worker.ffmpeg.arguments import filtered, input_guard, mapped, prelude

_OFFSET_MIN_S = 20
"""Least offset of the time stamps of a stored stream; no encoder reorders frames for so long."""

_STORED_QUEUE_PACKETS = 600
"""Packets that a player holds in memory while the disk is busy: ten seconds of 60 frames."""


def feed(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that copies a source repeatedly in real time to standard output.

    Progress goes to standard error, because standard output carries the video.
    """
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error",
        "-progress", "pipe:2", "-stats_period", "0.25", "-nostats",
        *_repeated(source, ["-re"]),
    ]  # fmt: skip


def feed_again(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that copies the same packets as `feed`, but without waiting."""
    return [str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", *_repeated(source)]


def store_feed(ffmpeg: Path, source: str, output: str) -> list[str]:
    """Return the command that stores what `feed` writes for one repetition of a source."""
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-y", *input_guard(), "-i", source,
        "-map", "0:V:0", "-c", "copy", "-f", "nut", output,
    ]  # fmt: skip


def decode_feed(ffmpeg: Path, feed_name: str) -> list[str]:
    """Return the command that decodes a stored feed; it fails if a frame is damaged."""
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-xerror",
        "-protocol_whitelist", "file", "-f", "nut", "-i", feed_name,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-",
    ]  # fmt: skip


def _repeated(source: str, pace: Sequence[str] = ()) -> list[str]:
    return [
        *input_guard(), *pace, "-stream_loop", "-1", "-i", source,
        "-map", "0:V:0", "-c", "copy", "-f", "nut", "pipe:1",
    ]  # fmt: skip


def stream_offset_s(frame_rate: Fraction) -> float:
    """Return the time stamp of the first frame of a stream that is stored, in seconds.

    The FLV muxer shifts time stamps if the first one is negative, as with B-frames, but not after a
    restored connection. With this offset, none is negative, so that the time stamp of each frame
    states its position. The offset is a whole number of frames, because FFmpeg rounds it to frames.
    """
    return float(math.ceil(_OFFSET_MIN_S * frame_rate) / frame_rate)


def broadcast(
    settings: EncodeSettings, ffmpeg: Path, url: str, *, offset_s: float = 0
) -> list[str]:
    """Return the command that encodes standard input and sends it to an RTMP server.

    The `fifo` muxer restores a broken connection and continues with the next key frame.
    Meanwhile the encoder continues; packets that do not fit into the muxer's queue are lost.

    Args:
        settings: The settings of the encode.
        ffmpeg: The FFmpeg to use.
        url: The URL of the stream.
        offset_s: The time stamp of the first frame, in seconds. If it is 0, the first frame may
            have another time stamp, but none is negative.
    """
    return [
        *prelude(ffmpeg, period_s=0.25), *encoder_options.device_options(settings.encoder),
        "-filter_threads", str(settings.threads), "-xerror",
        "-protocol_whitelist", "pipe", "-f", "nut", "-threads", str(settings.threads),
        "-noautorotate", "-i", "pipe:0", *mapped("0:V:0"), *filtered(settings),
        *encoder_options.encoder_options(settings), "-flags", "+global_header",
        *(["-output_ts_offset", f"{offset_s:.6f}"] if offset_s else []),
        "-f", "fifo", "-fifo_format", "flv", "-attempt_recovery", "1",
        "-recovery_wait_time", "1", "-drop_pkts_on_overflow", "1", "-restart_with_keyframe", "1",
        "-format_opts", "flvflags=no_duration_filesize:rw_timeout=5000000", url,
    ]  # fmt: skip


def play(ffmpeg: Path, url: str) -> list[str]:
    """Return the command that reads a stream and writes a line when each packet arrives."""
    return [*_player(ffmpeg, url), "-f", "framecrc", "-flush_packets", "1", "pipe:1"]


def play_and_store(ffmpeg: Path, url: str, file_name: str) -> list[str]:
    """Return the command that also stores the received packets, with their time stamps, as FLV.

    A separate thread writes the file. If the file cannot be written, or too slowly, its packets are
    dropped, and the player continues without delay.

    Args:
        ffmpeg: The FFmpeg to use.
        url: The URL of the stream.
        file_name: The file to write: letters, digits, hyphens and periods.
    """
    lines = "[f=framecrc:flush_packets=1]pipe\\:1"
    queue = f"drop_pkts_on_overflow=1\\\\:queue_size={_STORED_QUEUE_PACKETS}"
    flv = "f=flv:flvflags=no_duration_filesize:flush_packets=1"
    store = f"[{flv}:onfail=ignore:use_fifo=1:fifo_options={queue}]"
    # Without -copytb, FFmpeg before 6 rounds time stamps to the frame rate that it guesses.
    return [*_player(ffmpeg, url), "-copytb", "1", "-f", "tee", f"{lines}|{store}{file_name}"]


def _player(ffmpeg: Path, url: str) -> list[str]:
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-copyts",
        "-protocol_whitelist", "rtmp,tcp", "-format_whitelist", "flv", "-fflags", "nobuffer",
        "-probesize", "32", "-analyzeduration", "0", "-rw_timeout", "5000000", "-i", url,
        "-map", "0:V:0", "-c", "copy",
    ]  # fmt: skip
