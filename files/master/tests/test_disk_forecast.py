"""Tests of the times until disks are full, compared with hand calculations."""

import pytest
from ffrtmp_master.exporters.disk_forecast import (
    FORECAST_MAX_S,
    DiskForecasts,
    DiskKey,
    FileSystem,
    time_until_full_s,
)

_GIB = 2.0**30
_HOUR_S = 3600.0
_KEY = DiskKey("worker1", "/")


def forecasts(window_s: float = 6 * _HOUR_S, history_min_s: float = 900.0) -> DiskForecasts:
    return DiskForecasts(window_s=window_s, history_min_s=history_min_s)


def test_a_disk_that_loses_a_gibibyte_an_hour() -> None:
    """With 10 GiB left, it is full in 10 hours."""
    samples = [(n * _HOUR_S, (15 - n) * _GIB) for n in range(6)]
    assert time_until_full_s(samples) == pytest.approx(10 * _HOUR_S)


def test_the_slope_is_that_of_the_least_squares_line() -> None:
    """Free: 8, 6, 7 at 0, 1, 2 s; the slope is -0.5 per second, so 7 last for 14 s."""
    assert time_until_full_s([(0.0, 8.0), (1.0, 6.0), (2.0, 7.0)]) == pytest.approx(14.0)


def test_a_disk_that_does_not_fill_has_the_longest_time() -> None:
    assert time_until_full_s([(0.0, 5.0), (10.0, 5.0)]) == FORECAST_MAX_S
    assert time_until_full_s([(0.0, 5.0), (10.0, 6.0)]) == FORECAST_MAX_S
    assert time_until_full_s([(0.0, 1e18), (10.0, 1e18 - 1000)]) == FORECAST_MAX_S
    assert time_until_full_s([(5.0, 1.0)]) == FORECAST_MAX_S


def test_a_full_disk_has_no_time_left() -> None:
    assert time_until_full_s([(0.0, 5.0), (10.0, 0.0)]) == 0
    assert time_until_full_s([(0.0, 0.0), (10.0, 0.0)]) == 0


def test_there_is_no_forecast_before_the_shortest_period() -> None:
    found = forecasts()
    for at_s in (0.0, 400.0, 800.0):
        found.record("worker1", at_s, (FileSystem("/", 1000.0 - at_s),))
    assert dict(found.forecasts()) == {}
    found.record("worker1", 900.0, (FileSystem("/", 100.0),))
    assert dict(found.forecasts()) == {_KEY: pytest.approx(100.0)}


def test_only_the_window_counts() -> None:
    """The disk was filled quickly before the window, and is constant since then."""
    found = forecasts(window_s=1000.0, history_min_s=100.0)
    for at_s in range(0, 1000, 50):
        found.record("worker1", float(at_s), (FileSystem("/", 1e6 - 900.0 * at_s),))
    filling = dict(found.forecasts())[_KEY]
    assert filling == pytest.approx((1e6 - 900 * 950) / 900)
    for at_s in range(1000, 2100, 50):
        found.record("worker1", float(at_s), (FileSystem("/", 1e5),))
    assert dict(found.forecasts())[_KEY] == FORECAST_MAX_S


def test_memory_is_bounded_while_probes_are_frequent() -> None:
    found = forecasts(window_s=_HOUR_S, history_min_s=60.0)
    for at_s in range(4000):
        found.record("worker1", float(at_s), (FileSystem("/", 8000.0 - at_s),))
    assert len(found._series["worker1"]["/"].samples) <= 120
    # The newest value counts, although not every value is kept.
    assert dict(found.forecasts())[_KEY] == pytest.approx(8000.0 - 3999, rel=0.01)


def test_a_clock_that_starts_again_begins_a_new_history() -> None:
    found = forecasts(window_s=1000.0, history_min_s=100.0)
    found.record("worker1", 5000.0, (FileSystem("/", 5.0),))
    found.record("worker1", 10.0, (FileSystem("/", 5.0),))
    assert dict(found.forecasts()) == {}


def test_unmounted_disks_and_removed_hosts_are_forgotten() -> None:
    found = forecasts(history_min_s=1.0)
    both = (FileSystem("/", 5.0), FileSystem("/data", 5.0))
    for host in ("worker1", "worker2"):
        found.record(host, 0.0, both)
        found.record(host, 10.0, both)
    found.record("worker1", 20.0, both[:1])
    expected = {_KEY, DiskKey("worker2", "/"), DiskKey("worker2", "/data")}
    assert {key for key, _ in found.forecasts()} == expected
    found.keep_only(frozenset({"worker1"}))
    assert {key for key, _ in found.forecasts()} == {_KEY}
