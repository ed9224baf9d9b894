"""Value ranges of all measurements. Small variants of the shipped suites produce the results."""

import json
import math
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from .conftest import RESULTS

SUITES = {"codecs": 20, "ladder": 2, "live": 2, "density": 1}
WORKERS = ("worker1", "worker2")
CPUS = os.cpu_count() or 1

Check = Callable[[Any], bool]


def between(least: float, most: float) -> Check:
    """Return a function that checks whether a value is a number within bounds."""
    return lambda value: isinstance(value, int | float) and least <= value <= most


def text(value: Any) -> bool:
    """Return whether a value is a string that is not empty."""
    return isinstance(value, str) and value != ""


COUNT = between(0, 2**40)
RATIO = between(0, 1)
ENCODE: dict[str, Check] = {
    "wall_s": between(0.05, 600),
    "user_s": between(0.01, 600 * CPUS),
    "system_s": between(0, 600 * CPUS),
    "max_rss_kib": between(5_000, 8_000_000),
    "frames": between(1, 100_000),
    "fps": between(0.1, 100_000),
    "speed": between(0.001, 1000),
    "first_frame_s": between(0.001, 60),
    "voluntary_switches": COUNT,
    "involuntary_switches": COUNT,
    "minor_faults": between(100, 2**40),
    "major_faults": COUNT,
    **dict.fromkeys(("fps_p1", "fps_p5"), between(0, 100_000)),
}
SOURCE: dict[str, Check] = {
    "codec": text,
    "width": between(320, 1280),
    "height": between(180, 720),
    "pixel_format": text,
    "frame_rate": text,
    "frames": between(1, 10_000),
    "duration_s": between(0.5, 60),
    "characterised_s": between(0.5, 10),
    **dict.fromkeys(("si_mean", "si_max"), between(1, 250)),
    **dict.fromkeys(("ti_mean", "ti_max"), between(0.01, 250)),
    "header_faults": lambda value: value == [],
}
OUTPUT: dict[str, Check] = {
    "codec": lambda value: value in {"h264", "hevc", "av1", "vp9"},
    "width": between(320, 1280),
    "height": between(180, 720),
    "pixel_format": lambda value: value == "yuv420p",
    "frame_rate": lambda value: value == "30/1",
    "frames": lambda value: value == 60,
    "duration_s": between(1.9, 2.1),
    "file_bytes": between(1000, 10_000_000),
    "video_bytes": between(500, 10_000_000),
    "video_bitrate_kbps": between(5, 20_000),
    **dict.fromkeys(("sha256", "decoded_sha256"), lambda value: len(value) == 64),
    "peak_bitrate_kbps": between(5, 40_000),
    "bitrate_deviation_ratio": between(-1, 5),
    "profile": text,
    "level": between(0, 200),
    "key_frames": between(1, 60),
    "gop_max_frames": between(1, 60),
    "reorder_frames": between(0, 16),
}
QUALITY: dict[str, Check] = {
    "status": lambda value: value == "measured",
    "vmaf_model": lambda value: value == "vmaf_v0.6.1",
    **dict.fromkeys(
        ("vmaf_mean", "vmaf_harmonic_mean", "vmaf_neg_mean", "vmaf_p10"), between(10, 100)
    ),
    **dict.fromkeys(("vmaf_min", "vmaf_p1", "vmaf_p5"), between(0, 100)),
    "vmaf_std": between(0, 50),
    "pairs": lambda value: value == 60,
    **dict.fromkeys(("psnr_y_mean_db", "psnr_cb_mean_db", "psnr_cr_mean_db"), between(15, 60)),
    **dict.fromkeys(("ssim_libvmaf_mean", "ssim_ffmpeg_mean"), between(0.3, 1)),
    **dict.fromkeys(("xpsnr_y_db", "xpsnr_cb_db", "xpsnr_cr_db"), between(10, 100)),
    "alignment_offset": lambda value: value == 0,
}
SLOT: dict[str, Check] = {
    "status": lambda value: value == "measured",
    "cpus": between(1, CPUS),
    "quota_cpus": between(0.1, CPUS),
    "duration_s": between(0.05, 600),
    "busy_s": between(0, 600 * CPUS),
    "steal_ratio": RATIO,
    **dict.fromkeys(
        ("cpu_pressure_ratio", "memory_pressure_ratio", "io_pressure_ratio"), between(0, 1.01)
    ),
}
ENVIRONMENT: dict[str, Check] = {
    # Its values have a table of their own.
    "slot": lambda value: isinstance(value, dict),
    "measured_at": lambda value: datetime.fromisoformat(value).tzinfo is not None,
    "kernel": text,
    "cpu_model": text,
    "cpu_governor": text,
    "cpu_frequency_mhz": between(100, 10_000),
    "cpu_frequency_min_mhz": between(100, 10_000),
    "load_before": between(0, 1000),
    "steal_ratio": RATIO,
    "memory_available_bytes": between(2**26, 2**50),
    "cpu_count": between(1, CPUS),
    "cpu_busy_s": between(0, 600 * CPUS),
    "temperature_start_celsius": between(-50, 150),
    "temperature_max_celsius": between(-50, 150),
    "throttle_events": COUNT,
    "throttled_periods": COUNT,
    "cpu_pressure_ratio": RATIO,
    "memory_pressure_ratio": RATIO,
    "io_pressure_ratio": RATIO,
    "turbo": text,
    "smt": text,
    "cpu_affinity": text,
    "microcode": text,
    "numa_nodes": text,
    "host_tuning": lambda value: value in {"on", "off"},
    "node_use": lambda value: value == "exclusive",
    "source_cached_ratio": RATIO,
}
PROVENANCE: dict[str, Check] = {
    "argv": lambda value: value[0].endswith("/ffmpeg") and len(value) > 10,
    "more_argv": lambda value: all(len(argv) > 10 for argv in value),
    "ffmpeg": lambda value: text(value["version"]) and len(value["sha256"]) == 64,
    "quality_ffmpeg": lambda value: text(value["version"]) and len(value["sha256"]) == 64,
    "source_sha256": lambda value: len(value) == 64,
    "agent_version": text,
}
ENERGY: dict[str, Check] = {
    "status": lambda value: value == "measured",
    "zones_j": lambda value: all(joules >= 0 for joules in value.values()) and bool(value),
    "gross_j": between(0.01, 1e6),
    "duration_s": between(0.05, 600),
    "idle_w": between(0, 2000),
    "net_j": between(-1e5, 1e6),
}
LIVE: dict[str, Check] = {
    "duration_s": between(9.5, 12),
    **dict.fromkeys(("lag_p50_s", "lag_p95_s", "lag_p99_s", "lag_max_s"), between(0, 15)),
    **dict.fromkeys(
        ("end_to_end_p50_s", "end_to_end_p95_s", "end_to_end_p99_s", "end_to_end_max_s"),
        between(0, 20),
    ),
    "below_real_time_s": between(0, 12),
    "stalls": between(0, 10),
    "reconnects": lambda value: value == 0,
    "frames_lost": between(0, 600),
    "bitrate_mean_kbps": between(50, 12_000),
    "bitrate_max_kbps": between(50, 50_000),
    "bitrate_cv": between(0, 5),
    "helpers_cpu_s": between(0.01, 20),
    "server_bytes_in": between(10_000, 20_000_000),
    "server_bitrate_mean_kbps": between(50, 15_000),
    "server_dropped": between(0, 10_000),
    "server_publishers": lambda value: value == 1,
    "silence_max_s": between(0, 12),
    "silence_end_s": between(0, 12),
    "startup_s": between(0, 20),
}
STEP: dict[str, Check] = {
    "streams": lambda value: value == 1,
    "window_s": between(7.9, 9),
    "held": lambda value: isinstance(value, bool),
    "slowest_speed": between(0, 1.05),
    "lag_max_s": between(-1, 10),
    "cpu_busy_ratio": RATIO,
    "power_w": between(0, 2000),
    "gpu_power_w": between(0, 2000),
    "limit": lambda value: isinstance(value, str),
}


