"""The rules of Grafana's dashboard linter, and those of this project for dashboards.

The linter is a Go program (github.com/grafana/dashboard-linter). Its rules for templated jobs and
instances do not apply: each query names its job, and the dashboards select nodes.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import alert_rules
import pytest
from dashboard_documents import documents, metrics_of, panels, queries
from farm_dashboards.variables import RUNBOOKS, SERIES
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

UIDS = [f"ffrtmp-{name}" for name in ("overview", "run", "nodes", "live", "energy", "queue")]
_UNITS = {value for name, value in vars(units).items() if not name.startswith("_")} | {
    "suffix:fps",
    "suffix:x",
}
# These series have no job: vmalert and the series importer write them.
_WITHOUT_JOB = re.compile(r"ALERTS\{|ffrtmp_sample_")
_SELECTOR = re.compile(r"\b([a-zA-Z_][a-zA-Z0-9_]*)\{([^}]*)\}")

# The metrics of these programs have one of these prefixes, which no label has.
_BARE = re.compile(
    r"\b(?:alertmanager|ffrtmp|node|process|promscrape|scrape|vm|vmalert)_\w+\b(?!\{)"
)

ALL = documents()
BY_UID = {document["uid"]: document for document in ALL}
EACH = pytest.mark.parametrize("document", ALL, ids=lambda document: document["uid"])


def test_the_dashboards_have_fixed_uids() -> None:
    assert sorted(BY_UID) == sorted(UIDS)
    assert all(len(uid) <= 40 for uid in UIDS)
    assert len({document["title"] for document in ALL}) == len(UIDS)


@EACH
def test_dashboard(document: dict[str, Any]) -> None:
    assert document["schemaVersion"] >= 42
    assert "apiVersion" not in document, "Grafana cannot provision the schema v2 from files"
    assert document["editable"] is False
    assert document["description"].endswith(".")
    assert document["refresh"]
    read = Dashboard.from_json(document)
    assert read.title == document["title"]


@EACH
def test_ids_are_unique_and_positive(document: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert min(ids) > 0
    rows = [panel for panel in document["panels"] if panel["type"] == "row"]
    assert rows
    assert all(row["panels"] == [] and row["collapsed"] is False for row in rows)


@EACH
def test_panels_do_not_overlap(document: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], int] = {}
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['id']} covers {taken[x, y]}"
                taken[x, y] = panel["id"]


@EACH
def test_variables(document: dict[str, Any]) -> None:
    variables = {item["name"]: item for item in document["templating"]["list"]}
    source = variables.pop("datasource")
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    runbooks = variables.pop("runbooks")
    assert (runbooks["type"], runbooks["query"]) == ("constant", RUNBOOKS)
    assert variables
    for name, variable in variables.items():
        assert variable["type"] == "query"
        assert variable["query"]["query"] == f"label_values({SERIES[name]}, {name})"
        assert (variable["multi"], variable["includeAll"]) == (True, True)
        assert variable["allValue"] == ".*"
        assert variable["refresh"] == 2, "read again when the time range changes"
        assert variable["datasource"]["uid"] == "${datasource}"
        targets = [target for panel in panels(document) for target in panel["targets"]]
        used = any(f'{name}=~"${name}"' in target["expr"] for target in targets)
        assert used, f"no query uses {name}"


@EACH
def test_annotations(document: dict[str, Any]) -> None:
    annotations = {item["name"]: item for item in document["annotations"]["list"]}
    assert set(annotations) == {"Runs", "Deployments", "Alerts"}
    for annotation in annotations.values():
        assert annotation["datasource"]["uid"] == "${datasource}"
        assert annotation["enable"] is True
        assert annotation["expr"]
        assert annotation["titleFormat"]


@EACH
def test_panels(document: dict[str, Any]) -> None:
    titles = Counter(panel["title"] for panel in panels(document))
    found = {panel["id"]: list(_problems(panel)) for panel in panels(document)}
    assert {number: problems for number, problems in found.items() if problems} == {}
    assert [title for title, count in titles.items() if not title or count > 1] == []


def _problems(panel: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a panel."""
    defaults = panel["fieldConfig"]["defaults"]
    if len(panel["description"]) <= 40 or not panel["description"].endswith("."):
        yield "the description does not state an action in complete sentences"
    if panel["datasource"]["uid"] != "${datasource}":
        yield "the data source is not that of the variable"
    if defaults["unit"] not in _UNITS:
        yield f"Grafana does not know the unit {defaults['unit']}"
    if defaults["thresholds"]["steps"][0]["value"] is not None:
        yield "the first threshold must apply to all values"
    if not 0 < len(panel["targets"]) <= 26:
        yield "there must be 1 to 26 queries"
    has_legend = panel["type"] in ("timeseries", "state-timeline", "xychart")
    if has_legend and panel["options"]["legend"]["showLegend"] is not True:
        yield "there is no legend"
    if panel["type"] not in ("table", "xychart"):
        for target in panel["targets"]:
            expected = _expected_units(target["expr"])
            if expected is not None and defaults["unit"] not in expected:
                yield f"the unit of {target['expr']} is not {defaults['unit']}"


