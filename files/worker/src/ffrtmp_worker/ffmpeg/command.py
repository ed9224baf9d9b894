"""FFmpeg's argument lists, built from typed settings.

This package is the only place in the worker that builds arguments for FFmpeg. The lists work with
FFmpeg 5.1 and later. Unless stated otherwise, file names are relative to the working directory of
the command.
"""

from collections.abc import Sequence
from pathlib import Path

from ffrtmp_shared.scenario import EncodeSettings

from ffrtmp_worker.ffmpeg import encoder_options
from ffrtmp_worker.ffmpeg.arguments import filtered, input_guard, mapped, prelude, source_input

OUTPUT_NAME = "output.mp4"
"""Name of an output. MP4 supports all codecs of the farm and, unlike Matroska, stores exact time
stamps."""


def encode(
    settings: EncodeSettings,
    ffmpeg: Path,
    source: str,
    output: str,
    *,
    stored: Sequence[str] = (),
) -> list[str]:
    """Return the command of an encode in a single pass.

    Unless `settings` contain a frame rate, every frame of the source becomes one frame of the
    output, because `passthrough` neither drops nor repeats frames. If a frame cannot be decoded,
    the encode fails (`-xerror`).

    Args:
        settings: The settings of the encode.
        ffmpeg: The FFmpeg to use.
        source: The source.
        output: The file to write.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.
    """
    return _encode(settings, ffmpeg, source, output, stored=stored)


def encode_passes(
    settings: EncodeSettings,
    ffmpeg: Path,
    source: str,
    output: str,
    *,
    stored: Sequence[str] = (),
) -> list[list[str]]:
    """Return the commands of an encode in one or two passes.

    The commands have to be run one after the other in the same working directory.

    Args:
        settings: The settings of the encode, including the number of passes.
        ffmpeg: The FFmpeg to use.
        source: The source.
        output: The file to write.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.
    """
    numbers = (0,) if settings.rate.passes == 1 else (1, 2)
    return [
        _encode(settings, ffmpeg, source, output, stored=stored, number=number)
        for number in numbers
    ]


def ladder(
    renditions: Sequence[EncodeSettings],
    ffmpeg: Path,
    source: str,
    outputs: Sequence[str],
    *,
    stored: Sequence[str] = (),
) -> list[str]:
    """Return the command that decodes a source once and encodes several renditions of it.

    Args:
        renditions: The settings of the renditions, which all have the same encoder. The decoder and
            the filters use the largest number of threads of all renditions.
        ffmpeg: The FFmpeg to use.
        source: The source.
        outputs: The files to write, in the order of `renditions`.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.

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
            *mapped(f"[v{number}]"),
            *encoder_options.encoder_options(settings),
            *_into(output),
        ]
    return [
        *prelude(ffmpeg), *encoder_options.device_options(renditions[0].encoder),
        *source_input(threads, source, stored),
        "-filter_complex_threads", str(threads), "-filter_complex", ";".join(graph),
        *output_options,
    ]  # fmt: skip


def decode_timed(
    threads: int, ffmpeg: Path, source: str, *, stored: Sequence[str] = ()
) -> list[str]:
    """Return the command that decodes a source and discards the frames.

    Args:
        threads: The number of threads of the decoder.
        ffmpeg: The FFmpeg to use.
        source: The source.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.
    """
    return [
        *prelude(ffmpeg), *source_input(threads, source, stored), *mapped("0:V:0"),
        "-f", "null", "-",
    ]  # fmt: skip


def stream(
    settings: EncodeSettings, ffmpeg: Path, source: str, *, stored: Sequence[str] = ()
) -> list[str]:
    """Return the command that encodes a source repeatedly in real time and discards the output.

    If an encode falls behind, FFmpeg before 6.1 catches up afterwards; later versions do not.

    Args:
        settings: The settings of the encode.
        ffmpeg: The FFmpeg to use.
        source: The source.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.
    """
    pace = ["-re", "-stream_loop", "-1"]
    return [
        *prelude(ffmpeg), *encoder_options.device_options(settings.encoder),
        *source_input(settings.threads, source, stored, pace), *mapped("0:V:0"),
        *filtered(settings),
        *encoder_options.encoder_options(settings), "-f", "null", "-",
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
        *prelude(ffmpeg), *encoder_options.device_options(encoder),
        "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=1",
        *filtered(settings), *encoder_options.encoder_options(settings), *_into(output),
    ]  # fmt: skip


def decode(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that decodes a whole source; it fails if a frame is damaged."""
    return [
        *prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-i", source,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-",
    ]  # fmt: skip


def complexity_command(
    ffmpeg: Path, source: str, duration_s: float, *, stored: Sequence[str] = ()
) -> list[str]:
    """Return the command that logs a summary of the spatial and temporal information of a source.

    Args:
        ffmpeg: The FFmpeg to use.
        source: The source.
        duration_s: The duration to analyze, from the start of the source, in seconds.
        stored: The options of `container_crop.stored_frames` for this FFmpeg.
    """
    # The values of siti are proportional to the largest sample. Dithering would add details.
    one_depth = "scale=sws_dither=none,format=yuv420p"
    return [
        *prelude(ffmpeg), *input_guard(), "-noautorotate", *stored, "-t", f"{duration_s:g}",
        "-i", source,
        *mapped("0:V:0"), "-vf", f"{one_depth},siti=print_summary=1", "-f", "null", "-",
    ]  # fmt: skip


def digest(ffmpeg: Path, source: str) -> list[str]:
    """Return the command that prints the SHA-256 of all frames; it fails if a frame is damaged."""
    return [
        *prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-noautorotate", "-i", source,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "hash", "-hash", "sha256", "pipe:1",
    ]  # fmt: skip


def _encode(
    settings: EncodeSettings,
    ffmpeg: Path,
    source: str,
    output: str,
    *,
    stored: Sequence[str],
    number: int = 0,
) -> list[str]:
    return [
        *prelude(ffmpeg), *encoder_options.device_options(settings.encoder),
        *source_input(settings.threads, source, stored), *mapped("0:V:0"), *filtered(settings),
        *encoder_options.encoder_options(settings, number),
        *(["-f", "null", "-"] if number == 1 else _into(output)),
    ]  # fmt: skip


def _into(output: str) -> list[str]:
    return ["-f", "mp4", output]