def problems_of(found: dict[str, Any], table: dict[str, Check], where: str) -> Iterator[str]:
    """Yield a message for each value that is missing, unknown to the table, or out of range."""
    for name in found.keys() ^ table.keys():
        yield f"{where}.{name} is {'not expected' if name in found else 'missing'}"
    for name in found.keys() & table.keys():
        value = found[name]
        if isinstance(value, dict) and value.get("status") == "unavailable":
            if not text(value["reason"]) or "did not measure it" in value["reason"]:
                yield f"{where}.{name} gives no reason"
        elif (isinstance(value, float) and not math.isfinite(value)) or not table[name](value):
            yield f"{where}.{name} is {value!r}"


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> tuple[str, list[dict[str, Any]]]:
    """Return the name of each suite and the results that run-benchmark.yml has fetched."""
    documents = [json.loads(file.read_text()) for file in RESULTS.glob("[0-9]*/results.json")]
    (document,) = (found for found in documents if found["run"]["suite_name"] == request.param)
    return request.param, document["results"]


def test_every_scenario_was_measured_on_every_worker(
    suite: tuple[str, list[dict[str, Any]]],
) -> None:
    name, results = suite
    scenarios = {result["scenario"]["name"] for result in results}
    assert len(scenarios) == SUITES[name]
    found = sorted(
        (result["node"], result["scenario"]["name"]) for result in results if result["repeat"] == 1
    )
    assert found == sorted((node, scenario) for node in WORKERS for scenario in scenarios)