def _expected_units(expr: str) -> set[str] | None:
    """Return the units that a query with a single metric of a known unit may have."""
    if "/" in expr or "> bool" in expr or len(metrics_of(expr)) != 1:
        return None
    (name,) = metrics_of(expr)
    if "rate(" in expr:
        rates = {
            "_bytes_total": {"Bps", "bps"},
            "cpu_seconds_total": {"percentunit", "none"},
            "_frames_total": {"suffix:fps"},
        }
        return next((found for end, found in rates.items() if name.endswith(end)), None)
    values = {
        "_bytes_per_second": {"bps"},
        "_frames_per_second": {"suffix:fps"},
        "_bits_per_second": {"bps"},
        "_timestamp_seconds": {"s"},
        "_seconds": {"s"},
        "_bytes": {"bytes"},
        "_watts": {"watt"},
        "_celsius": {"celsius"},
        "_hertz": {"hertz"},
        "_joules_per_frame": {"joule"},
        "_speed_ratio": {"suffix:x"},
        "_ratio": {"percentunit"},
    }
    return next((found for end, found in values.items() if name.endswith(end)), None)


@EACH
def test_queries(document: dict[str, Any]) -> None:
    found = {
        query.name: list(_query_problems(query.target))
        for query in queries()
        if query.uid == document["uid"]
    }
    assert {name: problems for name, problems in found.items() if problems} == {}


def _query_problems(target: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a query."""
    expr = target["expr"]
    if target["datasource"]["uid"] != "${datasource}":
        yield "the data source is not that of the variable"
    if not target["legendFormat"]:
        yield "there is no legend"
    if not _SELECTOR.search(expr):
        yield "no metric is selected"
    for name in _BARE.findall(re.sub(r'"[^"]*"', "", expr)):
        yield f"{name} has no matchers, so that the tests do not know that it is a metric"
    for name, matchers in _SELECTOR.findall(expr):
        if not _WITHOUT_JOB.match(f"{name}{{") and not re.match(r'job=~?"[^"]+"', matchers):
            yield f"{name} names no job"
    unquoted = re.sub(r'"[^"]*"', "", expr)
    for window in re.findall(r"rate\([^\[]*\[([^\]]+)\]", unquoted):
        if window != "$__rate_interval":
            yield f"the rate of {window} does not follow the time range"
    for name in metrics_of(expr):
        calls = rf"(?:rate|increase|increase_prometheus|changes)\({name}"
        called = re.search(calls, re.sub(r"\s", "", expr))
        if name.endswith(("_total", "_bucket")) and not called:
            yield f"the counter {name} is not aggregated"


def test_links_lead_to_existing_dashboards_and_variables() -> None:
    links = [
        (panel, link["url"])
        for document in ALL
        for panel in panels(document)
        for link in [*panel.get("links", []), *panel["fieldConfig"]["defaults"].get("links", [])]
    ]
    inner = [(panel, url) for panel, url in links if url.startswith("/d/")]
    assert len(inner) > 20
    for panel, url in inner:
        uid, _, query = url.removeprefix("/d/").partition("?")
        names = {item["name"] for item in BY_UID[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", query)) <= names
        assert "${__url_time_range}" in query
        labels = set(re.findall(r"__field\.labels\.(\w+)", query))
        for target in panel["targets"]:
            assert all(f"{{{{{label}}}}}" in target["legendFormat"] for label in labels), url
        for title in re.findall(r"__data\.fields\.(\w+)", query):
            renamed = panel["transformations"][1]["options"]["renameByName"]
            assert title in renamed.values()
    for document in ALL:
        (menu,) = document["links"]
        assert menu["tags"] == document["tags"]
        assert (menu["keepTime"], menu["includeVars"]) == (True, True)


def test_the_overview_leads_to_runs_and_runs_lead_to_nodes() -> None:
    def targets(uid: str) -> set[str]:
        text = str(BY_UID[uid])
        return set(re.findall(r"/d/([\w-]+)", text))

    assert {"ffrtmp-run", "ffrtmp-nodes"} <= targets("ffrtmp-overview")
    assert "ffrtmp-nodes" in targets("ffrtmp-run")


def test_only_documented_metrics_are_displayed() -> None:
    known = alert_rules.documented()
    queried = {name for query in queries() for name in metrics_of(query.expr)}
    own = {name.removesuffix("_bucket") for name in queried if name.startswith("ffrtmp_")}
    assert len(own) > 100
    assert own - known == set()
