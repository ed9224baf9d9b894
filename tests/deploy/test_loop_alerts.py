"""The alerts of every loop: a loop that is added to a program must be covered by the rules."""

import re
from pathlib import Path

import promtool
import pytest
from databases import settings_for
from ffrtmp_master.services import Services
from ffrtmp_worker.exporters.ffmpeg import AGENT_LOOPS
from in_process_master import SetClock
from postgresql import Database
from ruamel.yaml import YAML

RULES = Path("roles/vmalert/files/rules.yml")

_ADDED = re.compile(r'\.add\(\s*(?:"(\w+)"|(_\w+)),\s*stale_after_s=')

_PREFIXES = {
    "ffrtmp_agent": tuple(sorted(AGENT_LOOPS)),
    "ffrtmp_exporter": ("refresh", "containers", "datagrams", "listener", "probes"),
    "ffrtmp_energy_reader": ("samples",),
    "ffrtmp_importer": ("import",),
}


@pytest.fixture
def loops(tmp_path: Path) -> list[tuple[str, str]]:
    """All loops: the beginning of their metrics' names, and their names."""
    services = Services(
        settings_for(Database(f"sqlite:///{tmp_path}/farm.db"), tmp_path), SetClock()
    )
    named = {
        "ffrtmp_master": (*services.loops.names(), "notifications", "metrics_listener"),
        **_PREFIXES,
    }
    return [(prefix, name) for prefix, names in named.items() for name in names]


def names_in_source(root: Path) -> set[str]:
    """Return the names of all loops that the programs add to their registries."""
    names: set[str] = set()
    for file in (root / "files").glob("*/src/**/*.py"):
        text = file.read_text(encoding="utf-8")
        for name, constant in _ADDED.findall(text):
            value = re.search(rf'^{constant} = "(\w+)"$', text, re.MULTILINE) if constant else None
            names.add(name if value is None else value[1])
    return names


def test_every_loop_in_the_source_is_known(root: Path, loops: list[tuple[str, str]]) -> None:
    """A new loop needs a place here, and a test with a failing item and a stopped dependency.

    These tests are in files/master/tests/test_loops.py, files/worker/tests/test_loops.py,
    files/master/tests/test_exporters.py and files/master/tests/test_series_import.py.
    """
    assert names_in_source(root) == {name for _, name in loops}


def unit_test(
    root: Path, folder: Path, loops: list[tuple[str, str]], last_success: str, alerts: int
) -> Path:
    """Write a unit test of the rules.

    Args:
        root: The root of the repository.
        folder: The folder of the file.
        loops: The loops.
        last_success: The times of the last success of every loop, in the notation of promtool.
        alerts: The number of alerts that must be firing.
    """
    series = []
    for prefix, name in loops:
        labels = f'{{loop="{name}", instance="host"}}'
        times = f"{prefix}_loop_last_success_timestamp_seconds{labels}"
        series.append({"series": times, "values": last_success})
        limits = f"{prefix}_loop_stale_after_seconds{labels}"
        series.append({"series": limits, "values": "300x60"})
    firing = {
        "expr": 'count(ALERTS{alertname="LoopStalled", alertstate="firing"}) or vector(0)',
        "eval_time": "40m",
        "exp_samples": [{"labels": "{}", "value": alerts}],
    }
    document = {
        "rule_files": [str(root / RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [firing]}],
    }
    file = folder / "tests.yml"
    with file.open("w", encoding="utf-8") as opened:
        YAML(typ="safe").dump(document, opened)
    return file


def test_every_stalled_loop_causes_an_alert(
    root: Path, tmp_path: Path, loops: list[tuple[str, str]]
) -> None:
    # Every loop has a name of its own, so that its alert names the cause.
    assert len({name for _, name in loops}) == len(loops) > 15
    file = unit_test(root, tmp_path, loops, "0+60x20 1200x40", alerts=len(loops))
    assert promtool.failures(file) == ""


def test_loops_that_complete_cause_no_alert(
    root: Path, tmp_path: Path, loops: list[tuple[str, str]]
) -> None:
    assert promtool.failures(unit_test(root, tmp_path, loops, "0+60x60", alerts=0)) == ""
