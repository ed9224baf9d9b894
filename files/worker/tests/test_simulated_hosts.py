"""Verdicts on simulated hosts with 2, 64 and 256 CPUs, compared with calculations by hand.

Each host consists of the kernel's files before and after a measurement of ten seconds. A CPU that
is not mentioned was idle.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import factories
import msgspec
import pytest
from ffrtmp_shared.density_measurement import DensityMeasurement
from ffrtmp_shared.host_environment import SlotEnvironment
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_shared.verdict import VerdictState
from ffrtmp_worker import verdict
from ffrtmp_worker.measure.cgroup import quota_cpus
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.host_files import HostFiles
from ffrtmp_worker.measure.slot_watch import SlotWatch

_DURATION_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")

Spent = Mapping[int, tuple[float, float]]
"""Seconds that each CPU was busy, and seconds that were stolen from it."""


class Host(NamedTuple):
    """A host, the part of it that the slot may use, and what happened in ten seconds."""

    cpus: int
    spent: Spent
    own_s: float
    slot: frozenset[int] | None = None
    quota: str = "max 100000"
    offline: frozenset[int] = frozenset()
    stalled_s: Mapping[str, float] | None = None
    host_stalled_ratio: float = 0.0


class Expected(NamedTuple):
    state: VerdictState
    codes: list[str]


_VALID, _DEGRADED, _INVALID = VerdictState.VALID, VerdictState.DEGRADED, VerdictState.INVALID
_PAIR = frozenset({10, 11})


def _all(cpus: int, busy_s: float, steal_s: float = 0.0) -> Spent:
    return dict.fromkeys(range(cpus), (busy_s, steal_s))


_TABLE: dict[str, tuple[Host, Expected]] = {
    # 20 s of CPU time in all. Other processes used 19.9 - 19 = 0.9 s: 0.9 / 20 = 4.5 %.
    "2 CPUs, little other load": (
        Host(2, {0: (10.0, 0.0), 1: (9.9, 0.0)}, own_s=19.0),
        Expected(_VALID, []),
    ),
    # (20 - 18.9) / 20 = 5.5 %.
    "2 CPUs, other load": (Host(2, _all(2, 10.0), own_s=18.9), Expected(_DEGRADED, ["other-load"])),
    # Steal: 0.3 / (19.7 + 0.3) = 1.5 %.
    "2 CPUs, some steal": (
        Host(2, _all(2, 9.85, 0.15), own_s=19.7),
        Expected(_DEGRADED, ["steal"]),
    ),
    # Other processes used 10 of the slot's 20 s: 50 %. Of the host, this is 10 / 640 = 1.6 %.
    "64 CPUs, the slot's two are shared equally": (
        Host(64, {10: (10.0, 0.0), 11: (10.0, 0.0)}, own_s=10.0, slot=_PAIR),
        Expected(_DEGRADED, ["other-load"]),
    ),
    # The other 62 CPUs are busy, but not those of the slot: 0 %. Of the host, this is 97 %.
    "64 CPUs, only those outside the slot are busy": (
        Host(64, _all(64, 10.0), own_s=20.0, slot=_PAIR),
        Expected(_VALID, []),
    ),
    # Steal: 6 / (14 + 6) = 30 %. Of the host, this is 6 / 640 = 0.9 %.
    "64 CPUs, steal on the slot's two": (
        Host(64, {10: (7.0, 3.0), 11: (7.0, 3.0)}, own_s=14.0, slot=_PAIR),
        Expected(_INVALID, ["steal"]),
    ),
    # Steal outside the slot: 0 of 20 s.
    "64 CPUs, steal outside the slot": (
        Host(64, {**_all(64, 5.0, 5.0), 10: (10.0, 0.0), 11: (10.0, 0.0)}, own_s=20.0, slot=_PAIR),
        Expected(_VALID, []),
    ),
    # The encode uses two CPUs of its choice: 6 / (14 + 6) = 30 % of what they wanted.
    "64 CPUs, not pinned, steal on the two that are busy": (
        Host(64, {3: (7.0, 3.0), 40: (7.0, 3.0)}, own_s=14.0),
        Expected(_INVALID, ["steal"]),
    ),
    # Other processes used 34 - 4 = 30 s of 640: 4.7 %.
    "64 CPUs, not pinned, other load on other cores": (
        Host(64, {**_all(3, 10.0), 40: (4.0, 0.0)}, own_s=4.0),
        Expected(_VALID, []),
    ),
    # CPU 5 is offline, so the slot has two CPUs: (20 - 18.9) / 20 = 5.5 %; with three, 3.7 %.
    "64 CPUs, one of the slot's is offline": (
        Host(
            64,
            {6: (10.0, 0.0), 7: (10.0, 0.0)},
            own_s=18.9,
            slot=frozenset({5, 6, 7}),
            offline=frozenset({5}),
        ),
        Expected(_DEGRADED, ["other-load"]),
    ),
    # CPUs after one that is offline keep their numbers: the busy CPU 1 is outside the slot.
    "64 CPUs, an offline CPU does not shift the others": (
        Host(
            64,
            {1: (10.0, 5.0), 3: (9.0, 0.0)},
            own_s=9.0,
            slot=frozenset({2, 3}),
            offline=frozenset({0}),
        ),
        Expected(_VALID, []),
    ),
    # 1,408 - 1,280 = 128 s of 2,560: exactly 5.0 %.
    "256 CPUs, other load at the limit": (
        Host(256, _all(256, 5.5), own_s=1280.0),
        Expected(_VALID, []),
    ),
    # 1,433.6 - 1,280 = 153.6 s of 2,560: 6 %.
    "256 CPUs, other load": (
        Host(256, _all(256, 5.6), own_s=1280.0),
        Expected(_DEGRADED, ["other-load"]),
    ),
    # The quota of 4 CPUs entitles to 40 s; other processes used 3 s: 7.5 %.
    "256 CPUs, a quota of four": (
        Host(256, {**_all(4, 10.0), 9: (3.0, 0.0)}, own_s=40.0, quota="400000 100000"),
        Expected(_DEGRADED, ["other-load"]),
    ),
    # 0.5 s of 40 s were stolen: 1.25 %. Relative to all the work, 0.5 / 100.5, it were 0.5 %.
    "256 CPUs, a quota of four, steal": (
        Host(256, _all(10, 10.0, 0.05), own_s=99.0, quota="400000 100000"),
        Expected(_DEGRADED, ["steal"]),
    ),
    # Two CPUs, although the quota is four: 0.9 / 20 = 4.5 %.
    "256 CPUs, pinned to fewer than the quota": (
        Host(
            256,
            {10: (10.0, 0.0), 11: (9.9, 0.0)},
            own_s=19.0,
            slot=_PAIR,
            quota="400000 100000",
        ),
        Expected(_VALID, []),
    ),
    # Tasks of the slot waited for memory 0.2 of 10 s, 2 %, and for disks 0.4 of 10 s, 4 %.
    "64 CPUs, the slot waits for memory": (
        Host(
            64,
            {10: (10.0, 0.0), 11: (10.0, 0.0)},
            own_s=20.0,
            slot=_PAIR,
            stalled_s={"cpu": 1.0, "memory": 0.2, "io": 0.4},
        ),
        Expected(_DEGRADED, ["memory-pressure"]),
    ),
    # Other tasks of the host waited half of the time, but none of the slot.
    "256 CPUs, other tasks wait for disks": (
        Host(
            256,
            {10: (10.0, 0.0), 11: (10.0, 0.0)},
            own_s=20.0,
            slot=_PAIR,
            stalled_s={"cpu": 0.0, "memory": 0.0, "io": 0.0},
            host_stalled_ratio=0.5,
        ),
        Expected(_VALID, []),
    ),
    # With control groups of version 1, only the host's pressure is known.
    "2 CPUs, the pressure of the slot is unknown": (
        Host(2, _all(2, 10.0), own_s=20.0, host_stalled_ratio=0.06),
        Expected(_DEGRADED, ["memory-pressure", "io-pressure"]),
    ),
}


class SimulatedHost:
    """The kernel's files of a host, in a folder."""

    def __init__(self, folder: Path, host: Host) -> None:
        self._host = host
        self.now_s = 1000.0
        self.files = HostFiles(
            proc=folder / "proc",
            sys=folder / "sys",
            affinity=frozenset(range(host.cpus)) if host.slot is None else host.slot,
        )
        self._group = self.files.cgroups / "slice/slot"
        self._group.mkdir(parents=True)
        (self.files.cgroups / "cgroup.controllers").write_text("cpu io memory\n")
        self._group.joinpath("cpu.max").write_text("max 100000\n")
        self._group.parent.joinpath("cpu.max").write_text(f"{host.quota}\n")
        self.files.own_cgroup.parent.mkdir(parents=True)
        self.files.own_cgroup.write_text("0::/slice/slot\n")
        self._write({}, dict.fromkeys(host.stalled_s or (), 0.0))

    def pass_time(self) -> None:
        """Let ten seconds pass."""
        self.now_s += _DURATION_S
        self._write(self._host.spent, self._host.stalled_s or {})

    def _write(self, spent: Spent, stalled_s: Mapping[str, float]) -> None:
        lines = ["cpu  0 0 0 0 0 0 0 0 0 0"]
        for cpu in sorted(set(range(self._host.cpus)) - self._host.offline):
            busy_s, steal_s = spent.get(cpu, (0.0, 0.0))
            idle_s = self.now_s - busy_s - steal_s
            user, steal, idle = (round(s * _TICKS) for s in (500 + busy_s, 70 + steal_s, idle_s))
            # Half of the user time is that of guests, which must not be counted twice.
            lines.append(f"cpu{cpu} {user} 0 100 {idle} 50 0 0 {steal} {user // 2} 0")
        (self.files.proc / "stat").write_text("\n".join([*lines, "intr 1 2 3", "ctxt 4"]) + "\n")
        for resource, seconds in stalled_s.items():
            (self._group / f"{resource}.pressure").write_text(
                f"some avg10=0.00 avg60=0.00 avg300=0.00 total={round(seconds * 1e6) + 77}\n"
                "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
            )


