"""Dashboards: every query of every panel returns data, and the preview shows all panels."""

import json
import time
from collections.abc import Iterable
from urllib.parse import urlencode

import pytest
from dashboard_documents import documents, metrics_of, queries
from deployed_farm import ROOT, Machine
from farm_dashboards.preview.database import Database
from farm_dashboards.preview.drawings import Period
from farm_dashboards.preview.page import Preview, preview

testinfra_hosts = ["ansible://monitoring"]

URL = "https://127.0.0.1:8428"
PAGE = ROOT / ".state/dashboard-preview.html"
# This farm has no GPU and no revocation list, and virtual CPUs do not count thermal throttling.
ABSENT = ("ffrtmp_gpu_", "ffrtmp_revocation_list_", "ffrtmp_node_package_throttles_")

_NOTHING = json.dumps({"data": {"result": []}}).encode()
_BATCH = 40


def is_absent(name: str) -> bool:
    return name.startswith(ABSENT)


def answers(machine: Machine, paths: Iterable[str]) -> dict[str, bytes]:
    """Return the body of the answer to each path; several paths are requested together."""
    waiting = list(dict.fromkeys(paths))
    found = {}
    for at in range(0, len(waiting), _BATCH):
        batch = waiting[at : at + _BATCH]
        for path, answer in zip(
            batch, machine.requests([URL + path for path in batch]), strict=True
        ):
            assert answer.status == 200, answer.body
            found[path] = answer.body.encode()
    return found


@pytest.fixture(scope="module")
def pages() -> dict[str, Preview]:
    return {}


@pytest.fixture
def page(machine: Machine, pages: dict[str, Preview]) -> Preview:
    """The preview of the farm's data, which is written once."""
    if not pages:
        now_s = time.time()
        period = Period(now_s - 3 * 3600, now_s)
        paths: list[str] = []

        def record(path: str) -> bytes:
            paths.append(path)
            return _NOTHING

        # The first pass collects the requests, and the second one draws their answers.
        preview(documents(), Database(record), period, URL)
        known = answers(machine, paths)
        pages[URL] = preview(documents(), Database(known.__getitem__), period, "the test farm")
        PAGE.write_text(pages[URL].html, encoding="utf-8")
    return pages[URL]


def test_every_query_returns_data(page: Preview) -> None:
    assert page.failed == ()
    optional = {
        query.name for query in queries() if any(is_absent(name) for name in metrics_of(query.expr))
    }
    assert set(page.empty) <= optional


def test_every_metric_exists(machine: Machine) -> None:
    path = "/api/v1/label/__name__/values"
    body = answers(machine, [path])[path]
    names = set(json.loads(body)["data"])
    missing = {
        name
        for query in queries()
        for name in metrics_of(query.expr) - names
        if not is_absent(name)
    }
    assert missing == set()


def test_the_variables_have_values(machine: Machine) -> None:
    variables = [item for document in documents() for item in document["templating"]["list"]]
    paths = {}
    for item in variables:
        if item["type"] == "query":
            call = item["query"]["query"].removeprefix("label_values(").removesuffix(")")
            series, _, label = call.rpartition(", ")
            paths[f"/api/v1/label/{label}/values?{urlencode({'match[]': series})}"] = call
    for path, body in answers(machine, paths).items():
        assert json.loads(body)["data"], paths[path]
