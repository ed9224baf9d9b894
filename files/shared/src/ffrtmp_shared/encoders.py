"""The supported encoders and the settings that each of them accepts.

A suite is validated against this table before a job is queued, and the worker builds argument
lists only from this table, so an encoder never receives an option that it does not support.
Options that name a file or contain further options (`stats`, `x264-params`) are not allowed.
"""

from typing import Literal

import msgspec

QualityControl = Literal["crf", "cq"]
"""The control of a constant quality. Each value is the name of a field of RatePoint."""

RateControl = Literal[QualityControl, "bitrate_kbps"]
"""The rate control of an encoder. Each value is the name of a field of RatePoint."""


class Between(msgspec.Struct, frozen=True):
    """A whole number from `least` to `most`."""

    least: int
    most: int

    def accepts(self, value: str) -> bool:
        """Return whether `value` is in the range and consists of ASCII digits."""
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(self.most))):
            return False
        return self.least <= int(value) <= self.most

    def __str__(self) -> str:
        """Describe the range for error messages."""
        return f"a whole number from {self.least} to {self.most}"


class OneOf(msgspec.Struct, frozen=True):
    """One of several words."""

    words: tuple[str, ...]

    def accepts(self, value: str) -> bool:
        """Return whether `value` is one of the words."""
        return value in self.words

    def __str__(self) -> str:
        """List the words for error messages."""
        return "one of " + ", ".join(self.words)


class Quality(msgspec.Struct, frozen=True):
    """A constant quality scale. If `fractions` is true, fractional values are allowed."""

    least: float
    most: float
    fractions: bool = False

    def accepts(self, value: float) -> bool:
        """Return whether `value` is on the scale."""
        return self.least <= value <= self.most and (self.fractions or value == int(value))

    @property
    def step(self) -> float:
        """The distance between the values that a search tries."""
        return 0.1 if self.fractions else 1.0

    def without_best(self) -> "Quality":
        """Return the scale without its best tenth.

        These settings hardly differ in VMAF, but their files may fill a disk. At 0, x264 encodes
        without loss, for which some profiles have no syntax.
        """
        least = max(self.least, round(self.most / 10))
        return Quality(least, self.most, self.fractions)

    def nearest(self, value: float, least: float, most: float) -> float:
        """Return the value that a search tries next to `value`, from `least` to `most`."""
        steps = round((min(max(value, least), most) - self.least) / self.step)
        return round(self.least + steps * self.step, 1)

    def __str__(self) -> str:
        """Describe the range for error messages."""
        return f"from {self.least:g} to {self.most:g}" + (
            "" if self.fractions else " in whole numbers"
        )


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """One video encoder of FFmpeg.

    Attributes:
        name: FFmpeg's name for the encoder.
        codec: ffprobe's name for the output codec.
        presets: The supported presets.
        default_preset: The preset that is used if a suite states none.
        crf: The scale of the constant quality `crf`, or None if the encoder does not support it.
        cq: The scale of the constant quality `cq`, or None if the encoder does not support it.
        passes: The maximum number of passes with a bit rate.
        capped: The rate controls that support a maximum rate.
        pixel_formats: The supported pixel formats.
        options: The further options that are allowed, each with its allowed values.
        needs_hardware: Whether the encoder works only with a GPU.
    """

    name: str
    codec: str
    presets: tuple[str, ...]
    default_preset: str
    crf: Quality | None = None
    cq: Quality | None = None
    passes: int = 1
    capped: tuple[RateControl, ...] = ()
    pixel_formats: tuple[str, ...] = ("yuv420p", "yuv420p10le")
    options: dict[str, Between | OneOf] = {}
    needs_hardware: bool = False

    @property
    def quality(self) -> tuple[QualityControl, Quality]:
        """The control with which the encoder reaches a requested VMAF, and the settings to try."""
        if self.crf is not None:
            return "crf", self.crf.without_best()
        if self.cq is not None:
            return "cq", self.cq.without_best()
        raise ValueError(f"{self.name} has no constant quality")

    @property
    def rate_controls(self) -> str:
        """The supported rate controls, as text for error messages."""
        scales = (("crf", self.crf), ("cq", self.cq))
        qualities = [f"{name} {scale}" for name, scale in scales if scale]
        passes = "1 or 2 passes" if self.passes > 1 else "1 pass"
        return ", ".join([*qualities, f"bitrate_kbps in {passes}"])


