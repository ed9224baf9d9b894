"""Diagnosis of simulated hosts: each fault is found, and a healthy host has none."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil
import pytest
from ffrtmp_cli.diagnosis.busy_load import busy_cpus
from ffrtmp_cli.diagnosis.clock_findings import check_clock
from ffrtmp_cli.diagnosis.cpu_findings import check_cpu, check_throttling
from ffrtmp_cli.diagnosis.diagnosis import CheckedPrograms, Diagnosis, diagnose
from ffrtmp_cli.diagnosis.energy_findings import check_energy, check_gpu_energy
from ffrtmp_cli.diagnosis.ffmpeg_findings import check_ffmpeg
from ffrtmp_cli.diagnosis.findings import Finding, Status
from ffrtmp_cli.diagnosis.memory_findings import check_memory
from ffrtmp_cli.diagnosis.power_findings import check_power
from ffrtmp_cli.diagnosis.redaction import redact
from ffrtmp_worker.energy.client import EnergyReading, ZoneReading
from polling import wait_until

from .simulated_host import ZONES, SimulatedHost, Watts, package_w, part_of

_UNPRIVILEGED = 65534
_DEAD = {**ZONES, "intel-rapl:0": ("package-0", part_of(0.0))}
_DOUBLE = {**ZONES, "intel-rapl:0": ("package-0", part_of(2.0))}


def _diagnose(host: SimulatedHost, directory: Path) -> Diagnosis:
    ffmpeg, ffprobe = shutil.which("ffmpeg"), shutil.which("ffprobe")
    assert ffmpeg and ffprobe, "install the package ffmpeg"
    programs = CheckedPrograms(ffmpeg=Path(ffmpeg), ffprobe=Path(ffprobe))
    return diagnose(host.host, programs, directory, lambda _: None)


def _ids(findings: Sequence[Finding], status: Status) -> set[str]:
    return {finding.id for finding in findings if finding.status is status}


def _by_id(findings: Sequence[Finding]) -> dict[str, Finding]:
    found = {finding.id: finding for finding in findings}
    assert len(found) == len(findings), "each finding has its own id"
    return found


def test_a_healthy_host_has_no_fault(tmp_path: Path) -> None:
    found = _diagnose(SimulatedHost(tmp_path / "root"), tmp_path)
    assert _ids(found.findings, Status.FAULT) == set()
    assert found.faults == 0
    # The disk and FFmpeg are those of this computer.
    warnings = _ids(found.findings, Status.WARNING)
    assert warnings <= {"disk-space", "disk-type", "disk-speed", "libvmaf"}
    about = _by_id(found.findings)
    # 64 W for the 7.92 CPUs that the load adds to those of other programs.
    assert about["energy-power"].found.startswith("8.1 W for each further busy CPU")
    assert about["energy-advance"].found == "packages: 10.0 W idle, 74.0 W with all CPUs busy"
    assert found.ffmpeg is not None
    assert len(found.ffmpeg.sha256) == 64


@pytest.mark.parametrize(
    ("zones", "has_limits", "fault", "words"),
    [
        (
            {"intel-rapl:0": ("package-0", part_of(2.0)), "intel-rapl:1": ZONES["intel-rapl:1"]},
            False,
            "energy-double",
            "1.8 times the additional energy of psys",
        ),
        (
            {
                "intel-rapl:0": ("package-0", part_of(2.0)),
                "intel-rapl-mmio:0": ZONES["intel-rapl-mmio:0"],
            },
            False,
            "energy-double",
            "intel-rapl:0 counts 2.0 times the energy that intel-rapl-mmio:0 counts",
        ),
        (
            {"intel-rapl:0": ("package-0", part_of(2.0))},
            True,
            "energy-power",
            "1.6 times the processor's limit of 90 W",
        ),
        (
            {"intel-rapl:0": ("package-0", part_of(0.3)), "intel-rapl:0:0": ("core", package_w)},
            False,
            "energy-double",
            "core of intel-rapl:0 count 3.3 times",
        ),
        (
            {"intel-rapl:0": ("package-0", part_of(20.0))},
            False,
            "energy-power",
            "which no processor uses",
        ),
        (
            {"intel-rapl:0": ("package-0", part_of(0.005))},
            False,
            "energy-power",
            "0.04 W for each further busy CPU is implausible",
        ),
        (
            {"intel-rapl:0": ("package-0", lambda _: 30.0)},
            False,
            "energy-advance",
            "do not depend on the load",
        ),
    ],
    ids=["psys", "MMIO", "power limit", "cores", "huge", "tiny", "constant"],
)
def test_each_comparison_finds_a_wrong_counter(
    tmp_path: Path,
    zones: Mapping[str, tuple[str, Watts]],
    has_limits: bool,
    fault: str,
    words: str,
) -> None:
    host = SimulatedHost(tmp_path / "root", zones=zones, has_limits=has_limits)
    found = check_energy(host.host)
    assert fault in _ids(found, Status.FAULT)
    assert words in _by_id(found)[fault].found


def _socket(number: int) -> Watts:
    """Return the power of one of two processors, whose CPUs have alternating numbers."""
    return lambda busy: package_w([cpu for cpu in busy if cpu % 2 == number])


def test_two_processors_under_the_same_load_are_different(tmp_path: Path) -> None:
    zones = {
        "intel-rapl:0": ("package-0", _socket(0)),
        "intel-rapl:1": ("package-1", _socket(1)),
    }
    found = check_energy(SimulatedHost(tmp_path / "root", zones=zones, packages=2).host)
    assert _ids(found, Status.FAULT) == set()


def test_a_dead_counter_of_memory_is_unavailable(tmp_path: Path) -> None:
    zones = {**ZONES, "intel-rapl:0:2": ("dram", part_of(0.0))}
    found = check_energy(SimulatedHost(tmp_path / "root", zones=zones).host)
    assert _ids(found, Status.WARNING) == {"energy-advance"}
    assert _by_id(found)["energy-memory"].status is Status.UNAVAILABLE


def test_two_zones_that_count_the_same_processor_are_found(tmp_path: Path) -> None:
    # The values of the counters differ, so that the worker adds both.
    zones = {
        "intel-rapl:0": ("package-0-die-0", package_w),
        "intel-rapl:1": ("package-0-die-1", package_w),
    }
    found = check_energy(SimulatedHost(tmp_path / "root", zones=zones).host)
    assert _ids(found, Status.FAULT) == {"energy-double"}
    assert "both are added" in _by_id(found)["energy-double"].found


def test_a_platform_counter_that_is_not_connected_proves_nothing(tmp_path: Path) -> None:
    zones = {**ZONES, "intel-rapl:1": ("psys", part_of(0.001))}
    found = check_energy(SimulatedHost(tmp_path / "root", zones=zones).host)
    assert _ids(found, Status.FAULT) == set()


def test_a_busy_host_gives_no_verdict_on_the_power(tmp_path: Path) -> None:
    found = check_energy(SimulatedHost(tmp_path / "root", other_load=0.9).host)
    assert _ids(found, Status.FAULT) == set()
    assert _by_id(found)["energy-power"].status is Status.WARNING


def test_a_host_without_counters_is_not_faulty(tmp_path: Path) -> None:
    found = check_energy(SimulatedHost(tmp_path / "root", zones={}).host)
    assert [finding.status for finding in found] == [Status.UNAVAILABLE]
    assert "modprobe" in found[0].remedy


def test_a_counter_without_a_range_is_a_fault(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path / "root")
    (tmp_path / "root/sys/class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    assert _ids(check_energy(host.host), Status.FAULT) == {"energy-wraparound"}


def test_counters_that_only_root_may_read_are_unavailable() -> None:
    # Other users may not enter the folder of a test.
    with tempfile.TemporaryDirectory(prefix="ffrtmp-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        host = SimulatedHost(folder / "root")
        for file in folder.glob("root/sys/class/powercap/*/energy_uj"):
            file.chmod(0)
        user_id = os.geteuid()
        # Root may read any file.
        os.seteuid(user_id or _UNPRIVILEGED)
        try:
            (found,) = check_energy(host.host)
        finally:
            os.seteuid(user_id)
    assert found.status is Status.UNAVAILABLE
    assert found.found == "this user may not read 6 energy counters"
    assert f"sudo chmod a+r {folder}/root/sys/class/powercap/intel-rapl*/energy_uj" in found.remedy


def test_powersave_of_a_driver_that_follows_the_load_is_a_warning(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path / "root", governor="powersave", driver="intel_pstate")
    assert _by_id(check_cpu(host.host))["cpu-governor"].status is Status.WARNING


_CPU = "sys/devices/system/cpu"
_BATTERY = "sys/class/power_supply/BAT0"


@pytest.mark.parametrize(
    ("files", "check", "status"),
    [
        ({f"{_CPU}/cpu3/cpufreq/scaling_governor": "schedutil"}, "cpu-governor", Status.WARNING),
        ({f"{_CPU}/cpu3/cpufreq/scaling_max_freq": "800000"}, "cpu-frequency", Status.WARNING),
        ({f"{_CPU}/cpufreq/boost": "0"}, "cpu-turbo", Status.OK),
        (
            {f"{_BATTERY}/type": "Battery", f"{_BATTERY}/status": "Discharging"},
            "power-supply",
            Status.WARNING,
        ),
        (
            {f"{_BATTERY}/type": "Battery", f"{_BATTERY}/scope": "Device"},
            "power-supply",
            Status.OK,
        ),
        (
            {
                f"{_BATTERY}/type": "Battery",
                f"{_BATTERY}/status": "Charging",
                "sys/class/power_supply/AC/type": "Mains",
                "sys/class/power_supply/AC/online": "1",
            },
            "power-supply",
            Status.OK,
        ),
        ({"sys/firmware/acpi/platform_profile": "low-power"}, "power-profile", Status.WARNING),
        (
            {"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"},
            "clock-source",
            Status.WARNING,
        ),
        ({"proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 900 kB"}, "memory", Status.FAULT),
        ({"proc/meminfo": "MemAvailable: 2000000 kB"}, "memory", Status.WARNING),
    ],
)
def test_the_state_of_a_check_depends_on_the_kernels_files(
    tmp_path: Path, files: Mapping[str, str], check: str, status: Status
) -> None:
    host = SimulatedHost(tmp_path)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n", encoding="ascii")
    found = [
        *check_cpu(host.host),
        *check_power(host.host),
        *check_clock(host.host),
        check_memory(host.host),
    ]
    assert _by_id(found)[check].status is status


def test_a_clock_that_is_not_synchronized_is_a_warning(tmp_path: Path) -> None:
    host = msgspec.structs.replace(SimulatedHost(tmp_path).host, is_synchronized=lambda: False)
    assert _ids(check_clock(host), Status.WARNING) == {"clock-synchronization"}


def test_throttling_under_load_is_a_warning() -> None:
    before, after = {"package0": 3, "package0-core1": 7}, {"package0": 3, "package0-core1": 9}
    found = check_throttling(before, after)
    assert found.status is Status.WARNING
    assert found.found.startswith("2 throttling events")
    assert check_throttling({"package0": 0}, {"package0": 0}).status is Status.OK
    assert check_throttling({}, {}).status is Status.UNAVAILABLE


def test_an_encoder_of_a_gpu_is_tested_with_an_encode(tmp_path: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg, "install the package ffmpeg"
    host = SimulatedHost(tmp_path).host
    # The file exists, but it is not a GPU.
    (host.dev / "dri").mkdir()
    (host.dev / "dri/renderD128").touch()
    origin, found = check_ffmpeg(host, Path(ffmpeg), None)
    assert origin is not None
    about = _by_id(found)
    assert about["ffprobe"].status is Status.FAULT
    gpus = {name: finding for name, finding in about.items() if name.startswith("gpu-")}
    assert "gpu-h264_vaapi" in gpus
    for finding in gpus.values():
        assert finding.status in (Status.WARNING, Status.UNAVAILABLE)
        assert "an encode failed" in finding.found


def test_a_program_that_is_not_ffmpeg_is_a_fault(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path).host
    origin, found = check_ffmpeg(host, Path("/bin/true"), Path("/bin/true"))
    assert origin is None
    assert _ids(found, Status.FAULT) == {"ffmpeg", "ffprobe"}


@pytest.mark.parametrize(("used_j", "status"), [(30.0, Status.OK), (0.0, Status.FAULT)])
def test_the_counter_of_a_gpu_has_to_advance(used_j: float, status: Status) -> None:
    def reading(at_s: float, joules: float) -> EnergyReading:
        zone = ZoneReading(joules=joules, watts=None)
        return EnergyReading(monotonic_s=at_s, zones={"GPU": zone}, gaps=0, reason="")

    assert check_gpu_energy(reading(1.0, 500.0), reading(3.0, 500.0 + used_j)).status is status


def test_the_load_keeps_a_cpu_busy() -> None:
    cpu = min(os.sched_getaffinity(0))
    others = set(psutil.Process().children())
    with busy_cpus([cpu]):
        (process,) = set(psutil.Process().children()) - others
        wait_until(lambda: process.cpu_times().user > 0.1, "the load uses CPU time")
        assert process.cpu_affinity() == [cpu]
    assert not process.is_running()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "fault", "words"),
    [
        ({}, None, ""),
        ({"zones": _DEAD}, "energy-advance", "dead counter: package-0"),
        ({"zones": _DOUBLE}, "energy-double", "counts double"),
        ({"governor": "powersave"}, "cpu-governor", "lowest frequency"),
    ],
    ids=["healthy", "dead counter", "counter that counts double", "governor powersave"],
)
def test_the_command_identifies_the_fault_of_a_host(
    tmp_path: Path, settings: dict[str, object], fault: str | None, words: str
) -> None:
    cpus = max(os.sched_getaffinity(0)) + 1
    host = SimulatedHost(tmp_path / "root", cpus=cpus, **settings)  # type: ignore[arg-type]
    command = [
        *(sys.executable, "-m", "ffrtmp_cli", "doctor", "--root", str(host.root)),
        *("--json", "--redact", "--directory", str(tmp_path)),
    ]
    with (
        (tmp_path / "stdout").open("w") as output,
        (tmp_path / "stderr").open("w") as errors,
        subprocess.Popen(command, stdout=output, stderr=errors, text=True) as program,
    ):
        host.follow(program)
    printed = (tmp_path / "stdout").read_text(encoding="utf-8")
    document = msgspec.json.decode(printed, type=Diagnosis)
    # The disk is that of this computer.
    faults = _ids(document.findings, Status.FAULT) - {"disk-space"}
    assert faults == ({fault} if fault else set())
    assert program.returncode == (1 if document.faults else 0)
    if fault:
        assert words in _by_id(document.findings)[fault].found
        assert _by_id(document.findings)[fault].remedy
        assert fault in (tmp_path / "stderr").read_text(encoding="utf-8")
    assert json.loads(printed)["schema"] == "ffrtmp/doctor/1"
    assert document.host.hostname == "HOST"


def test_names_are_removed_from_all_texts() -> None:
    finding = Finding(
        id="disk", status=Status.OK, found="/home/ann/clips on box.example, boxes", remedy="ann"
    )
    hidden = redact(finding, {"/home/ann": "HOME", "ann": "USER", "box.example": "HOST"})
    assert hidden.found == "HOME/clips on HOST, boxes"
    assert hidden.remedy == "USER"
    assert hidden.status is Status.OK
