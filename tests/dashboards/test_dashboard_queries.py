"""Tests of the queries of all panels with a real VictoriaMetrics that scrapes a farm's metrics."""

import re
from dataclasses import replace
from typing import Any

import pytest
from dashboard_documents import PanelQuery, documents, metrics_of, panels, queries
from farm_dashboards.preview.expressions import substituted
from ffrtmp_worker.exporters import ffmpeg

from .farm_metrics import FarmMetrics
from .monitored_farm import Farm

pytestmark = pytest.mark.slow


def series_of(farm: Farm, query: PanelQuery) -> list[dict[str, Any]]:
    return farm.query(substituted(query.target["expr"], rate_interval="20s"))


def test_every_query_returns_data(farm: Farm) -> None:
    empty = {query.name: query.expr for query in queries() if not series_of(farm, query)}
    assert empty == {}


def missing_metrics(names: set[str]) -> dict[str, list[str]]:
    """Return the metrics that queries select and that do not exist, by the queries' names."""
    selected = {query.name: metrics_of(query.expr) for query in queries()}
    return {name: sorted(found - names) for name, found in selected.items() if found - names}


def test_every_metric_exists(farm: Farm) -> None:
    assert missing_metrics(farm.names()) == {}


def absent_labels(text: str, series: list[dict[str, Any]]) -> set[str]:
    """Return the labels that a text names in braces and that some of the series do not have.

    Grafana displays the names of these labels instead of values.
    """
    named = set(re.findall(r"\{\{(\w+)\}\}", text))
    return {label for found in series for label in named - found["metric"].keys()}


def test_every_series_has_the_labels_of_its_legend(farm: Farm) -> None:
    absent = {
        query.name: absent_labels(query.target["legendFormat"], series_of(farm, query))
        for query in queries()
    }
    assert {name: labels for name, labels in absent.items() if labels} == {}


def test_every_row_of_a_table_has_its_keys(farm: Farm) -> None:
    # An encode without a preset has an empty cell.
    optional = {"preset", "rate_point", "encoder"}
    # An alert has the labels of its expression.
    optional |= {"node", "instance"}
    for document in documents():
        for panel in panels(document):
            if panel["type"] not in ("table", "xychart"):
                continue
            titles = panel["transformations"][1]["options"]["renameByName"]
            keys = {name for name in titles if not name.startswith("Value")}
            required = keys if panel["title"] == "Components" else keys - optional
            for target in panel["targets"]:
                query = PanelQuery(document["uid"], panel, target)
                for found in series_of(farm, query):
                    assert required <= found["metric"].keys() <= keys, query.name


def test_the_variables_have_values(farm: Farm) -> None:
    for document in documents():
        for variable in document["templating"]["list"]:
            if variable["type"] != "query":
                continue
            call = variable["query"]["query"]
            series, _, label = call.removeprefix("label_values(").removesuffix(")").rpartition(", ")
            answer = farm.client.get(f"/api/v1/label/{label}/values", params={"match[]": series})
            assert answer.json()["data"], call


def test_the_annotations_have_events(farm: Farm) -> None:
    for annotation in documents()[0]["annotations"]["list"]:
        # Grafana marks positive values.
        events = [item for item in farm.query(annotation["expr"]) if float(item["value"][1]) > 0]
        assert events, annotation["name"]
        text = annotation["titleFormat"] + annotation["textFormat"]
        assert absent_labels(text, events) == set(), annotation["name"]


def test_a_metric_that_an_exporter_renames_is_found(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ffrtmp_ffmpeg_speed_ratio"
    renamed = [
        replace(metric, name="ffrtmp_ffmpeg_tempo_ratio") if metric.name == name else metric
        for metric in ffmpeg._MEASURED
    ]
    assert renamed != list(ffmpeg._MEASURED)
    monkeypatch.setattr(ffmpeg, "_MEASURED", tuple(renamed))
    lines = FarmMetrics().page("ffmpeg").decode().splitlines()
    others = {found for found in farm.names() if not found.startswith("ffrtmp_ffmpeg_")}
    missing = missing_metrics(others | {re.split(r"[{ ]", line)[0] for line in lines})
    assert missing == {"ffrtmp-overview/23A": [name]}
