"""The encoders that a farm knows, and what each of them accepts.

The suite is checked against this table before anything is queued, and the worker builds
argument lists from nothing else, so an option that an encoder does not know never reaches it.
"""

import msgspec

_X26X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)


class Encoder(msgspec.Struct, frozen=True):
    """One video encoder of FFmpeg.

    `name` is FFmpeg's name of the encoder, `codec` ffprobe's name of what it writes; `crf_min`
    and `crf_max` bound the constant-quality scale, which differs between encoders.
    """

    name: str
    codec: str
    presets: tuple[str, ...]
    default_preset: str
    crf_min: float
    crf_max: float


ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder
    for encoder in (
        Encoder("libx264", "h264", _X26X_PRESETS, "medium", 0, 51),
        Encoder("libx265", "hevc", _X26X_PRESETS, "medium", 0, 51),
        Encoder("libsvtav1", "av1", tuple(str(p) for p in range(14)), "8", 1, 63),
    )
}
"""All known encoders by their FFmpeg name."""
