"""The alerts of every loop: a loop that is added to a program must be covered by the rules."""

import re
from pathlib import Path

import alert_rules
import pytest
from databases import settings_for
from ffrtmp_master.services import Services
from ffrtmp_worker.exporters.ffmpeg import AGENT_LOOPS
from in_process_master import SetClock
from postgresql import Database

_ADDED = re.compile(r'\.add\(\s*(?:"(\w+)"|(_\w+)),\s*stale_after_s=')

_PREFIXES = {
    "ffrtmp_agent": tuple(sorted(AGENT_LOOPS)),
    "ffrtmp_exporter": ("refresh", "containers", "datagrams", "listener", "probes"),
    "ffrtmp_energy_reader": ("samples",),
    "ffrtmp_importer": ("import",),
}
_JOBS = {
    "ffrtmp_master": "master",
    "ffrtmp_agent": "ffmpeg",
    "ffrtmp_exporter": "results",
    "ffrtmp_energy_reader": "cpu",
    "ffrtmp_importer": "series_importer",
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


def failures(folder: Path, loops: list[tuple[str, str]], last_success: str, alerts: int) -> str:
    """Return the failures of a unit test of the rules.

    Args:
        folder: A folder for the files of the test.
        loops: The loops.
        last_success: The times of the last success of every loop, in the notation of promtool.
        alerts: The number of alerts that must be firing.
    """
    series = []
    for prefix, name in loops:
        labels = f'{{job="{_JOBS[prefix]}", loop="{name}", instance="host"}}'
        times = f"{prefix}_loop_last_success_timestamp_seconds{labels}"
        series.append({"series": times, "values": last_success})
        limits = f"{prefix}_loop_stale_after_seconds{labels}"
        series.append({"series": limits, "values": "300x60"})
    firing = {
        "expr": 'count(ALERTS{alertname="LoopStalled", alertstate="firing"}) or vector(0)',
        "eval_time": "40m",
        "exp_samples": [{"labels": "{}", "value": alerts}],
    }
    test = {"interval": "1m", "input_series": series, "metricsql_expr_test": [firing]}
    groups = alert_rules.load(alert_rules.render())["groups"]
    selected = [group for group in groups if group["name"] == "loops"]
    return alert_rules.run_tests(
        alert_rules.write_tests(folder / "tests.yml", selected, [test], step="1m")
    )


def test_every_stalled_loop_causes_an_alert(tmp_path: Path, loops: list[tuple[str, str]]) -> None:
    # Every loop has a name of its own, so that its alert names the cause.
    assert len({name for _, name in loops}) == len(loops) > 15
    assert failures(tmp_path, loops, "0+60x20 1200x40", alerts=len(loops)) == ""


def test_loops_that_complete_cause_no_alert(tmp_path: Path, loops: list[tuple[str, str]]) -> None:
    assert failures(tmp_path, loops, "0+60x60", alerts=0) == ""
