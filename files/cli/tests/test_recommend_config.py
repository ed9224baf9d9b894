"""Recommended settings for hosts of several types."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import click.testing
import msgspec
import pytest
from ffrtmp_cli.commands.recommend_config import Recommendation, command
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.recommendation.worker_settings import GIB
from ffrtmp_client import cpu_assignment
from ruamel.yaml import YAML

_ROOT = Path(__file__).parents[3]


class _HostTree:
    """The kernel's files of a host."""

    def __init__(self, root: Path, cores: Iterable[tuple[int, ...]], memory_gib: int) -> None:
        """Create a host whose cores have the given CPUs."""
        self.root = root
        threads = list(cores)
        online = sorted(cpu for core in threads for cpu in core)
        self.write("sys/devices/system/cpu/online", ",".join(map(str, online)))
        for core in threads:
            for cpu in core:
                folder = f"sys/devices/system/cpu/cpu{cpu}"
                self.write(f"{folder}/topology/thread_siblings_list", ",".join(map(str, core)))
        self.write("proc/meminfo", f"MemTotal: {memory_gib * 1024**2} kB")
        self.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory")

    def write(self, name: str, content: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n", encoding="ascii")

    def with_governor(self) -> "_HostTree":
        self.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil")
        return self


def _desktop(root: Path) -> _HostTree:
    """Create a host with 4 cores of 2 threads, and 8 GiB."""
    return _HostTree(root, [(cpu, cpu + 4) for cpu in range(4)], 8)


def _server(root: Path) -> _HostTree:
    """Create a host with 2 memory nodes of 16 cores, and 256 GiB."""
    host = _HostTree(root, [(cpu, cpu + 32) for cpu in range(32)], 256)
    for cpu in range(64):
        node = cpu % 32 // 16
        (root / f"sys/devices/system/cpu/cpu{cpu}/node{node}").mkdir()
    host.write("sys/devices/system/node/has_memory", "0-1")
    return host


def _hybrid(root: Path) -> _HostTree:
    """Create a host with 8 performance cores of 2 threads, 8 efficiency cores, and 32 GiB."""
    pairs = [(cpu, cpu + 1) for cpu in range(0, 16, 2)]
    host = _HostTree(root, [*pairs, *((cpu,) for cpu in range(16, 24))], 32)
    host.write("sys/devices/cpu_core/cpus", "0-15")
    return host


def _recommend(root: Path, *arguments: str) -> Mapping[str, object]:
    """Return the variables that the command prints, after checks that hold for all hosts."""
    words = ["--root", str(root), "--data-dir", str(root / "none/worker"), *arguments]
    runner = click.testing.CliRunner()
    done = runner.invoke(command, words)
    if done.exception is not None:
        raise done.exception
    variables: dict[str, object] = YAML(typ="safe").load(done.stdout)
    document = msgspec.json.decode(
        runner.invoke(command, [*words, "--json"]).stdout, type=Recommendation
    )
    # The free space changes between the two calls.
    free = "worker_cache_max_bytes"
    printed = {setting.name: setting.value for setting in document.settings}
    assert {**printed, free: 0} == {**variables, free: 0}
    assert all(f"# {setting.reason}\n" in done.stdout for setting in document.settings[:3])
    return variables


def test_a_benchmark_host_has_one_slot_with_all_cpus(tmp_path: Path) -> None:
    _desktop(tmp_path).with_governor()
    variables = _recommend(tmp_path)
    assert variables["worker_slots"] == 1
    assert variables["worker_slot_cpus"] == ""
    assert variables["worker_vmaf_threads"] == 8
    assert variables["worker_memory_max"] == "90%"
    assert variables["worker_min_free_bytes"] == GIB
    assert variables["host_tuning_enabled"] is True


def test_all_variables_are_settings_of_the_roles(tmp_path: Path) -> None:
    _hybrid(tmp_path)
    known: set[str] = set()
    for role in ("worker", "host_tuning"):
        defaults = (_ROOT / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8")
        known |= YAML(typ="safe").load(defaults).keys()
    assert _recommend(tmp_path, "--slots", "2").keys() <= known


def test_shared_slots_are_pinned_to_cores_of_one_memory_node(tmp_path: Path) -> None:
    _server(tmp_path)
    variables = _recommend(tmp_path, "--shared")
    # 32 cores / 4; the memory would be enough for 64.
    assert variables["worker_slots"] == 8
    assert variables["worker_slot_cpus"] == "physical"
    assert variables["worker_vmaf_threads"] == 4
    assert variables["worker_memory_max"] == "11%"
    assert variables["worker_min_free_bytes"] == 8 * GIB


def test_memory_limits_the_shared_slots(tmp_path: Path) -> None:
    _HostTree(tmp_path, [(cpu,) for cpu in range(64)], 10)
    assert _recommend(tmp_path, "--shared")["worker_slots"] == 2


def test_each_memory_node_has_the_same_number_of_slots(tmp_path: Path) -> None:
    _server(tmp_path).write("proc/meminfo", f"MemTotal: {15 * 1024**2} kB")
    assert _recommend(tmp_path, "--shared")["worker_slots"] == 2


def test_only_the_fast_cores_of_a_hybrid_host_are_used(tmp_path: Path) -> None:
    _hybrid(tmp_path)
    assert _recommend(tmp_path)["worker_slot_cpus"] == ["0-15"]
    cpus = _recommend(tmp_path, "--slots", "2")["worker_slot_cpus"]
    assert cpus == ["0,2,4,6", "8,10,12,14"]
    # The deployment accepts the list.
    host = cpu_assignment.read_host(tmp_path / "sys/devices/system")
    assert len(cpu_assignment.listed(host, 2, cpus, [])) == 2


def test_the_fast_cores_of_an_arm_host_have_the_highest_capacity(tmp_path: Path) -> None:
    host = _HostTree(tmp_path, [(cpu,) for cpu in range(6)], 8)
    for cpu in range(6):
        host.write(
            f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity", "1024" if cpu in (2, 3) else "400"
        )
    assert _recommend(tmp_path)["worker_slot_cpus"] == ["2-3"]


def test_more_slots_than_cores_are_an_error(tmp_path: Path) -> None:
    _desktop(tmp_path)
    with pytest.raises(CommandError, match="this host has 4 cores"):
        _recommend(tmp_path, "--slots", "5")
