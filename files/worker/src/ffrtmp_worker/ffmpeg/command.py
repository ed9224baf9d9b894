"""FFmpeg's argument lists, built from typed settings.

This package is the only place in the worker that builds arguments for FFmpeg. The lists work with
FFmpeg 5.1 and later. Unless stated otherwise, file names are relative to the working directory of
the command.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ffrtmp_shared.scenario import EncodeSettings

from ffrtmp_worker.ffmpeg import encoder_options

VMAF_MODEL = "vmaf_v0.6.1"
"""The VMAF model for frames of up to 1080 lines on a television; it is built into libvmaf."""

VMAF_4K_MODEL = "vmaf_4k_v0.6.1"
"""The VMAF model for frames of 2160 lines, which assumes a shorter viewing distance."""

OUTPUT_NAME = "output.mp4"
"""Name of an output. MP4 supports all codecs of the farm and, unlike Matroska, stores exact time
stamps."""


_OFFSET_MIN_S = 20
"""Least offset of the time stamps of a stored stream; no encoder reorders frames for so long."""

_STORED_QUEUE_PACKETS = 600
"""Packets that a player holds in memory while the disk is busy: ten seconds of 60 frames."""

# The allowed containers. Playlists and similar formats are excluded: they refer to other files.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ivf,yuv4mpegpipe,mxf"


def input_guard() -> list[str]:
    """Return the options that restrict inputs to local files in known containers."""
    return ["-protocol_whitelist", "file", "-format_whitelist", _DEMUXERS]


def stored_stream_guard() -> list[str]:
    """Return the options that restrict an input to a local file with a stored stream."""
    return ["-protocol_whitelist", "file", "-f", "flv"]


def encode(settings: EncodeSettings, ffmpeg: Path, source: str, output: str) -> list[str]:
    """Return the command of an encode in a single pass.

    Unless `settings` contain a frame rate, every frame of the source becomes one frame of the
    output, because `passthrough` neither drops nor repeats frames. If a frame cannot be decoded,
    the encode fails (`-xerror`).

    Args:
        settings: The settings of the encode.
        ffmpeg: The FFmpeg to use.
        source: The source.
        output: The file to write.
    """
    return _encode(settings, ffmpeg, source, output)


def encode_passes(
    settings: EncodeSettings, ffmpeg: Path, source: str, output: str
) -> list[list[str]]:
    """Return the commands of an encode in one or two passes.

    The commands have to be run one after the other in the same working directory.

    Args:
        settings: The settings of the encode, including the number of passes.
        ffmpeg: The FFmpeg to use.
        source: The source.
        output: The file to write.
    """
    if settings.rate.passes == 1:
        return [encode(settings, ffmpeg, source, output)]
    return [_encode(settings, ffmpeg, source, output, number) for number in (1, 2)]


def ladder(
    renditions: Sequence[EncodeSettings], ffmpeg: Path, source: str, outputs: Sequence[str]
) -> list[str]:
    """Return the command that decodes a source once and encodes several renditions of it.

    Args:
        renditions: The settings of the renditions, which all have the same encoder. The decoder and
            the filters use the largest number of threads of all renditions.
        ffmpeg: The FFmpeg to use.
        source: The source.
        outputs: The files to write, in the order of `renditions`.

    Raises:
        ValueError: The numbers of renditions and outputs differ.
    """
    if len(renditions) != len(outputs):
        raise ValueError(f"{len(renditions)} renditions, but {len(outputs)} outputs")
    threads = max(settings.threads for settings in renditions)
    branches = "".join(f"[s{number}]" for number in range(len(renditions)))
    graph = [f"[0:V:0]split={len(renditions)}{branches}"]
    output_options = []
    for number, (settings, output) in enumerate(zip(renditions, outputs, strict=True)):
        chain = ",".join(encoder_options.filters(settings)) or "null"
        graph.append(f"[s{number}]{chain}[v{number}]")
        output_options += [
            *_mapped(f"[v{number}]"),
            *encoder_options.encoder_options(settings),
            *_into(output),
        ]
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(renditions[0].encoder),
        *_source(threads, source),
        "-filter_complex_threads", str(threads), "-filter_complex", ";".join(graph),
        *output_options,
    ]  # fmt: skip


def decode_timed(threads: int, ffmpeg: Path, source: str) -> list[str]:
    """Return the command that decodes a source and discards the frames.

    Args:
        threads: The number of threads of the decoder.
        ffmpeg: The FFmpeg to use.
        source: The source.
    """
    return [
        *_prelude(ffmpeg), *_source(threads, source), *_mapped("0:V:0"), "-f", "null", "-"
    ]  # fmt: skip


def stream(settings: EncodeSettings, ffmpeg: Path, source: str) -> list[str]:
    """Return the command that encodes a source repeatedly in real time and discards the output.

    If an encode falls behind, FFmpeg before 6.1 catches up afterwards; later versions do not.

    Args:
        settings: The settings of the encode.
        ffmpeg: The FFmpeg to use.
        source: The source.
    """
    pace = ["-re", "-stream_loop", "-1"]
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(settings.encoder),
        *_source(settings.threads, source, pace), *_mapped("0:V:0"), *_filtered(settings),
        *encoder_options.encoder_options(settings), "-f", "null", "-",
    ]  # fmt: skip


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
        *_prelude(ffmpeg, period_s=0.25), *encoder_options.device_options(settings.encoder),
        "-filter_threads", str(settings.threads), "-xerror",
        "-protocol_whitelist", "pipe", "-f", "nut", "-threads", str(settings.threads),
        "-noautorotate", "-i", "pipe:0", *_mapped("0:V:0"), *_filtered(settings),
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


def proof(encoder: str, ffmpeg: Path, output: str) -> list[str]:
    """Return the command that encodes a second of a test pattern, in a size for every encoder.

    Args:
        encoder: The name of a supported encoder.
        ffmpeg: The FFmpeg to use.
        output: The file to write.
    """
    settings = encoder_options.check_settings(encoder)
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(encoder),
        "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=1",
        *_filtered(settings), *encoder_options.encoder_options(settings), *_into(output),
    ]  # fmt: skip


def decode(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that decodes a whole source; it fails if a frame is damaged."""
    return [
        *_prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-i", source,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-",
    ]  # fmt: skip