_SWITCH = Between(0, 1)
_EIGHT_BIT = ("yuv420p",)
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
_QSV_PRESETS = _X26X_PRESETS[2:9]
_X26X_QUALITY = Quality(0, 51, fractions=True)
_AOM_QUALITY = Quality(0, 63)


def _numbers(least: int, most: int, before: str = "") -> tuple[str, ...]:
    return tuple(f"{before}{number}" for number in range(least, most + 1))


_SOFTWARE = (
    Encoder(
        name="libx264",
        codec="h264",
        presets=_X26X_PRESETS,
        default_preset="medium",
        crf=_X26X_QUALITY,
        passes=2,
        capped=("crf", "bitrate_kbps"),
        options={
            "tune": OneOf(
                ("film", "animation", "grain", "stillimage", "psnr", "ssim", "fastdecode",
                 "zerolatency")
            ),
            "profile": OneOf(("baseline", "main", "high", "high10")),
            "bf": Between(0, 16),
            "refs": Between(1, 16),
            "aq-mode": Between(0, 3),
            "rc-lookahead": Between(0, 250),
            "subq": Between(0, 11),
            "trellis": Between(0, 2),
            "weightp": Between(0, 2),
            "sc_threshold": Between(0, 100),
        },
    ),
    Encoder(
        name="libx265",
        codec="hevc",
        presets=_X26X_PRESETS,
        default_preset="medium",
        crf=_X26X_QUALITY,
        passes=2,
        capped=("crf", "bitrate_kbps"),
        options={
            "tune": OneOf(("psnr", "ssim", "grain", "fastdecode", "zerolatency", "animation")),
            "profile": OneOf(("main", "main10")),
            "bf": Between(0, 16),
            "refs": Between(1, 8),
        },
    ),
    Encoder(
        name="libsvtav1",
        codec="av1",
        presets=_numbers(0, 13),
        default_preset="8",
        crf=Quality(1, 63),
        capped=("crf",),
        options={
            "tune": Between(0, 1),
            "film-grain": Between(0, 50),
            "tile-columns": Between(0, 4),
            "tile-rows": Between(0, 6),
            "lookahead": Between(0, 120),
            "scd": _SWITCH,
            "enable-overlays": _SWITCH,
        },
    ),
    Encoder(
        name="libaom-av1",
        codec="av1",
        presets=_numbers(0, 8),
        default_preset="6",
        crf=_AOM_QUALITY,
        passes=2,
        capped=("crf",),
        options={
            "tune": OneOf(("psnr", "ssim")),
            "aq-mode": Between(0, 3),
            "row-mt": _SWITCH,
            "tile-columns": Between(0, 6),
            "tile-rows": Between(0, 6),
            "lag-in-frames": Between(0, 48),
            "denoise-noise-level": Between(0, 50),
        },
    ),
    Encoder(
        name="librav1e",
        codec="av1",
        presets=_numbers(0, 10),
        default_preset="6",
        cq=Quality(0, 255),
        # Two passes are not supported: FFmpeg 5.1 accepts them, but the first pass leaves an empty
        # pass log file.
        options={"tile-columns": Between(1, 64), "tile-rows": Between(1, 64)},
    ),
    Encoder(
        name="libvpx-vp9",
        codec="vp9",
        presets=(*_numbers(0, 5, "good-"), *_numbers(5, 8, "realtime-")),
        default_preset="good-2",
        crf=_AOM_QUALITY,
        passes=2,
        capped=("crf",),
        options={
            "tune": OneOf(("psnr", "ssim")),
            "tune-content": OneOf(("default", "screen", "film")),
            "aq-mode": Between(0, 4),
            "row-mt": _SWITCH,
            "frame-parallel": _SWITCH,
            "tile-columns": Between(0, 6),
            "tile-rows": Between(0, 2),
            "lag-in-frames": Between(0, 25),
            "auto-alt-ref": Between(0, 6),
        },
    ),
)  # fmt: skip


