"""Tests of host tuning, with imitations of the kernel's files and of systemctl."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.measure.environment import cpu_governor, cpu_turbo, numa_nodes
from ffrtmp_worker.tuning import state
from ffrtmp_worker.tuning.cli import main
from ffrtmp_worker.tuning.state import host_tuning

# A program that is used instead of systemctl. Each timer is a folder, and the state of the timer
# consists of the files `active` and `masked`, which may exist in the folder.
_SYSTEMCTL = """#!{python}
import pathlib, sys
_, action, *rest = sys.argv[1:]
timer = pathlib.Path({units!r}) / rest[-1]
with open({units!r} + ".log", "a") as log:
    log.write(" ".join([action, *rest]) + "\\n")
if action == "show":
    load = "masked" if (timer / "masked").exists() else "loaded" if timer.exists() else "not-found"
    active = "active" if (timer / "active").exists() else "inactive"
    print(f"LoadState={{load}}\\nActiveState={{active}}")
elif (timer / "broken").exists():
    sys.exit("Failed to " + action + " " + timer.name)
elif action == "start":
    (timer / "active").touch()
elif action == "stop":
    (timer / "active").unlink(missing_ok=True)
elif action == "mask":
    (timer / "masked").touch()
elif action == "unmask":
    (timer / "masked").unlink(missing_ok=True)
"""


class Host:
    """A host whose files are below `folder`."""

    def __init__(self, folder: Path, timers: Sequence[str] = ("apt-daily.timer",)) -> None:
        self.cpus, self.units = folder / "cpu", folder / "units"
        self.state, self.config = folder / "before.json", folder / "tuning.yml"
        self.cpus.mkdir()
        self.units.mkdir()
        systemctl = folder / "systemctl"
        systemctl.write_text(_SYSTEMCTL.format(python=sys.executable, units=str(self.units)))
        systemctl.chmod(0o755)
        settings = {
            "cpu_tree": str(self.cpus),
            "governor": "performance",
            "is_turbo_off": True,
            "timers": timers,
            "systemctl": str(systemctl),
            "state_file": str(self.state),
        }
        self.config.write_bytes(msgspec.json.encode(settings))

    def add_cpus(self, *governors: str) -> None:
        """Add CPUs with their governors."""
        for number, governor in enumerate(governors):
            self.write(f"cpu{number}/cpufreq/scaling_governor", governor)

    def add_timer(self, name: str, *, is_active: bool = True) -> None:
        """Add a timer."""
        (self.units / name).mkdir()
        if is_active:
            (self.units / name / "active").touch()

    def write(self, name: str, value: str) -> None:
        """Write a file that the kernel would provide."""
        (self.cpus / name).parent.mkdir(parents=True, exist_ok=True)
        (self.cpus / name).write_text(f"{value}\n")

    def run(self, command: str) -> int:
        """Run ffrtmp-host-tuning and return its exit code."""
        return main(["--config", str(self.config), command])

    def all(self) -> dict[str, str]:
        """Return all state that tuning may change."""
        files = [file for folder in (self.cpus, self.units) for file in folder.rglob("*")]
        return {str(file): file.read_text().strip() for file in files if file.is_file()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host with Intel's driver, and with governors and timers in different states."""
    host = Host(tmp_path, ["apt-daily.timer", "fstrim.timer", "man-db.timer", "none.timer"])
    host.add_cpus("powersave", "schedutil")
    host.write("intel_pstate/no_turbo", "0")
    host.add_timer("apt-daily.timer")
    host.add_timer("man-db.timer", is_active=False)
    host.add_timer("fstrim.timer")
    (host.units / "fstrim.timer/masked").touch()
    return host


def test_a_host_is_tuned_and_restored_exactly(host: Host) -> None:
    before = host.all()
    assert host_tuning(host.state) == "off"
    assert host.run("set") == 0
    assert (cpu_governor(host.cpus), cpu_turbo(host.cpus)) == ("performance", "off")
    for timer in ("apt-daily.timer", "man-db.timer"):
        assert [file.name for file in (host.units / timer).iterdir()] == ["masked"]
    assert host_tuning(host.state) == "on"
    assert oct(host.state.stat().st_mode & 0o777) == "0o644"

    assert host.run("restore") == 0
    assert host.all() == before
    assert host_tuning(host.state) == "off"


def test_a_timer_masked_by_the_operator_stays_masked(host: Host) -> None:
    assert host.run("set") == host.run("restore") == 0
    calls = Path(f"{host.units}.log").read_text().splitlines()
    assert not [line for line in calls if "fstrim" in line and not line.startswith("show")]


