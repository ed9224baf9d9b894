"""From typed settings to FFmpeg's argument lists. Nothing else in the worker writes arguments.

The lists work with FFmpeg 5.1 and everything after it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ffrtmp_shared.scenario import EncodeSettings

from ffrtmp_worker.ffmpeg import encoder_options

VMAF_MODEL = "vmaf_v0.6.1"
"""The model for pictures of up to 1080 lines on a television; it is built into libvmaf."""

VMAF_4K_MODEL = "vmaf_4k_v0.6.1"
"""The model for pictures of 2160 lines, which it expects to be seen from nearer."""

OUTPUT_NAME = "output.mp4"
"""MP4 carries all of the farm's codecs and, unlike Matroska, keeps time stamps exactly."""

THUMBNAIL_WIDTH = 64
THUMBNAIL_HEIGHT = 36
"""Size of the grey pictures by which the quality pass checks that frames are aligned."""


class ScoreLogs(NamedTuple):
    """The files that the quality pass leaves: libvmaf's JSON, and what two filters write."""

    vmaf: str
    ssim: str
    xpsnr: str


# What a source may be. Play lists and the like name other files and are not among these.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ivf,yuv4mpegpipe,mxf"


def input_guard() -> list[str]:
    """Options that confine what is opened to known containers in local files."""
    return ["-protocol_whitelist", "file", "-format_whitelist", _DEMUXERS]


def encode(settings: EncodeSettings, ffmpeg: Path, source: str, output: str) -> list[str]:
    """The encode of `source` into `output` in one pass, both relative to the folder it is run in.

    Every picture of the source becomes one of the output unless `settings` have a frame rate:
    `passthrough` neither drops nor repeats any. A picture that cannot be decoded ends the
    encode (`-xerror`).
    """
    return _encode(settings, ffmpeg, source, output)


def encode_passes(
    settings: EncodeSettings, ffmpeg: Path, source: str, output: str
) -> list[list[str]]:
    """The one or two passes of an encode, to be run one after the other in the same folder."""
    if settings.rate.passes == 1:
        return [encode(settings, ffmpeg, source, output)]
    return [_encode(settings, ffmpeg, source, output, number) for number in (1, 2)]


def ladder(
    renditions: Sequence[EncodeSettings], ffmpeg: Path, source: str, outputs: Sequence[str]
) -> list[str]:
    """One process that decodes `source` once and encodes it into each of `outputs`.

    `renditions` and `outputs` go together by their order. All have the encoder of the first,
    and the decoder and the filters as many threads as the most of them.
    """
    if len(renditions) != len(outputs):
        raise ValueError(f"{len(renditions)} renditions, but {len(outputs)} outputs")
    threads = max(settings.threads for settings in renditions)
    branches = "".join(f"[s{number}]" for number in range(len(renditions)))
    graph = [f"[0:V:0]split={len(renditions)}{branches}"]
    written = []
    for number, (settings, output) in enumerate(zip(renditions, outputs, strict=True)):
        chain = ",".join(encoder_options.filters(settings)) or "null"
        graph.append(f"[s{number}]{chain}[v{number}]")
        written += [
            *_mapped(f"[v{number}]"),
            *encoder_options.encoder_options(settings),
            *_into(output),
        ]
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(renditions[0].encoder),
        *_source(threads, source),
        "-filter_complex_threads", str(threads), "-filter_complex", ";".join(graph),
        *written,
    ]  # fmt: skip


def decode_timed(threads: int, ffmpeg: Path, source: str) -> list[str]:
    """Decode all of `source` to nothing with `threads` threads of the decoder."""
    return [
        *_prelude(ffmpeg), *_source(threads, source), *_mapped("0:V:0"), "-f", "null", "-"
    ]  # fmt: skip


def stream(settings: EncodeSettings, ffmpeg: Path, source: str) -> list[str]:
    """An encode of `source` at the pace of real time, over and over, whose output is dropped.

    An FFmpeg before 6.1 makes up for a moment in which it was too slow, a later one does not.
    """
    pace = ["-re", "-stream_loop", "-1"]
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(settings.encoder),
        *_source(settings.threads, source, pace), *_mapped("0:V:0"), *_filtered(settings),
        *encoder_options.encoder_options(settings), "-f", "null", "-",
    ]  # fmt: skip


def feed(ffmpeg: Path, source: str) -> list[str]:
    """Play `source` at the pace of real time, over and over, as it is, into standard output.

    Standard output is taken, so progress goes where errors go.
    """
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error",
        "-progress", "pipe:2", "-stats_period", "0.25", "-nostats",
        *input_guard(), "-re", "-stream_loop", "-1", "-i", source,
        "-map", "0:V:0", "-c", "copy", "-f", "nut", "pipe:1",
    ]  # fmt: skip