def _nvenc(codec: str, hyphen: str, profiles: tuple[str, ...]) -> Encoder:
    """Return NVIDIA's encoder of `codec`. `hyphen` separates words in some of its option names."""
    return Encoder(
        name=f"{codec}_nvenc",
        codec=codec,
        needs_hardware=True,
        presets=_numbers(1, 7, "p"),
        default_preset="p4",
        # The scale begins at 1, because with 0 the driver would choose the quality.
        cq=Quality(1, 51),
        capped=("cq", "bitrate_kbps"),
        pixel_formats=_EIGHT_BIT if codec == "h264" else ("yuv420p", "yuv420p10le"),
        options={
            "tune": OneOf(("hq", "ll", "ull")),
            "multipass": OneOf(("disabled", "qres", "fullres")),
            "bf": Between(0, 4),
            "rc-lookahead": Between(0, 32),
            f"spatial{hyphen}aq": _SWITCH,
            f"temporal{hyphen}aq": _SWITCH,
            **({"profile": OneOf(profiles)} if profiles else {}),
        },
    )


def _qsv(codec: str, profiles: tuple[str, ...]) -> Encoder:
    """Return Intel's Quick Sync Video encoder of `codec`."""
    return Encoder(
        name=f"{codec}_qsv",
        codec=codec,
        needs_hardware=True,
        presets=_QSV_PRESETS,
        default_preset="medium",
        cq=Quality(1, 51),
        capped=("bitrate_kbps",),
        pixel_formats=_EIGHT_BIT if codec == "h264" else ("yuv420p", "yuv420p10le"),
        options={
            "profile": OneOf(profiles),
            "bf": Between(0, 7),
            "low_power": _SWITCH,
            "async_depth": Between(1, 64),
            **({} if codec == "av1" else {"look_ahead_depth": Between(0, 100)}),
        },
    )


def _vaapi(codec: str, cq: Quality, profiles: tuple[str, ...]) -> Encoder:
    """Return the VA-API encoder of `codec`. It has no presets that all drivers support."""
    return Encoder(
        name=f"{codec}_vaapi",
        codec=codec,
        needs_hardware=True,
        presets=("default",),
        default_preset="default",
        cq=cq,
        capped=("bitrate_kbps",),
        pixel_formats=_EIGHT_BIT if codec == "h264" else ("yuv420p", "yuv420p10le"),
        options={
            "profile": OneOf(profiles),
            "bf": Between(0, 7),
            "low_power": _SWITCH,
            "async_depth": Between(1, 64),
            "compression_level": Between(0, 7),
        },
    )


_HARDWARE = (
    _nvenc("h264", "-", ("baseline", "main", "high")),
    _nvenc("hevc", "_", ("main", "main10")),
    _nvenc("av1", "-", ()),
    _qsv("h264", ("baseline", "main", "high")),
    _qsv("hevc", ("main", "main10")),
    _qsv("av1", ("main",)),
    _vaapi("h264", Quality(1, 51), ("constrained_baseline", "main", "high")),
    _vaapi("hevc", Quality(1, 51), ("main", "main10")),
    _vaapi("av1", Quality(1, 255), ("main",)),
)

ENCODERS: dict[str, Encoder] = {encoder.name: encoder for encoder in (*_SOFTWARE, *_HARDWARE)}
"""All supported encoders by FFmpeg's names for them."""
