"""The slow ends of an encode."""

import pytest
from ffrtmp_shared.measurement import Unavailable
from ffrtmp_worker.ffmpeg.progress import Report
from ffrtmp_worker.measure.rates import low_fps, rates_fps


def test_rates_are_those_of_the_intervals_and_no_averages_since_the_start() -> None:
    reports = [Report(0.5, 10), Report(1.0, 20), Report(2.0, 20), Report(2.5, 45)]
    assert rates_fps(reports) == [20.0, 0.0, 50.0]


def test_few_intervals_have_no_low_end() -> None:
    rates = [float(rate) for rate in range(99)]
    assert isinstance(low_fps(rates, 1), Unavailable)
    assert low_fps([*rates, 99.0], 1) == pytest.approx(0.99)
    assert isinstance(low_fps(rates[:19], 5), Unavailable)
    assert low_fps(rates[:20], 5) == pytest.approx(0.95)
