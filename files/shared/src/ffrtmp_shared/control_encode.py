"""The control encode. It never changes, so a change in its speed indicates a change of the node."""

from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import EncodeSettings, Scenario, Source, SyntheticSource

NAME = "control"
"""The reserved name of the source of control encodes."""

SCENARIO = Scenario(
    # The encode has the same name as the source, because some tables show only the encode.
    name=f"{NAME}/{NAME}/crf23",
    kind="transcode",
    # A synthetic source needs no download and is the same on every worker.
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
"""The settings of control encodes. If they change, new results are not comparable with old ones."""

VERSION = 1
"""The version of control encodes. Increase it if `SCENARIO` changes, or if agents measure its speed
differently: the history of each node then starts again."""
