"""From typed settings to FFmpeg's argument lists. Nothing else in the worker writes arguments.

The lists work with FFmpeg 5.1 and everything after it.
"""

from pathlib import Path

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.scenario import EncodeSettings

VMAF_MODEL = "vmaf_v0.6.1"
"""The model that every result is measured with; it is built into libvmaf."""

OUTPUT_NAME = "output.mp4"
"""MP4 carries all of the farm's codecs and, unlike Matroska, keeps time stamps exactly."""

THUMBNAIL_WIDTH = 64
THUMBNAIL_HEIGHT = 36
"""Size of the grey pictures by which the quality pass checks that frames are aligned."""

# What a source may be. Play lists and the like name other files and are not among these.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ivf,yuv4mpegpipe,mxf"

_SVTAV1_GREATEST_LP = 6
_X265_FRAME_THREADS = ((16, 5), (8, 3), (4, 2))


def input_guard() -> list[str]:
    """Options that confine what is opened to known containers in local files."""
    return ["-protocol_whitelist", "file", "-format_whitelist", _DEMUXERS]


def encode(settings: EncodeSettings, ffmpeg: Path, source: str, output: str) -> list[str]:
    """The encode of `source` into `output`, both relative to the folder it is run in.

    Every picture of the source becomes one of the output: `passthrough` neither drops nor
    repeats any. A bit rate is plain one-pass ABR, without a cap or a buffer model. A picture
    that cannot be decoded ends the encode (`-xerror`).
    """
    threads = str(settings.threads)
    return [
        *_prelude(ffmpeg),
        "-filter_threads", threads, "-xerror",
        *input_guard(), "-threads", threads, "-noautorotate", "-i", source,
        "-map", "0:V:0", "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1",
        "-fps_mode", "passthrough",
        *_encoder_options(settings),
        "-f", "mp4", output,
    ]  # fmt: skip


def stream(settings: EncodeSettings, ffmpeg: Path, source: str) -> list[str]:
    """An encode of `source` at the pace of real time, over and over, whose output is dropped.

    An FFmpeg before 6.1 makes up for a moment in which it was too slow, a later one does not.
    """
    threads = str(settings.threads)
    return [
        *_prelude(ffmpeg),
        "-filter_threads", threads, "-xerror",
        *input_guard(), "-threads", threads, "-noautorotate", "-re", "-stream_loop", "-1",
        "-i", source,
        "-map", "0:V:0", "-an", "-sn", "-dn",
        "-fps_mode", "passthrough",
        *_encoder_options(settings),
        "-f", "null", "-",
    ]  # fmt: skip


def proof(encoder: str, ffmpeg: Path, output: str) -> list[str]:
    """A second of a test picture through `encoder`, at a size that all encoders accept."""
    known = ENCODERS[encoder]
    return [
        *_prelude(ffmpeg),
        "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=1",
        "-c:v", encoder, "-preset", known.presets[-1] if known.codec == "av1" else "ultrafast",
        "-pix_fmt", "yuv420p", "-threads", "1", "-f", "mp4", output,
    ]  # fmt: skip


def decode(ffmpeg: Path, source: str) -> list[str]:
    """Decode `source` and throw the pictures away; fails at the first that is damaged."""
    return [
        *_prelude(ffmpeg), "-v", "error", "-xerror", *input_guard(), "-i", source,
        "-map", "0:V:0", "-f", "null", "-",
    ]  # fmt: skip


def compare(
    ffmpeg: Path,
    *,
    distorted: str,
    reference: str,
    frame_rate: str,
    pixel_format: str,
    threads: int,
    log: str,
    thumbnails: tuple[str, str],
) -> list[str]:
    """The quality pass: VMAF of `distorted` against `reference`, frame number by frame number.

    Both get time stamps counted from 0 at `frame_rate` (such as `30000/1001`), because the
    stamps of two containers differ by rounding, which would pair wrong frames. `shortest` ends
    the pass with the shorter of the two instead of repeating its last frame. `thumbnails` are
    raw grey pictures of every frame of the distorted and of the reference.
    """
    num, _, den = frame_rate.partition("/")
    number = f"settb={den or 1}/{num},setpts=N"
    small = f"scale={THUMBNAIL_WIDTH}:{THUMBNAIL_HEIGHT}:flags=area,format=gray"
    graph = (
        f"[0:V:0]{number},split[d][d0];[1:V:0]{number},split[r][r0];"
        f"[d]format={pixel_format}[d1];[r]format={pixel_format}[r1];"
        f"[d1][r1]libvmaf=model=version={VMAF_MODEL}:n_threads={threads}"
        f":log_fmt=json:log_path={log}:shortest=1[v];"
        f"[d0]{small}[d2];[r0]{small}[r2]"
    )
    return [
        *_prelude(ffmpeg), "-xerror",
        *input_guard(), "-noautorotate", "-i", distorted,
        *input_guard(), "-noautorotate", "-i", reference,
        "-filter_complex", graph,
        "-map", "[v]", "-fps_mode", "passthrough", "-f", "null", "-",
        "-map", "[d2]", "-fps_mode", "passthrough", "-f", "rawvideo", thumbnails[0],
        "-map", "[r2]", "-fps_mode", "passthrough", "-f", "rawvideo", thumbnails[1],
    ]  # fmt: skip


def _prelude(ffmpeg: Path) -> list[str]:
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-y",
        "-progress", "pipe:1", "-stats_period", "0.5", "-nostats",
    ]  # fmt: skip


def _encoder_options(settings: EncodeSettings) -> list[str]:
    rate = settings.rate
    spent = ["-b:v", f"{rate.bitrate_kbps}k"] if rate.crf is None else ["-crf", f"{rate.crf:g}"]
    return [
        "-c:v", settings.encoder, "-preset", settings.preset, *spent,
        "-g", str(settings.gop_frames), "-pix_fmt", settings.pixel_format,
        "-threads", str(settings.threads), *_inner_threads(settings),
    ]  # fmt: skip


def _inner_threads(settings: EncodeSettings) -> list[str]:
    """Pin the threads of encoders that would else count the machine's cores themselves."""
    if settings.encoder == "libx265":
        # What x265 would choose on a machine with as many cores as there are threads.
        frames = next((f for least, f in _X265_FRAME_THREADS if settings.threads >= least), 1)
        return ["-x265-params", f"pools={settings.threads}:frame-threads={frames}"]
    if settings.encoder == "libsvtav1":
        # `lp` was a number of processors before SVT-AV1 3 and is a level from 1 to 6 since.
        return ["-svtav1-params", f"lp={min(settings.threads, _SVTAV1_GREATEST_LP)}"]
    return []
