"""The control encode: always the same, so that a change in its speed is one of the node."""

from ffrtmp_shared.scenario import EncodeSettings, RatePoint, Scenario, Source, SyntheticSource

NAME = "control"
"""The name of the source of control encodes; a suite that has them has no source of that name."""

SCENARIO = Scenario(
    # As its encode it is called what it is in tables too, which have no source.
    name=f"{NAME}/{NAME}/crf23",
    kind="transcode",
    # Made on the worker: it needs nothing from outside, and is the same wherever FFmpeg is.
    source=Source(
        name=NAME,
        file_name=NAME,
        synthetic=SyntheticSource(
            content="motion", width=1280, height=720, frame_rate="30", duration_s=10.0
        ),
    ),
    encode=EncodeSettings(
        encoder="libx264",
        preset="medium",
        rate=RatePoint(crf=23),
        pixel_format="yuv420p",
        threads=2,
        gop_frames=250,
    ),
    slowest_speed=0.02,
    warm_up_s=1.0,
)
"""What a control encode does; changing it makes it incomparable with those before."""
