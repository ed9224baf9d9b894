"""How fast an encode is, and its slow ends."""

import pytest
from ffrtmp_shared.measurement import Unavailable
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.measure.rates import RateMeter, low_fps, rates_fps


def test_rates_are_those_of_the_intervals_and_no_averages_since_the_start() -> None:
    reports = [
        ProgressReport(0.5, 10),
        ProgressReport(1.0, 20),
        ProgressReport(2.0, 20),
        ProgressReport(2.5, 45),
    ]
    assert rates_fps(reports) == [20.0, 0.0, 50.0]
    assert rates_fps([*reports, ProgressReport(2.501, 46, is_last=True)]) == [20.0, 0.0, 50.0]


def test_what_is_shown_and_what_is_kept_are_the_same_rates() -> None:
    reports = [
        ProgressReport(0.5, 10),
        ProgressReport(1.0, 20),
        ProgressReport(2.0, 20),
        ProgressReport(2.5, 45),
    ]
    speedometer = RateMeter()
    shown = [speedometer.update(report).fps for report in reports]
    assert shown == [20.0, *rates_fps(reports)]


def test_the_bit_rate_is_that_of_the_video_written_last_and_never_a_single_frames() -> None:
    speedometer = RateMeter()
    found = []
    for written_bytes, written_s in (
        (48, 0.0),  # a header
        (48, 3.0),  # the muxer keeps what comes
        (100_048, 4.0),  # and writes a block
        (100_048, 7.5),
        (300_048, 8.0),
        (400_048, 8.5),  # too little video for a rate
        (None, 9.0),
        (400_048, None),
    ):
        report = ProgressReport(1.0, 1, written_bytes=written_bytes, written_s=written_s)
        found.append(speedometer.update(report).bitrate_bps)
    assert found == [None, None, 200_000.0, 200_000.0, 400_000.0, 400_000.0, None, None]


def test_few_intervals_have_no_low_end() -> None:
    rates = [float(rate) for rate in range(99)]
    assert isinstance(low_fps(rates, 1), Unavailable)
    assert low_fps([*rates, 99.0], 1) == pytest.approx(0.99)
    assert isinstance(low_fps(rates[:19], 5), Unavailable)
    assert low_fps(rates[:20], 5) == pytest.approx(0.95)
