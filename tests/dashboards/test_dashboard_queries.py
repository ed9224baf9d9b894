"""Tests of the queries of all panels with a real VictoriaMetrics that scrapes a farm's metrics."""

from typing import Any

import pytest
from dashboard_documents import PanelQuery, documents, metrics_of, queries
from farm_dashboards.preview.expressions import substituted

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


def test_every_legend_names_labels_of_the_series(farm: Farm) -> None:
    wrong = {}
    for query in queries():
        legend = query.target["legendFormat"]
        series = series_of(farm, query)
        labels = {label for found in series for label in found["metric"]}
        unknown = {part.split("}}")[0] for part in legend.split("{{")[1:]} - labels
        if unknown:
            wrong[query.name] = sorted(unknown)
    assert wrong == {}


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
        assert farm.query(annotation["expr"]), annotation["name"]


def test_a_renamed_metric_is_found(farm: Farm) -> None:
    renamed = "ffrtmp_ffmpeg_speed_ratio"
    missing = missing_metrics(farm.names() - {renamed})
    assert {name for name, found in missing.items() if renamed in found} == {"ffrtmp-overview/23A"}
