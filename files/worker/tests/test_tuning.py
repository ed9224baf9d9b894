"""Tuning a host: trees of files like the kernel's, and a program that holds timers in files."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.measurement import Unavailable
from ffrtmp_worker.measure.environment import cpu_governor, cpu_turbo, numa_nodes
from ffrtmp_worker.tuning import state
from ffrtmp_worker.tuning.cli import main
from ffrtmp_worker.tuning.state import host_tuning

# Stands where systemctl does. A timer is a folder: `active` and `masked` are files in it.
_SYSTEMCTL = """#!{python}
import pathlib, sys
_, deed, *rest = sys.argv[1:]
timer = pathlib.Path({units!r}) / rest[-1]
with open({units!r} + ".log", "a") as log:
    log.write(" ".join([deed, *rest]) + "\\n")
if deed == "show":
    load = "masked" if (timer / "masked").exists() else "loaded" if timer.exists() else "not-found"
    active = "active" if (timer / "active").exists() else "inactive"
    print(f"LoadState={{load}}\\nActiveState={{active}}")
elif (timer / "broken").exists():
    sys.exit("Failed to " + deed + " " + timer.name)
elif deed == "start":
    (timer / "active").touch()
elif deed == "stop":
    (timer / "active").unlink(missing_ok=True)
elif deed == "mask":
    (timer / "masked").touch()
elif deed == "unmask":
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
        """Let a file hold something."""
        (self.cpus / name).parent.mkdir(parents=True, exist_ok=True)
        (self.cpus / name).write_text(f"{value}\n")

    def do(self, deed: str) -> int:
        """Run the command."""
        return main(["--config", str(self.config), deed])

    def all(self) -> dict[str, str]:
        """Return everything that tuning may change."""
        files = [file for folder in (self.cpus, self.units) for file in folder.rglob("*")]
        return {str(file): file.read_text().strip() for file in files if file.is_file()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with Intel's driver, where not all is as it usually is."""
    host = Host(tmp_path, ["apt-daily.timer", "fstrim.timer", "man-db.timer", "none.timer"])
    host.add_cpus("powersave", "schedutil")
    host.write("intel_pstate/no_turbo", "0")
    host.add_timer("apt-daily.timer")
    host.add_timer("man-db.timer", is_active=False)
    host.add_timer("fstrim.timer")
    (host.units / "fstrim.timer/masked").touch()
    return host


def test_a_host_is_tuned_and_put_back_exactly(host: Host) -> None:
    before = host.all()
    assert host_tuning(host.state) == "off"
    assert host.do("set") == 0
    assert (cpu_governor(host.cpus), cpu_turbo(host.cpus)) == ("performance", "off")
    for timer in ("apt-daily.timer", "man-db.timer"):
        assert [file.name for file in (host.units / timer).iterdir()] == ["masked"]
    assert host_tuning(host.state) == "on"
    assert oct(host.state.stat().st_mode & 0o777) == "0o644"

    assert host.do("restore") == 0
    assert host.all() == before
    assert host_tuning(host.state) == "off"


def test_a_timer_that_somebody_masked_stays_masked(host: Host) -> None:
    assert host.do("set") == host.do("restore") == 0
    asked = Path(f"{host.units}.log").read_text().splitlines()
    assert not [line for line in asked if "fstrim" in line and not line.startswith("show")]


def test_a_second_start_keeps_what_the_first_saved(host: Host) -> None:
    before = host.all()
    assert host.do("set") == 0
    first = host.state.read_bytes()
    assert host.do("set") == 0
    assert host.state.read_bytes() == first
    assert host.do("restore") == 0
    assert host.all() == before


def test_a_second_end_changes_nothing(host: Host) -> None:
    assert host.do("set") == host.do("restore") == 0
    host.write("cpu0/cpufreq/scaling_governor", "ondemand")
    before = host.all()
    assert host.do("restore") == 0
    assert host.all() == before


def test_a_preference_that_the_driver_changes_is_put_back(host: Host) -> None:
    preference = "cpu0/cpufreq/energy_performance_preference"
    host.write(preference, "balance_power")
    before = host.all()
    assert host.do("set") == 0
    assert host.all()[str(host.cpus / preference)] == "balance_power"
    host.write(preference, "performance")
    assert host.do("restore") == 0
    assert host.all() == before


def test_a_host_without_frequencies_has_its_timers_held(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    host = Host(tmp_path)
    host.add_timer("apt-daily.timer")
    assert host.do("set") == 0
    assert "offers no control of frequency" in capfd.readouterr().err
    assert host_tuning(host.state) == "on"
    assert not (host.units / "apt-daily.timer/active").exists()
    assert host.do("restore") == 0
    assert (host.units / "apt-daily.timer/active").exists()


def test_other_drivers_turbo_is_switched_off(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("cpufreq/boost", "1")
    assert host.do("set") == 0
    assert cpu_turbo(host.cpus) == "off"
    assert host.do("restore") == 0
    assert cpu_turbo(host.cpus) == "on"


def test_what_fails_half_way_is_put_back(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    before = host.all()
    broken = host.units / "apt-daily.timer/broken"
    broken.touch()
    assert host.do("set") == 1
    assert "Failed to stop apt-daily.timer" in capfd.readouterr().err
    assert isinstance(host_tuning(host.state), Unavailable)
    broken.unlink()
    assert host.do("restore") == 0
    assert host.all() == before


def test_what_cannot_be_put_back_hinders_nothing_else(host: Host) -> None:
    before = host.all()
    assert host.do("set") == 0
    broken = host.units / "apt-daily.timer/broken"
    broken.touch()
    assert host.do("restore") == 1
    assert cpu_governor(host.cpus) == "powersave,schedutil"
    assert isinstance(host_tuning(host.state), Unavailable)
    broken.unlink()
    assert host.do("restore") == 0
    assert host.all() == before


def test_a_cpu_that_is_gone_hinders_nothing(host: Host) -> None:
    assert host.do("set") == 0
    (host.cpus / "cpu1/cpufreq/scaling_governor").unlink()
    assert host.do("restore") == 0
    assert cpu_governor(host.cpus) == "powersave"


def test_a_governor_that_the_kernel_refuses_is_an_error(
    host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    governor = host.cpus / "cpu1/cpufreq/scaling_governor"
    governor.unlink()
    governor.symlink_to("/proc/version")
    assert host.do("set") == 1
    said = capfd.readouterr().err
    assert f"{governor} does not take performance" in said


def test_what_cannot_be_read_is_never_written_over(host: Host) -> None:
    host.state.write_text("{")
    before = host.all()
    assert host.do("set") == host.do("restore") == 1
    assert host.all() == before
    assert host.state.read_text() == "{"
    with pytest.raises(state.TuningError, match=r"before\.json"):
        state.load_state(host.state)


def test_settings_that_are_wrong_are_named(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.do("check-config") == 0
    host.config.write_text("governor: 1\n")
    assert host.do("check-config") == 2
    assert "tuning.yml" in capfd.readouterr().err


def test_the_nodes_of_cpus_are_those_of_the_kernel(tmp_path: Path) -> None:
    assert isinstance(numa_nodes([0], tmp_path), Unavailable)
    for cpu, node in ((0, 0), (1, 0), (2, 1), (10, 2)):
        (tmp_path / f"cpu{cpu}/node{node}").mkdir(parents=True)
    assert numa_nodes([0, 1], tmp_path) == "0"
    assert numa_nodes([10, 1, 2], tmp_path) == "0,1,2"