def broadcast(settings: EncodeSettings, ffmpeg: Path, url: str) -> list[str]:
    """An encode of what is fed to standard input, to the RTMP server's stream `url`.

    The `fifo` between encoder and connection makes a broken connection again, from the next key
    frame on, while the encoder goes on; what does not fit into it meanwhile is lost.
    """
    return [
        *_prelude(ffmpeg, period_s=0.25), *encoder_options.device_options(settings.encoder),
        "-filter_threads", str(settings.threads), "-xerror",
        "-protocol_whitelist", "pipe", "-f", "nut", "-threads", str(settings.threads),
        "-noautorotate", "-i", "pipe:0", *_mapped("0:V:0"), *_filtered(settings),
        *encoder_options.encoder_options(settings), "-flags", "+global_header",
        "-f", "fifo", "-fifo_format", "flv", "-attempt_recovery", "1",
        "-recovery_wait_time", "1", "-drop_pkts_on_overflow", "1", "-restart_with_keyframe", "1",
        "-format_opts", "flvflags=no_duration_filesize:rw_timeout=5000000", url,
    ]  # fmt: skip


def play(ffmpeg: Path, url: str) -> list[str]:
    """Read the stream `url` and write a line for each of its packets as it comes."""
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-v", "error", "-copyts",
        "-protocol_whitelist", "rtmp,tcp", "-format_whitelist", "flv", "-fflags", "nobuffer",
        "-probesize", "32", "-analyzeduration", "0", "-rw_timeout", "5000000", "-i", url,
        "-map", "0:V:0", "-c", "copy", "-f", "framecrc", "-flush_packets", "1", "pipe:1",
    ]  # fmt: skip


def proof(encoder: str, ffmpeg: Path, output: str) -> list[str]:
    """A second of a test picture through `encoder`, at a size that all encoders accept."""
    settings = encoder_options.check_settings(encoder)
    return [
        *_prelude(ffmpeg), *encoder_options.device_options(encoder),
        "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=1",
        *_filtered(settings), *encoder_options.encoder_options(settings), *_into(output),
    ]  # fmt: skip


def decode(ffmpeg: Path, source: str) -> list[str]:
    """Decode `source` and throw the pictures away; fails at the first that is damaged."""
    return [
        *_prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-i", source,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-",
    ]  # fmt: skip


def complexity_command(ffmpeg: Path, source: str, duration_s: float) -> list[str]:
    """Say at the end how much is in the pictures of the first seconds, and how much moves."""
    return [
        *_prelude(ffmpeg), *input_guard(), "-noautorotate", "-t", f"{duration_s:g}", "-i", source,
        *_mapped("0:V:0"), "-vf", "siti=print_summary=1", "-f", "null", "-",
    ]  # fmt: skip


def digest(ffmpeg: Path, source: str) -> list[str]:
    """Decode `source` and write the SHA-256 of its pictures; fails at the first that is damaged."""
    return [
        *_prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-noautorotate", "-i", source,
        "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "hash", "-hash", "sha256", "pipe:1",
    ]  # fmt: skip


def compare(
    ffmpeg: Path,
    *,
    distorted: str,
    reference: str,
    frame_rate: str,
    pixel_format: str,
    size: tuple[int, int] | None,
    model: str,
    threads: int,
    logs: ScoreLogs,
    thumbnails: tuple[str, str],
) -> list[str]:
    """The quality pass: `distorted` against `reference`, frame number by frame number.

    Both get time stamps counted from 0 at `frame_rate` (such as `30000/1001`), because the
    stamps of two containers differ by rounding, which would pair wrong frames. `shortest` ends
    the pass with the shorter of the two instead of repeating its last frame. A distorted of
    another size is brought to `size`, the reference's (width, height). Beside `model` its
    variant that gives nothing for enhancement (NEG) is measured, and PSNR and SSIM; and SSIM and
    XPSNR as FFmpeg's own filters define them. `thumbnails` are raw grey pictures of every frame
    of the distorted and of the reference.
    """
    num, _, den = frame_rate.partition("/")
    number = f"settb={den or 1}/{num},setpts=N"
    small = f"scale={THUMBNAIL_WIDTH}:{THUMBNAIL_HEIGHT}:flags=area,format=gray"
    fitted = "" if size is None else f"scale={size[0]}:{size[1]}:flags=bicubic,"
    graph = (
        f"[0:V:0]{number},split[d][d0];[1:V:0]{number},split[r][r0];"
        f"[d]{fitted}format={pixel_format},split=3[d1][d3][d4];"
        f"[r]format={pixel_format},split=3[r1][r3][r4];"
        f"[d1][r1]libvmaf=model='version={model}\\:name=vmaf|version={model}neg\\:name=vmaf_neg'"
        f":feature='name=psnr|name=float_ssim':n_threads={threads}"
        f":log_fmt=json:log_path={logs.vmaf}:shortest=1[v];"
        f"[d3][r3]ssim=stats_file={logs.ssim}:shortest=1[s];"
        f"[d4][r4]xpsnr=stats_file={logs.xpsnr}:shortest=1[x];"
        f"[d0]{small}[d2];[r0]{small}[r2]"
    )
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
