"""FFmpeg's options for encoders and for the filters before them, built from typed settings.

The options work with FFmpeg 5.1 and later.
"""

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import EncodeSettings

STATISTICS_NAME = "statistics"
"""Name prefix of the statistics files that the first pass writes into its working directory."""

_SVTAV1_GREATEST_LP = 6
_X265_FRAME_THREADS = ((16, 5), (8, 3), (4, 2))

# For each pixel format, the equivalent format in the memory of a GPU.
_GPU_FORMATS = {"yuv420p": "nv12", "yuv420p10le": "p010le"}

_OWN_PARAMETERS = {"libx265": "-x265-params", "libsvtav1": "-svtav1-params"}


def device_options(encoder: str) -> list[str]:
    """Return the options that open a GPU for `encoder`, or [] if it reads main memory."""
    for api in ("qsv", "vaapi"):
        if encoder.endswith(f"_{api}"):
            return ["-init_hw_device", f"{api}=gpu", "-filter_hw_device", "gpu"]
    return []


def filters(settings: EncodeSettings) -> list[str]:
    """Return the filters that precede the encoder, in order; the list may be empty.

    The frame rate is changed before the size, so that dropped frames are not scaled.
    """
    found = []
    if settings.frame_rate is not None:
        found.append(f"fps={settings.frame_rate}")
    if settings.width is not None and settings.height is not None:
        found.append(f"scale={settings.width}:{settings.height}:flags=bicubic")
    if device_options(settings.encoder):
        found += [f"format={_GPU_FORMATS[settings.pixel_format]}", "hwupload=extra_hw_frames=64"]
    return found


def encoder_options(settings: EncodeSettings, number: int = 0) -> list[str]:
    """Return the options of the encoder, which FFmpeg expects after the filters.

    `number` is the number of the pass (1 or 2) of an encode in two passes, or 0 for a single pass.
    """
    own = _own_parameters(settings, number)
    return [
        "-c:v", settings.encoder, *_preset(settings), *_rate(settings),
        "-g", str(settings.gop_frames), *_pixel_format(settings),
        "-threads", str(settings.threads), *_passthrough(settings), *own,
        *_pass(settings, number),
    ]  # fmt: skip


def _preset(settings: EncodeSettings) -> list[str]:
    preset = settings.preset
    match settings.encoder:
        case "libaom-av1":
            return ["-cpu-used", preset]
        case "librav1e":
            return ["-speed", preset]
        case "libvpx-vp9":
            deadline, _, speed = preset.partition("-")
            return ["-deadline", deadline, "-cpu-used", speed]
        case "h264_vaapi" | "hevc_vaapi" | "av1_vaapi":
            return []
    return ["-preset", preset]


def _rate(settings: EncodeSettings) -> list[str]:
    rate = settings.rate
    cap = _cap(rate)
    if rate.bitrate_kbps is not None:
        return [*_rate_mode(settings.encoder), "-b:v", f"{rate.bitrate_kbps}k", *cap]
    if rate.crf is not None:
        options = ["-crf", f"{rate.crf:g}", *cap]
        if settings.encoder in ("libvpx-vp9", "libaom-av1"):
            # For these encoders, a bit rate limits the quality; with 0 the quality is constant.
            options += ["-b:v", "0" if rate.max_kbps is None else f"{rate.max_kbps}k"]
        return options
    value = str(rate.cq)
    match settings.encoder.partition("_")[2]:
        case "nvenc":
            return ["-rc", "vbr", "-cq", value, "-b:v", "0", *cap]
        case "qsv":
            return ["-global_quality", value]
        case "vaapi":
            scale = "-global_quality" if settings.encoder == "av1_vaapi" else "-qp"
            return ["-rc_mode", "CQP", scale, value]
    return ["-qp", value]


def _rate_mode(encoder: str) -> list[str]:
    """Return the options for a variable bit rate if the encoder's default varies by driver."""
    if encoder.endswith("_nvenc"):
        return ["-rc", "vbr"]
    return ["-rc_mode", "VBR"] if encoder.endswith("_vaapi") else []


def _cap(rate: RatePoint) -> list[str]:
    if rate.max_kbps is None:
        return []
    buffer_kbit = rate.max_kbps if rate.buffer_kbit is None else rate.buffer_kbit
    return ["-maxrate", f"{rate.max_kbps}k", "-bufsize", f"{buffer_kbit}k"]


def _pixel_format(settings: EncodeSettings) -> list[str]:
    if device_options(settings.encoder):
        # The frames are in GPU memory, in the format in which they were uploaded.
        return []
    is_deep_nvenc = settings.encoder.endswith("_nvenc") and settings.pixel_format != "yuv420p"
    return ["-pix_fmt", _GPU_FORMATS[settings.pixel_format] if is_deep_nvenc
            else settings.pixel_format]  # fmt: skip


def _passthrough(settings: EncodeSettings) -> list[str]:
    """Return the scenario's further options; SVT-AV1 gets them as its own parameters instead."""
    if settings.encoder == "libsvtav1":
        return []
    return [
        word for name, value in sorted(settings.options.items()) for word in (f"-{name}:v", value)
    ]


def _own_parameters(settings: EncodeSettings, number: int) -> list[str]:
    """Return the encoder's own parameters, which FFmpeg passes on without interpreting them.

    Without them, x265 and SVT-AV1 would use as many threads as the host has cores.
    """
    found: dict[str, object] = {}
    if settings.encoder == "libx265":
        # The value that x265 itself would choose on a host with this number of cores.
        frames = next((f for least, f in _X265_FRAME_THREADS if settings.threads >= least), 1)
        found = {"pools": settings.threads, "frame-threads": frames}
        if number:
            # FFmpeg does not pass its option `-pass` on to x265.
            found |= {"pass": number, "stats": STATISTICS_NAME}
    if settings.encoder == "libsvtav1":
        # Since SVT-AV1 3, `lp` is a level from 1 to 6. Before, it was a number of processors.
        found = {"lp": min(settings.threads, _SVTAV1_GREATEST_LP)}
        found |= dict(sorted(settings.options.items()))
    if not found:
        return []
    text = ":".join(f"{name}={value}" for name, value in found.items())
    return [_OWN_PARAMETERS[settings.encoder], text]


def _pass(settings: EncodeSettings, number: int) -> list[str]:
    if not number or settings.encoder == "libx265":
        return []
    return ["-pass", str(number), "-passlogfile", STATISTICS_NAME]


def check_settings(encoder: str) -> EncodeSettings:
    """Return the fastest settings of `encoder` that every build of it accepts."""
    known = ENCODERS[encoder]
    slowest_first = known.codec in ("av1", "vp9") and not encoder.endswith(("_qsv", "_nvenc"))
    return EncodeSettings(
        encoder=encoder,
        preset=known.presets[-1 if slowest_first else 0],
        rate=RatePoint(bitrate_kbps=500),
        threads=1,
    )
