"""Encodes of a suite: the settings that it applies to each source."""

from typing import Literal

import msgspec

from ffrtmp_shared.encoders import ENCODERS
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import (
    DensitySettings,
    EncodeSettings,
    LadderSettings,
    LiveSettings,
    Rendition,
)


class SuiteRendition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rendition of a ladder."""

    name: str
    rate: RatePoint
    width: int | None = None
    height: int | None = None


class SuiteEncode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An encode, or a measurement of another kind, that is applied to each source.

    A `transcode`, a `density` or a `live` is measured at each of its own `rate_points`, or at those
    of the suite if it has none. A `density` also uses the fields of `DensitySettings`, and a `live`
    also uses those of `LiveSettings`. A `ladder` has a rate in each of its `renditions` instead.
    The only setting of a `decode` is `threads`.

    If `ffmpegs` is not empty, it names those FFmpeg builds of the suite with which the encode is
    measured.
    """

    name: str
    kind: Literal["transcode", "ladder", "decode", "density", "live"] = "transcode"
    encoder: str | None = None
    preset: str | None = None
    pixel_format: str = "yuv420p"
    threads: int = 2
    gop_frames: int = 250
    width: int | None = None
    height: int | None = None
    frame_rate: str | int | None = None
    options: dict[str, str | int] = {}
    rate_points: tuple[RatePoint, ...] = ()
    renditions: tuple[SuiteRendition, ...] = ()
    ffmpegs: tuple[str, ...] = ()
    together: bool = True
    window_s: float = DensitySettings().window_s
    verify_s: float = DensitySettings().verify_s
    max_lag_s: float = DensitySettings().max_lag_s
    max_streams: int = DensitySettings().max_streams
    duration_s: float = LiveSettings().duration_s
    measure_received: bool = False

    def settings(self, rate: RatePoint, rung: SuiteRendition | None = None) -> EncodeSettings:
        """Return the encoder settings for `rate`. If `rung` is given, its size is used."""
        size = self if rung is None else rung
        encoder = str(self.encoder)
        return EncodeSettings(
            encoder=encoder,
            preset=self.preset or ENCODERS[encoder].default_preset,
            rate=rate,
            pixel_format=self.pixel_format,
            threads=self.threads,
            gop_frames=self.gop_frames,
            width=size.width,
            height=size.height,
            frame_rate=None if self.frame_rate is None else str(self.frame_rate),
            options={name: str(value) for name, value in self.options.items()},
        )

    def density(self) -> DensitySettings:
        """Return the search settings of a `density`."""
        return DensitySettings(
            window_s=self.window_s,
            verify_s=self.verify_s,
            max_lag_s=self.max_lag_s,
            max_streams=self.max_streams,
        )

    def live(self) -> LiveSettings:
        """Return the settings of a `live`."""
        return LiveSettings(
            duration_s=self.duration_s,
            measure_received=True if self.measure_received else msgspec.UNSET,
        )

    def ladder(self) -> LadderSettings:
        """Return the settings of a `ladder`."""
        return LadderSettings(
            renditions=tuple(
                Rendition(name=rung.name, encode=self.settings(rung.rate, rung))
                for rung in self.renditions
            ),
            together=self.together,
        )
