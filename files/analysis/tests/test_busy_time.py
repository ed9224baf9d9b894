"""Tests of the time in which a node was busy."""

from ffrtmp_analysis.busy_time import busy_ratio, busy_seconds


def test_the_seconds_of_an_encode_belong_to_their_hours() -> None:
    # From 00:59:58 to 02:00:01: two seconds, an hour, and a second.
    found = dict(busy_seconds(3598, 7201))
    assert found == {0: 0b11 << 3598, 1: (1 << 3600) - 1, 2: 1}
    assert [busy_ratio(seconds) for seconds in found.values()] == [2 / 3600, 1.0, 1 / 3600]


def test_an_encode_without_a_duration_has_no_seconds() -> None:
    assert list(busy_seconds(100, 100)) == []
    assert list(busy_seconds(100, 99)) == []
    assert busy_ratio(0) == 0.0


def test_seconds_in_which_several_encodes_ran_count_once() -> None:
    ((_, first),), ((_, second),) = busy_seconds(0, 20), busy_seconds(10, 30)
    assert busy_ratio(first | second) == 30 / 3600
