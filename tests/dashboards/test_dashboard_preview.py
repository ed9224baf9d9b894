"""Tests of the preview of the dashboards, with a real VictoriaMetrics and real drawings."""

import subprocess
import sys
from pathlib import Path

import pytest
from dashboard_documents import documents, panels
from farm_dashboards.preview import drawings
from farm_dashboards.preview.database import Database, QueryError, https_fetch
from farm_dashboards.preview.drawings import Period
from farm_dashboards.preview.expressions import legend, substituted
from farm_dashboards.preview.values import formatted
from monitoring_programs import HttpServer

from .monitored_farm import Farm


@pytest.mark.slow
def test_the_page_draws_every_panel(farm: Farm, root: Path, tmp_path: Path) -> None:
    page = tmp_path / "preview.html"
    command = [sys.executable, "-m", "farm_dashboards", "preview", "--hours", "0.02"]
    done = subprocess.run(
        [*command, "--url", str(farm.client.base_url), "--page", str(page)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root / "dashboards/src",
    )
    assert done.returncode == 0, done.stderr
    html = page.read_text(encoding="utf-8")
    count = sum(len(panels(document)) for document in documents())
    assert html.count("<div class='panel'") == count
    assert html.count("<svg") == html.count("<div class='table'>") == count
    assert "Queries without data: none" in html
    assert done.stdout.endswith("preview.html: 0 queries returned no data\n")


def test_a_database_that_does_not_answer_is_an_error() -> None:
    database = Database(https_fetch("http://127.0.0.1:1"))
    with pytest.raises(QueryError, match="does not answer"):
        database.at("up", 0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "not that of a database"),
        (b"[]", "not that of"),
        (b'{"data": {"result": {}}}', "not that of"),
        (b'{"data": {"result": [1, "2"]}}', "not that of"),
        (b'{"data": {"result": [{"metric": {}}]}}', "not that of"),
        (b'{"data": {"result": [{"metric": {}, "values": [[0, "x"]]}]}}', "not that of"),
        (None, "answers with 404"),
    ],
)
def test_an_answer_of_another_server_is_an_error(body: bytes | None, message: str) -> None:
    with HttpServer(lambda _: body) as server:
        database = Database(https_fetch(server.url))
        with pytest.raises(QueryError, match=message):
            database.between("up", 0, 1, 1)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5, "suffix:x", "1.5 x"),
        (0.25, "percentunit", "25 %"),
        (2_000_000, "bps", "2 Mbit/s"),
        (0.0025, "joule", "2.5 mJ"),
        (90, "s", "1.5 min"),
        (0.25, "s", "250 ms"),
        (172_800, "s", "2 d"),
        (0, "bool_yes_no", "No"),
        (1, "bool_on_off", "On"),
        (0, "watt", "0 W"),
        (25, "suffix:fps", "25 fps"),
        (3, "none", "3"),
    ],
)
def test_values_have_their_units(value: float, unit: str, text: str) -> None:
    assert formatted(value, unit) == text


def test_variables_and_legends_are_replaced() -> None:
    expr = 'rate(a{node=~"$node", scenario=~"$scenario"}[$__rate_interval])'
    expected = 'rate(a{node=~".*", scenario=~".*"}[1m])'
    assert substituted(expr, rate_interval="1m") == expected
    labels = {"node": "w1", "slot": "0"}
    # Grafana displays the names of labels that a series does not have.
    assert legend("{{node}} slot {{slot}} {{absent}}", labels) == "w1 slot 0 absent"


def test_points_of_the_same_encoder_and_preset_are_connected() -> None:
    rows: dict[tuple[str, ...], list[float | None]] = {
        ("x264", "fast", "2000k"): [2.0, 90.0],
        ("x264", "fast", "1000k"): [1.0, 80.0],
        ("x264", "slow", "1000k"): [1.1, 85.0],
        ("x264", "slow", "crf23"): [3.0, None],
    }
    lines = {line.name: line.points for line in drawings.connected(rows, 2)}
    assert lines == {"x264 fast": [(1.0, 80.0), (2.0, 90.0)], "x264 slow": [(1.1, 85.0)]}


@pytest.mark.parametrize(("length_s", "text"), [(600, "60s"), (3 * 3600, "105s")])
def test_the_windows_of_rates_contain_every_scrape(length_s: int, text: str) -> None:
    period = Period(0, length_s)
    assert period.rate_interval == text
    assert int(text.removesuffix("s")) >= period.step_s
