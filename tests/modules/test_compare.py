"""Tests of ffrtmp_compare and compare.yml with generated results."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as Tree

import pytest
from ansible.module_utils.ffrtmp.comparison_options import QUANTITIES, WITHIN_A_RUN
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_cli.comparison.sides import Criterion
from generated_run import GeneratedRun, write_run
from local_playbook import run_playbook

from .checkout import Checkout
from .farm import Agent, Farm

ROOT = Path(__file__).resolve().parents[2]


def _plugin() -> ModuleType:
    """Return the action plugin, whose module has the same name as the documented one."""
    file = ROOT / "plugins" / "action" / "ffrtmp_compare.py"
    spec = importlib.util.spec_from_file_location("compare_plugin", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plugin = _plugin()

_NOTHING: dict[str, Any] = {
    "b": None,
    **dict.fromkeys(WITHIN_A_RUN),
    "quantities": list(QUANTITIES),
    "margin_percent": 1.0,
    "vmaf_margin_points": 0.5,
    "markdown": None,
    "junit": None,
}


def _compare(*, is_check: bool = False, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = plugin._compare({**_NOTHING, **options}, is_check=is_check)
    return answer


def test_the_names_are_those_of_the_comparison() -> None:
    assert tuple(quantity.value for quantity in Quantity) == QUANTITIES
    assert [name.removesuffix("s") for name in WITHIN_A_RUN] == [
        criterion.value.lower() for criterion in Criterion
    ]


def test_two_directories_are_compared(tmp_path: Path) -> None:
    a = str(write_run(tmp_path / "a", 1, GeneratedRun()))
    b = str(write_run(tmp_path / "b", 2, GeneratedRun(speed=0.9)))
    answer = _compare(a=a, b=b)
    assert (answer["changed"], answer["conclusion"]) == (False, "regression")
    assert answer["comparison"]["schema"] == "ffrtmp/comparison/1"
    assert answer["comparison"]["conclusion"] == "regression"
    assert "speed slower" in answer["text"]


@pytest.mark.parametrize("name", WITHIN_A_RUN)
def test_parts_of_one_run_are_compared(tmp_path: Path, name: str) -> None:
    run = GeneratedRun(**{name: {"one": 1.0, "two": 0.9}})
    answer = _compare(a=str(write_run(tmp_path / "a", 1, run)), **{name: ["one", "two"]})
    assert answer["conclusion"] == "regression"


def test_files_are_written_once_and_not_in_check_mode(tmp_path: Path) -> None:
    a = str(write_run(tmp_path / "a", 1, GeneratedRun()))
    b = str(write_run(tmp_path / "b", 2, GeneratedRun()))
    files = {"markdown": str(tmp_path / "c.md"), "junit": str(tmp_path / "c.xml")}
    planned = _compare(a=a, b=b, **files, is_check=True)
    assert (planned["changed"], planned["files"]) == (True, list(files.values()))
    assert not (tmp_path / "c.md").exists()
    assert _compare(a=a, b=b, **files)["changed"]
    assert _compare(a=a, b=b, **files)["files"] == []
    assert Tree.parse(tmp_path / "c.xml").getroot().tag == "testsuites"  # noqa: S314


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    a = str(write_run(tmp_path / "a", 1, GeneratedRun()))
    with pytest.raises(plugin.AnsibleActionFail, match="It has: worker1"):
        _compare(a=a, nodes=["worker1", "other"])
    with pytest.raises(plugin.AnsibleActionFail, match="cannot be read"):
        _compare(a=a, b=str(tmp_path / "absent"))
    with pytest.raises(plugin.AnsibleActionFail, match="nodes must be two names"):
        plugin._check({**_NOTHING, "nodes": ["worker1"]})
    with pytest.raises(plugin.AnsibleActionFail, match="margin_percent must be above 0"):
        plugin._check({**_NOTHING, "margin_percent": 0.0})


@pytest.mark.slow
def test_the_plugin_needs_no_package_that_a_control_node_lacks(tmp_path: Path) -> None:
    a = str(write_run(tmp_path / "a", 1, GeneratedRun()))
    options = {**_NOTHING, "a": a, "b": a, "markdown": str(tmp_path / "c.md")}
    code = (
        "import json, sys\n"
        f"sys.path[:0] = [{str(ROOT / 'plugins/action')!r}]\n"
        "import ffrtmp_compare\n"
        "before = set(sys.modules)\n"
        "sys.path[:] = [path for path in sys.path if '/files/' not in path]\n"
        "sys.path += ffrtmp_compare._SOURCES\n"
        f"ffrtmp_compare._compare({options!r}, is_check=False)\n"
        "files = {getattr(sys.modules[name], '__file__', None) or '' "
        "for name in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(f for f in files if 'site-packages' in f)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)
    assert files
    assert [name for name in files if "/msgspec/" not in name] == []


@pytest.mark.slow
def test_the_playbook_compares_directories_without_a_farm(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", 1, GeneratedRun())
    b = write_run(tmp_path / "b", 2, GeneratedRun(speed=0.9))
    arguments = [str(ROOT / "playbooks/compare.yml"), "-e", f"compare_a={a}"]
    arguments += ["-e", f"compare_b={b}", "-e", f"compare_junit={tmp_path}/c.xml"]
    done = run_playbook(ROOT, tmp_path, *arguments)
    assert done.returncode == 0, done.stdout
    assert "speed     -" not in done.stdout
    assert "slower" in done.stdout
    assert (tmp_path / "c.xml").exists()
    done = run_playbook(ROOT, tmp_path, *arguments, "-e", "fail_on_regression=true")
    assert done.returncode == 2
    assert "Regression: " in done.stdout


@pytest.mark.slow
def test_the_playbook_fetches_runs_of_the_farm(farm: Farm, agent: Agent, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", farm)
    ids = []
    for key in ("first", "second"):
        status, printed = checkout.run("-e", "benchmark_wait=false", "-e", f"benchmark_key={key}")
        assert status == 0, printed
        for _ in range(2):
            agent.succeed(agent.claim())
        ids.append(printed.split("Run ")[1].split()[0])
    command = ["ansible-playbook", "-i", "inventories/test", "playbooks/compare.yml"]
    command += ["-e", f"compare_a={ids[0]}", "-e", f"compare_b={ids[1]}"]
    status, printed = checkout.run_command(command)
    assert status == 0, printed
    assert "clip/x264" in printed
    assert "are too few for a 95 % interval" in printed
    assert len(list((checkout.folder / "results").glob("*/results.json"))) == 2
    assert list((checkout.folder / "results").glob("*.tar.gz")) == []
    assert not list(checkout.temporary.glob("*.comparison"))


@pytest.mark.deep
@pytest.mark.parametrize(("speed", "failures"), [(1.0, 0), (0.95, 20)])
def test_a_task_fails_on_regressions_only(tmp_path: Path, speed: float, failures: int) -> None:
    for number in range(20):
        write_run(tmp_path / f"a{number}", 100 + 2 * number, GeneratedRun(clips=4))
        other = GeneratedRun(clips=4, speed=speed)
        write_run(tmp_path / f"b{number}", 101 + 2 * number, other)
    tasks = [
        {
            "name": f"Compare {number}",
            "ffrtmp_compare": {
                "a": f"{tmp_path}/a{number}",
                "b": f"{tmp_path}/b{number}",
                "fail_on_regression": True,
            },
            "ignore_errors": True,
        }
        for number in range(20)
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = run_playbook(
        ROOT, tmp_path, str(tmp_path / "play.yml"), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"
    )
    stats = json.loads(done.stdout[done.stdout.index("{") :])["stats"]["localhost"]
    assert (stats["ok"], stats["ignored"]) == (20, failures)
