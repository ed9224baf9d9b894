"""Tests of the detection of disturbances during an encode, and of the resulting verdicts."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ffrtmp_shared.host_environment import Environment, SlotEnvironment
from ffrtmp_shared.live_measurement import LiveMeasurement
from ffrtmp_shared.measurement import Measurement, RenditionMeasurement
from ffrtmp_shared.unavailable import Cause, Unavailable
from ffrtmp_shared.verdict import VerdictState
from ffrtmp_worker import kinds, verdict
from ffrtmp_worker.kinds.steps.attempt import Tools
from ffrtmp_worker.measure.cgroup import cgroup_counts
from ffrtmp_worker.measure.environment import EnvironmentWatch, cpu_turbo
from ffrtmp_worker.measure.psi import stalled_us
from ffrtmp_worker.measure.throttling import throttle_counts

from .conftest import attempt, scenario

_QUIET_SLOT = SlotEnvironment(
    cpus=4,
    quota_cpus=Unavailable(reason="no quota"),
    duration_s=10.0,
    busy_s=10.0,
    steal_ratio=0.0,
    cpu_pressure_ratio=0.0,
    memory_pressure_ratio=0.0,
    io_pressure_ratio=0.0,
)
_QUIET: dict[str, Any] = {
    "throttle_events": 0,
    "throttled_periods": 0,
    "slot": _QUIET_SLOT,
}


@pytest.fixture(scope="module")
def measured(clip: Path, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """Return a real measurement with values changed to those of ten seconds on a quiet host."""
    folder = tmp_path_factory.mktemp("verdict")
    real = kinds.run_attempt(attempt(scenario(clip), clip, folder / "attempt", tools))
    assert real.verdict is not None
    encode = msgspec.structs.replace(real.encode, wall_s=10.0, user_s=9.0, system_s=1.0)
    return msgspec.structs.replace(
        real, encode=encode, environment=msgspec.structs.replace(real.environment, **_QUIET)
    )


def _with(measured: Measurement, **environment: Any) -> Measurement:
    """Return the measurement with other values of the slot or of the environment."""
    of_slot = {
        name: environment.pop(name)
        for name in SlotEnvironment.__struct_fields__
        if name in environment
    }
    slot = environment.pop("slot", msgspec.structs.replace(_QUIET_SLOT, **of_slot))
    changed = msgspec.structs.replace(measured.environment, slot=slot, **environment)
    return msgspec.structs.replace(measured, environment=changed)


def _codes(measured: Measurement) -> tuple[VerdictState, list[str]]:
    found = verdict.compute_verdict(measured)
    return found.state, [reason.code for reason in found.reasons]


@pytest.mark.slow
def test_a_quiet_host_gives_a_valid_result(measured: Measurement) -> None:
    assert _codes(measured) == (VerdictState.VALID, [])


_DEGRADED, _INVALID = VerdictState.DEGRADED, VerdictState.INVALID


@pytest.mark.parametrize(
    ("environment", "state", "code"),
    [
        ({"steal_ratio": 0.011}, _DEGRADED, "steal"),
        ({"steal_ratio": 0.21}, _INVALID, "steal"),
        ({"busy_s": 12.1}, _DEGRADED, "other-load"),
        ({"throttle_events": 1}, _DEGRADED, "throttled"),
        ({"throttled_periods": 1}, _DEGRADED, "quota"),
        ({"memory_pressure_ratio": 0.011}, _DEGRADED, "memory-pressure"),
        ({"io_pressure_ratio": 0.051}, _DEGRADED, "io-pressure"),
    ],
)
def test_a_disturbance_is_named(
    measured: Measurement, environment: dict[str, Any], state: VerdictState, code: str
) -> None:
    assert _codes(_with(measured, **environment)) == (state, [code])


@pytest.mark.parametrize(
    "environment",
    [
        {"steal_ratio": 0.01},
        {"busy_s": 12.0},
        {"memory_pressure_ratio": 0.01},
        {"io_pressure_ratio": 0.05},
        {"throttle_events": Unavailable(reason="x")},
    ],
)
def test_values_within_bounds_or_unknown_are_valid(
    measured: Measurement, environment: dict[str, Any]
) -> None:
    assert _codes(_with(measured, **environment)) == (VerdictState.VALID, [])


def test_a_short_encode_is_degraded(measured: Measurement) -> None:
    encode = msgspec.structs.replace(measured.encode, wall_s=0.9, user_s=0.8, system_s=0.1)
    quiet = _with(measured, busy_s=1.0)
    assert _codes(msgspec.structs.replace(quiet, encode=encode)) == (_DEGRADED, ["short"])


def test_missing_and_mispaired_frames_are_invalid(
    measured: Measurement,
) -> None:
    encode = msgspec.structs.replace(measured.encode, frames=measured.encode.frames + 1)
    assert _codes(msgspec.structs.replace(measured, encode=encode)) == (
        _INVALID,
        ["frames-missing"],
    )
    mispaired = Unavailable(
        reason="the output's frames match better when shifted by 1", cause=Cause.PAIRING
    )
    assert _codes(msgspec.structs.replace(measured, quality=mispaired)) == (
        _INVALID,
        ["quality-unavailable"],
    )
    assert _codes(_ladder(measured, mispaired)) == (_INVALID, ["quality-unavailable"])


def test_a_quality_without_a_model_does_not_affect_speed_and_energy(measured: Measurement) -> None:
    hdr = Unavailable(reason="the source is HDR (smpte2084), for which there is no model")
    for result in (msgspec.structs.replace(measured, quality=hdr), _ladder(measured, hdr)):
        decoded = msgspec.json.decode(msgspec.json.encode(result), type=Measurement)
        assert _codes(decoded) == (VerdictState.VALID, [])


def _ladder(measured: Measurement, quality: Unavailable) -> Measurement:
    assert measured.output is not None
    rendition = RenditionMeasurement(
        name="low", encode=None, output=measured.output, quality=quality
    )
    return msgspec.structs.replace(measured, output=None, renditions=(rendition,))


@pytest.mark.parametrize(
    ("longest_s", "end_s", "codes"),
    [(4.9, 1.9, []), (5.1, 0.0, ["silent"]), (2.1, 2.1, ["silent"]), (54.0, 54.0, ["silent"])],
)
def test_a_silent_stream_is_invalid(
    measured: Measurement, longest_s: float, end_s: float, codes: list[str]
) -> None:
    values = dict.fromkeys(LiveMeasurement.__struct_fields__, 0) | {
        "duration_s": 60.0,
        "silence_max_s": longest_s,
        "silence_end_s": end_s,
    }
    live = msgspec.convert(values, LiveMeasurement)
    found = msgspec.structs.replace(measured, output=None, live=live)
    assert _codes(found) == (_INVALID if codes else VerdictState.VALID, codes)


def test_a_verdict_contains_reasons_of_both_severities(measured: Measurement) -> None:
    state, codes = _codes(_with(measured, steal_ratio=0.5, throttle_events=3))
    assert (state, codes) == (_INVALID, ["steal", "throttled"])


# --- observation of the host ---------------------------------------------------------------


@pytest.mark.slow
def test_load_of_other_processes_is_detected(clip: Path, tools: Tools, tmp_path: Path) -> None:
    slow = scenario(clip, encoder="libx264", preset="slower", threads=1)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as hog:
        try:
            measured = kinds.run_attempt(attempt(slow, clip, tmp_path / "attempt", tools))
        finally:
            hog.kill()
    assert measured.verdict is not None
    assert "other-load" in [reason.code for reason in measured.verdict.reasons]


def test_a_watch_measures_this_host() -> None:
    watch = EnvironmentWatch()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    seen = watch.finish()
    assert isinstance(seen.cpu_busy_s, float)
    assert seen.cpu_busy_s >= 0.2
    assert isinstance(seen.slot, SlotEnvironment)
    assert 0.2 <= seen.slot.busy_s <= seen.cpu_busy_s + 0.1
    assert seen.slot.cpus == len(os.sched_getaffinity(0))
    assert isinstance(seen.cpu_count, int)
    assert seen.cpu_affinity
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Environment) == seen


def test_throttling_is_counted_once_a_core_and_once_a_package(tmp_path: Path) -> None:
    assert throttle_counts(tmp_path) == {}
    for cpu, (package, core) in enumerate([(0, 0), (0, 0), (0, 1), (1, 0)]):
        folder = tmp_path / f"cpu{cpu}"
        (folder / "topology").mkdir(parents=True)
        (folder / "thermal_throttle").mkdir()
        (folder / "topology/physical_package_id").write_text(f"{package}\n")
        (folder / "topology/core_id").write_text(f"{core}\n")
        (folder / "thermal_throttle/core_throttle_count").write_text(f"{core + 1}\n")
        (folder / "thermal_throttle/package_throttle_count").write_text(f"{package * 10}\n")
    assert throttle_counts(tmp_path) == {
        "package0": 0,
        "package0-core0": 1,
        "package0-core1": 2,
        "package1": 10,
        "package1-core0": 1,
    }
    # The heat of the other package does not slow down a slot on CPU 2.
    assert throttle_counts(tmp_path, {2}) == {"package0": 0, "package0-core1": 2}


def test_pressure_is_read_or_none(tmp_path: Path) -> None:
    assert stalled_us("io", tmp_path) is None
    (tmp_path / "io").write_text(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=999\n"
    )
    assert stalled_us("io", tmp_path) == 1234


@pytest.mark.parametrize("is_unified", [True, False])
def test_the_slots_counts_are_read_with_both_cgroup_versions(
    tmp_path: Path, *, is_unified: bool
) -> None:
    own, cgroups = tmp_path / "own", tmp_path / "cgroup"
    if is_unified:
        own.write_text("0::/system.slice/agent\n")
        cpu = memory = cgroups / "system.slice/agent"
        cpu.mkdir(parents=True)
        (cgroups / "cgroup.controllers").write_text("cpu memory\n")
        (memory / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    else:
        own.write_text("5:memory:/agent\n3:cpu,cpuacct:/agent\n0::/agent\n")
        cpu, memory = cgroups / "cpu,cpuacct/agent", cgroups / "memory/agent"
        cpu.mkdir(parents=True)
        memory.mkdir(parents=True)
        (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (cpu / "cpu.stat").write_text("nr_periods 9\nnr_throttled 4\nthrottled_usec 100\n")
    found = cgroup_counts(own, cgroups)
    assert (found.throttled_periods, found.oom_kills) == (4, 2)


def test_a_host_without_control_groups_has_no_counts(tmp_path: Path) -> None:
    found = cgroup_counts(tmp_path / "own", tmp_path)
    assert (found.throttled_periods, found.oom_kills) == (None, None)


def test_turbo_is_read_from_either_driver(tmp_path: Path) -> None:
    assert isinstance(cpu_turbo(tmp_path), Unavailable)
    (tmp_path / "cpufreq").mkdir()
    (tmp_path / "cpufreq/boost").write_text("0\n")
    assert cpu_turbo(tmp_path) == "off"
    (tmp_path / "intel_pstate").mkdir()
    (tmp_path / "intel_pstate/no_turbo").write_text("0\n")
    assert cpu_turbo(tmp_path) == "on"