def test_every_result_has_its_verdict(suite: tuple[str, list[dict[str, Any]]]) -> None:
    for result in suite[1]:
        verdict = result["measurement"]["verdict"]
        codes = [reason["code"] for reason in verdict["reasons"]]
        assert verdict["state"] in {"valid", "degraded", "invalid"}
        assert (verdict["state"] == "valid") == (codes == [])
        # Two workers share this computer and may disturb each other, but these codes are defects.
        assert not {"frames-missing", "quality-unavailable", "reconnected"} & set(codes)


def test_every_value_is_in_its_range(suite: tuple[str, list[dict[str, Any]]]) -> None:
    found = [problem for result in suite[1] for problem in _problems(result)]
    assert found == []


def _problems(result: dict[str, Any]) -> Iterator[str]:
    measurement = result["measurement"]
    where = f"{result['node']} {result['scenario']['name']}: "
    # Fields with their default values are omitted in JSON.
    environment, provenance = measurement["environment"], measurement["provenance"]
    yield from problems_of(measurement["encode"], ENCODE, where + "encode")
    yield from problems_of(measurement["source"], SOURCE, where + "source")
    yield from problems_of(environment, ENVIRONMENT, where + "environment")
    yield from problems_of(environment["slot"], SLOT, where + "environment.slot")
    yield from problems_of({"more_argv": [], **provenance}, PROVENANCE, where + "provenance")
    energy = measurement["energy"]
    if energy["status"] == "measured":
        yield from problems_of(energy, ENERGY, where + "energy")
    elif not text(energy["reason"]):
        yield where + "energy gives no reason"
    pairs = [measurement, *measurement.get("renditions", ())]
    for encoded in pairs:
        if encoded["output"] is not None:
            yield from problems_of(encoded["output"], OUTPUT, where + "output")
            yield from problems_of(encoded["quality"], QUALITY, where + "quality")
    match result["scenario"]["kind"]:
        case "live":
            live = measurement["live"]
            yield from problems_of(live, LIVE, where + "live")
            if isinstance(live["server_bytes_in"], dict):
                yield where + f"the RTMP server was not read: {live['server_bytes_in']['reason']}"
        case "ladder":
            if len(measurement["renditions"]) != 5:
                yield where + "has not five renditions"
        case "density":
            density = measurement["density"]
            if density["streams"] != 1:
                yield where + f"held {density['streams']} streams"
            for step in density["steps"]:
                yield from problems_of(step, STEP, where + "steps")
            yield from problems_of_cost(density["cost"], result["node"], where + "cost")


def problems_of_cost(cost: dict[str, Any], node: str, where: str) -> Iterator[str]:
    """Yield a message unless the cost of one stream is the price of the host.

    Only worker1 has a price. The other worker must state that its price is missing.
    """
    if node != "worker1":
        if "worker_host_price_per_hour" not in cost.get("reason", ""):
            yield f"{where} is {cost} without a price"
    elif (cost.get("per_stream_hour"), cost.get("currency")) != (0.25, "EUR"):
        yield f"{where} is {cost}"