def _slot(folder: Path, host: Host) -> SlotEnvironment:
    simulated = SimulatedHost(folder, host)
    watch = SlotWatch(simulated.files, clock=lambda: simulated.now_s)
    simulated.pass_time()
    found = watch.finish()
    assert isinstance(found, SlotEnvironment)
    return found


def _measured(host: Host, slot: SlotEnvironment) -> Measurement:
    """Return a measurement on this host, whose encode ran for the whole time."""
    real = factories.measurement()
    return msgspec.structs.replace(
        real,
        encode=msgspec.structs.replace(
            real.encode, wall_s=_DURATION_S, user_s=host.own_s, system_s=0.0
        ),
        environment=msgspec.structs.replace(
            real.environment,
            throttle_events=0,
            memory_pressure_ratio=host.host_stalled_ratio,
            io_pressure_ratio=host.host_stalled_ratio,
            slot=slot,
        ),
        verdict=None,
    )


@pytest.mark.parametrize("case", _TABLE)
def test_verdicts_equal_calculations_by_hand(tmp_path: Path, case: str) -> None:
    host, expected = _TABLE[case]
    found = verdict.compute_verdict(_measured(host, _slot(tmp_path, host)))
    assert (found.state, [reason.code for reason in found.reasons]) == expected


def test_a_density_is_judged_like_other_kinds(tmp_path: Path) -> None:
    host, expected = _TABLE["64 CPUs, the slot's two are shared equally"]
    density = DensityMeasurement(
        streams=2,
        limit="cpu",
        steps=(),
        power_w=Unavailable(reason="x"),
        watts_per_stream=Unavailable(reason="x"),
    )
    measured = msgspec.structs.replace(
        _measured(host, _slot(tmp_path, host)), output=None, density=density
    )
    found = verdict.compute_verdict(measured)
    assert (found.state, [reason.code for reason in found.reasons]) == expected


