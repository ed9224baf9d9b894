"""Tests of the rates of an encode and of their low percentiles."""

import pytest
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.ffmpeg.progress import ProgressReport
from ffrtmp_worker.measure.rates import RateMeter, low_fps, rates_fps


def test_rates_are_those_of_the_intervals() -> None:
    reports = [
        ProgressReport(0.5, 10),
        ProgressReport(1.0, 20),
        ProgressReport(2.0, 20),
        ProgressReport(2.5, 45),
    ]
    assert rates_fps(reports) == [20.0, 0.0, 50.0]
    assert rates_fps([*reports, ProgressReport(2.501, 46, is_last=True)]) == [20.0, 0.0, 50.0]


def test_reported_and_stored_rates_are_equal() -> None:
    reports = [
        ProgressReport(0.5, 10),
        ProgressReport(1.0, 20),
        ProgressReport(2.0, 20),
        ProgressReport(2.5, 45),
    ]
    meter = RateMeter()
    reported = [meter.update(report).fps for report in reports]
    assert reported == [20.0, *rates_fps(reports)]


def test_the_bit_rate_covers_more_than_a_single_frame() -> None:
    meter = RateMeter()
    found = []
    for written_bytes, written_s in (
        (48, 0.0),  # The file has only a header.
        (48, 3.0),  # The muxer buffers packets.
        (100_048, 4.0),  # The muxer writes a block.
        (100_048, 7.5),
        (300_048, 8.0),
        (400_048, 8.5),  # The video since the last block is too short for a rate.
        (None, 9.0),
        (400_048, None),
    ):
        report = ProgressReport(1.0, 1, written_bytes=written_bytes, written_s=written_s)
        found.append(meter.update(report).bitrate_bps)
    assert found == [None, None, 200_000.0, 200_000.0, 400_000.0, 400_000.0, None, None]


def test_few_intervals_have_no_low_rates() -> None:
    rates = [float(rate) for rate in range(99)]
    assert isinstance(low_fps(rates, 1), Unavailable)
    assert low_fps([*rates, 99.0], 1) == pytest.approx(0.99)
    assert isinstance(low_fps(rates[:19], 5), Unavailable)
    assert low_fps(rates[:20], 5) == pytest.approx(0.95)
