"""Tests of the values that the exporter results reads from results of several kinds."""

from typing import Any

import factories
import msgspec
import pytest
from ffrtmp_master.exporters.results import ResultValues, values_of
from ffrtmp_shared.measurement import RenditionMeasurement
from ffrtmp_shared.unavailable import Unavailable
from result_collectors import LIVE, result

UNKNOWN = Unavailable(reason="not measured here")


def values(**measured: Any) -> list[ResultValues]:
    """Return the values of a result whose measurement has the given differences."""
    measurement = msgspec.structs.replace(factories.measurement(), **measured)
    return [found for _, found in values_of(result(measurement=measurement))]


def test_the_values_of_a_transcode_are_those_of_its_encode() -> None:
    # 100 frames in 2 s at twice real time, with 3.5 s of CPU time, 64 J and 1000 kbit/s.
    (found,) = values()
    assert (found.speed, found.fps, found.video_bytes_per_s) == (2.0, 50.0, 125_000.0)
    assert found.cpu_s_per_frame == pytest.approx(0.035)
    assert found.energy_per_frame_j == pytest.approx(0.64)
    # 64 J / 4 s * 60 s
    assert found.energy_per_video_minute_j == pytest.approx(960.0)
    assert (found.vmaf_mean, found.is_rendition) == (91.5, False)


def test_the_bit_rate_of_a_live_stream_is_that_at_the_player() -> None:
    (found,) = values(output=None, quality=UNKNOWN, live=LIVE)
    assert (found.video_bytes_per_s, found.vmaf_mean) == (125_000.0, None)


def test_a_ladder_has_the_bit_rates_of_its_renditions() -> None:
    whole = factories.measurement()
    assert whole.output is not None
    rendition = RenditionMeasurement(
        name="low", encode=None, output=whole.output, quality=whole.quality
    )
    ladder, low = values(output=None, quality=UNKNOWN, renditions=(rendition,))
    assert (ladder.video_bytes_per_s, ladder.speed, ladder.vmaf_mean) == (None, 2.0, None)
    # One process encoded all renditions, so the speed of each is not known.
    assert (low.video_bytes_per_s, low.speed, low.vmaf_mean) == (125_000.0, None, 91.5)
    assert (low.energy_j, low.energy_per_frame_j, low.is_rendition) == (None, None, True)