def test_figures_of_a_slot(tmp_path: Path) -> None:
    host = Host(
        64,
        {10: (7.0, 1.0), 11: (5.0, 2.0), 12: (9.0, 1.0)},
        own_s=1.0,
        slot=_PAIR,
        quota="150000 100000",
        stalled_s={"cpu": 1.0, "memory": 0.5, "io": 0.25},
    )
    found = _slot(tmp_path, host)
    # The quota entitles to 15 s, as much as the work of the two CPUs: 7 + 1 + 5 + 2 = 15 s.
    assert found == SlotEnvironment(
        cpus=2,
        quota_cpus=1.5,
        duration_s=_DURATION_S,
        busy_s=pytest.approx(12.0),
        steal_ratio=pytest.approx(3.0 / 15.0),
        cpu_pressure_ratio=pytest.approx(0.1),
        memory_pressure_ratio=pytest.approx(0.05),
        io_pressure_ratio=pytest.approx(0.025),
    )
    assert found.entitled_s == pytest.approx(15.0)


def test_a_cpu_that_goes_offline_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu0 10 0 0 100 0 0 0 0 0 0\ncpu1 10 0 0 100 0 0 0 0 0 0\n")
    before = CpuTimes.now(proc=tmp_path)
    (tmp_path / "stat").write_text("cpu1 60 0 0 150 0 0 0 0 0 0\n")
    spent = CpuTimes.now(proc=tmp_path).since(before)
    assert (spent.cpus, spent.busy_s) == (1, pytest.approx(50 / _TICKS))


def test_a_slot_whose_cpus_are_all_offline_has_no_figures(tmp_path: Path) -> None:
    host = Host(4, {}, own_s=1.0, slot=frozenset({3}), offline=frozenset({3}))
    simulated = SimulatedHost(tmp_path, host)
    watch = SlotWatch(simulated.files, clock=lambda: simulated.now_s)
    simulated.pass_time()
    assert isinstance(watch.finish(), Unavailable)


@pytest.mark.parametrize(
    ("quota_us", "period_us", "expected"),
    [("250000", "100000", 2.5), ("-1", "100000", None), ("", "", None), ("5", "0", None)],
)
def test_quotas_of_control_groups_of_version_1(
    tmp_path: Path, quota_us: str, period_us: str, expected: float | None
) -> None:
    own, cgroups = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("3:cpu,cpuacct:/slice/slot\n0::/slot\n")
    slot = cgroups / "cpu,cpuacct/slice/slot"
    slot.mkdir(parents=True)
    (slot / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
    (slot / "cpu.cfs_period_us").write_text(f"{period_us}\n")
    assert quota_cpus(own, cgroups) == expected


def test_the_quota_of_a_container_is_that_of_the_root(tmp_path: Path) -> None:
    own, cgroups = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("0::/\n")
    cgroups.mkdir()
    (cgroups / "cgroup.controllers").write_text("cpu\n")
    (cgroups / "cpu.max").write_text("50000 100000\n")
    assert quota_cpus(own, cgroups) == 0.5