def test_a_second_start_does_not_overwrite_the_saved_state(host: Host) -> None:
    before = host.all()
    assert host.run("set") == 0
    first = host.state.read_bytes()
    assert host.run("set") == 0
    assert host.state.read_bytes() == first
    assert host.run("restore") == 0
    assert host.all() == before


def test_a_second_restore_changes_nothing(host: Host) -> None:
    assert host.run("set") == host.run("restore") == 0
    host.write("cpu0/cpufreq/scaling_governor", "ondemand")
    before = host.all()
    assert host.run("restore") == 0
    assert host.all() == before


def test_a_preference_that_the_driver_changes_is_restored(host: Host) -> None:
    preference = "cpu0/cpufreq/energy_performance_preference"
    host.write(preference, "balance_power")
    before = host.all()
    assert host.run("set") == 0
    assert host.all()[str(host.cpus / preference)] == "balance_power"
    host.write(preference, "performance")
    assert host.run("restore") == 0
    assert host.all() == before


def test_timers_are_stopped_on_a_host_without_frequency_control(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    host = Host(tmp_path)
    host.add_timer("apt-daily.timer")
    assert host.run("set") == 0
    assert "offers no control of frequency" in capfd.readouterr().err
    assert host_tuning(host.state) == "on"
    assert not (host.units / "apt-daily.timer/active").exists()
    assert host.run("restore") == 0
    assert (host.units / "apt-daily.timer/active").exists()


def test_turbo_of_other_drivers_is_switched_off(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("cpufreq/boost", "1")
    assert host.run("set") == 0
    assert cpu_turbo(host.cpus) == "off"
    assert host.run("restore") == 0
    assert cpu_turbo(host.cpus) == "on"


def test_partial_tuning_is_restored(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    before = host.all()
    broken = host.units / "apt-daily.timer/broken"
    broken.touch()
    assert host.run("set") == 1
    assert "Failed to stop apt-daily.timer" in capfd.readouterr().err
    assert isinstance(host_tuning(host.state), Unavailable)
    broken.unlink()
    assert host.run("restore") == 0
    assert host.all() == before


def test_a_failed_restore_does_not_prevent_the_others(host: Host) -> None:
    before = host.all()
    assert host.run("set") == 0
    broken = host.units / "apt-daily.timer/broken"
    broken.touch()
    assert host.run("restore") == 1
    assert cpu_governor(host.cpus) == "powersave,schedutil"
    assert isinstance(host_tuning(host.state), Unavailable)
    broken.unlink()
    assert host.run("restore") == 0
    assert host.all() == before


def test_an_offline_cpu_is_ignored(host: Host) -> None:
    assert host.run("set") == 0
    (host.cpus / "cpu1/cpufreq/scaling_governor").unlink()
    assert host.run("restore") == 0
    assert cpu_governor(host.cpus) == "powersave"


def test_the_unreadable_files_of_an_offline_cpu_are_ignored(host: Host) -> None:
    # Some kernels keep the files of a CPU that is offline, and reading them fails.
    (host.cpus / "cpu9").mkdir()
    (host.cpus / "cpu9/online").write_text("0\n", encoding="ascii")
    (host.cpus / "cpu9/cpufreq/scaling_governor").mkdir(parents=True)
    assert host.run("set") == 0
    assert host.run("restore") == 0


def test_a_governor_that_the_kernel_refuses_is_an_error(
    host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    governor = host.cpus / "cpu1/cpufreq/scaling_governor"
    governor.unlink()
    governor.symlink_to("/proc/version")
    assert host.run("set") == 1
    errors = capfd.readouterr().err
    assert f"{governor} does not accept performance" in errors


def test_an_unreadable_state_file_is_never_overwritten(host: Host) -> None:
    host.state.write_text("{")
    before = host.all()
    assert host.run("set") == host.run("restore") == 1
    assert host.all() == before
    assert host.state.read_text() == "{"
    with pytest.raises(state.TuningError, match=r"before\.json"):
        state.load_state(host.state)


def test_invalid_settings_are_reported(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.run("check-config") == 0
    host.config.write_text("governor: 1\n")
    assert host.run("check-config") == 2
    assert "tuning.yml" in capfd.readouterr().err


def test_numa_nodes_are_read_from_the_kernel(tmp_path: Path) -> None:
    assert isinstance(numa_nodes([0], tmp_path), Unavailable)
    for cpu, node in ((0, 0), (1, 0), (2, 1), (10, 2)):
        (tmp_path / f"cpu{cpu}/node{node}").mkdir(parents=True)
    assert numa_nodes([0, 1], tmp_path) == "0"
    assert numa_nodes([10, 1, 2], tmp_path) == "0,1,2"