def complexity_command(ffmpeg: Path, source: str, duration_s: float) -> list[str]:
    """Return the command that logs a summary of the spatial and temporal information of a source.

    Args:
        ffmpeg: The FFmpeg to use.
        source: The source.
        duration_s: The duration to analyze, from the start of the source, in seconds.
    """
    return [
        *_prelude(ffmpeg), *input_guard(), "-noautorotate", "-t", f"{duration_s:g}", "-i", source,
        *_mapped("0:V:0"), "-vf", "siti=print_summary=1", "-f", "null", "-",
    ]  # fmt: skip


def digest(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that prints the SHA-256 of all frames; it fails if a frame is damaged."""
    return [
        *_prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-noautorotate", "-i", source,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "hash", "-hash", "sha256", "pipe:1",
    ]  # fmt: skip


def compare(
    ffmpeg: Path, *, distorted: str, reference: str, graph: str, thumbnails: tuple[str, str]
) -> list[str]:
    """Return the command of the quality pass, which compares two files by frame number.

    Args:
        ffmpeg: The FFmpeg to use, with libvmaf.
        distorted: The output of the encode.
        reference: The source.
        graph: The filter graph, with the outputs v, s and x (scores), d2 and r2 (thumbnails).
        thumbnails: The files that receive raw gray thumbnails of every frame of `distorted` and of
            `reference`.
    """
    return [
        *_prelude(ffmpeg), "-xerror",
        *input_guard(), "-noautorotate", "-i", distorted,
        *input_guard(), "-noautorotate", "-i", reference,
        "-filter_complex", graph,
        *(word for label in ("[v]", "[s]", "[x]")
          for word in ("-map", label, "-fps_mode", "passthrough", "-f", "null", "-")),
        "-map", "[d2]", "-fps_mode", "passthrough", "-f", "rawvideo", thumbnails[0],
        "-map", "[r2]", "-fps_mode", "passthrough", "-f", "rawvideo", thumbnails[1],
    ]  # fmt: skip


def compare_received(
    ffmpeg: Path,
    *,
    received: str,
    frame_rate: Fraction,
    graph: str,
    thumbnails: tuple[str, str],
    time_stamps: tuple[str, str],
) -> list[str]:
    """Return the command that compares a stored stream with the source from standard input.

    Damaged frames are compared as a player shows them.

    Args:
        ffmpeg: The FFmpeg to use, with libvmaf.
        received: The stored stream.
        frame_rate: The frame rate of the stream, which is the unit of the listed time stamps.
        graph: The filter graph, with the outputs v, s and x (scores), d2 and r2 (thumbnails), and
            d3 and r3 (thumbnails whose time stamps are listed).
        thumbnails: The files that receive raw gray thumbnails of every frame of the stream and of
            the source.
        time_stamps: The files that receive a line with the time stamp of each of these frames.
    """
    passthrough = ["-fps_mode", "passthrough"]
    unit = f"{frame_rate.denominator}:{frame_rate.numerator}"
    return [
        *_prelude(ffmpeg), "-copyts", *stored_stream_guard(), "-i", received,
        "-protocol_whitelist", "pipe", "-f", "nut", "-noautorotate", "-i", "pipe:0",
        "-filter_complex", graph,
        *(word for label in ("[v]", "[s]", "[x]")
          for word in ("-map", label, *passthrough, "-f", "null", "-")),
        *(word for label, file in zip(("[d2]", "[r2]"), thumbnails, strict=True)
          for word in ("-map", label, *passthrough, "-f", "rawvideo", file)),
        *(word for label, file in zip(("[d3]", "[r3]"), time_stamps, strict=True)
          for word in ("-map", label, *passthrough, "-enc_time_base", unit,
                       "-f", "framecrc", file)),
    ]  # fmt: skip


def calibrate(ffmpeg: Path, *, size: str, frames: int, graph: str) -> list[str]:
    """Return the command that compares a generated clip with a distorted copy of itself.

    Args:
        ffmpeg: The FFmpeg to use, with libvmaf.
        size: The size of the clip, as WIDTHxHEIGHT.
        frames: The number of frames.
        graph: The filter graph, with the outputs v, s and x (scores).
    """
    return [
        *_prelude(ffmpeg), "-xerror",
        "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={frames / 25:g}",
        "-filter_complex", graph,
        *(word for label in ("[v]", "[s]", "[x]")
          for word in ("-map", label, "-fps_mode", "passthrough", "-f", "null", "-")),
    ]  # fmt: skip


def _prelude(ffmpeg: Path, period_s: float = 0.5) -> list[str]:
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-y",
        "-progress", "pipe:1", "-stats_period", f"{period_s:g}", "-nostats",
    ]  # fmt: skip


def _encode(
    settings: EncodeSettings, ffmpeg: Path, source: str, output: str, number: int = 0
) -> list[str]:
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(settings.encoder),
        *_source(settings.threads, source), *_mapped("0:V:0"), *_filtered(settings),
        *encoder_options.encoder_options(settings, number),
        *(["-f", "null", "-"] if number == 1 else _into(output)),
    ]  # fmt: skip


def _source(threads: int, source: str, pace: Sequence[str] = ()) -> list[str]:
    return [
        "-filter_threads", str(threads), "-xerror",
        *input_guard(), "-threads", str(threads), "-noautorotate", *pace, "-i", source,
    ]  # fmt: skip


def _mapped(stream: str) -> list[str]:
    return [
        "-map", stream, "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1",
        "-fps_mode", "passthrough",
    ]  # fmt: skip


def _filtered(settings: EncodeSettings) -> list[str]:
    chain = ",".join(encoder_options.filters(settings))
    return ["-vf", chain] if chain else []


def _into(output: str) -> list[str]:
    return ["-f", "mp4", output]
