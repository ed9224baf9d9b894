"""Tests of resources per frame and of quality per resource, calculated by hand."""

import pytest
from ffrtmp_analysis import efficiency

# 100 frames in 2 s at twice real time, that is 4 s of video, with 3.5 s of CPU time and 64 J.
CASES = {
    "CPU time per frame": (efficiency.cpu_seconds_per_frame(3.5, 100), 0.035),
    "energy per frame": (efficiency.energy_per_frame_j(64.0, 100), 0.64),
    "duration of the video": (efficiency.video_duration_s(2.0, 2.0), 4.0),
    # 64 J / 4 s * 60 s
    "energy per minute": (efficiency.energy_per_video_minute_j(64.0, 4.0), 960.0),
    "power": (efficiency.mean_power_w(64.0, 2.0), 32.0),
    # 91.5 / 32 W
    "VMAF per watt": (efficiency.quality_per_watt(91.5, 32.0), 2.859375),
    # 91.5 / 1,000,000 bit/s
    "VMAF per bit": (efficiency.quality_per_bit_per_second(91.5, 1e6), 9.15e-5),
    # 91.5 / 0.005 EUR
    "VMAF per cost": (efficiency.quality_per_cost(91.5, 0.005), 18_300.0),
    "a picture without quality": (efficiency.quality_per_watt(0.0, 32.0), 0.0),
    "CPU and GPU": (efficiency.host_sum(64.0, 30.0, needs_gpu=True), 94.0),
    "a host without a GPU": (efficiency.host_sum(64.0, None, needs_gpu=False), 64.0),
}


@pytest.mark.parametrize(("value", "expected"), CASES.values(), ids=CASES)
def test_the_value_is_that_of_the_hand_calculation(value: float, expected: float) -> None:
    assert value == pytest.approx(expected)


def test_an_unknown_operand_gives_no_value() -> None:
    assert efficiency.energy_per_frame_j(None, 100) is None
    assert efficiency.energy_per_video_minute_j(None, 4.0) is None
    assert efficiency.energy_per_video_minute_j(64.0, None) is None
    assert efficiency.mean_power_w(None, 2.0) is None
    assert efficiency.quality_per_watt(None, 32.0) is None
    assert efficiency.quality_per_watt(91.5, None) is None
    assert efficiency.quality_per_bit_per_second(91.5, None) is None
    assert efficiency.quality_per_cost(91.5, None) is None
    assert efficiency.host_sum(None, 30.0, needs_gpu=True) is None


def test_the_energy_of_a_gpu_encode_is_unknown_without_that_of_the_gpu() -> None:
    assert efficiency.host_sum(64.0, None, needs_gpu=True) is None


@pytest.mark.parametrize("divisor", [0, -1])
def test_there_is_no_quotient_without_a_positive_divisor(divisor: int) -> None:
    assert efficiency.cpu_seconds_per_frame(3.5, divisor) is None
    assert efficiency.energy_per_video_minute_j(64.0, divisor) is None
    assert efficiency.quality_per_watt(91.5, divisor) is None
    # Energy is free of charge where nothing has a price.
    assert efficiency.quality_per_cost(91.5, divisor) is None
