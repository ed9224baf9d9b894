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
from polling import wait_until

testinfra_hosts = ["ansible://monitoring"]

URL = "https://127.0.0.1:8428"
PAGE = ROOT / ".state/dashboard-preview.html"
# This farm has no GPU. Other metrics of a physical host are those of an imitation (prepare.yml).
ABSENT = "ffrtmp_gpu_"
OPTIONAL = {
    query.name
    for query in queries()
    if all(name.startswith(ABSENT) for name in metrics_of(query.expr))
}

_NOTHING = json.dumps({"data": {"result": []}}).encode()
_BATCH = 40


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


def drawn(machine: Machine) -> Preview:
    """Return the preview of the farm's present data."""
    now_s = time.time()
    period = Period(now_s - 3 * 3600, now_s)
    paths: list[str] = []

    def record(path: str) -> bytes:
        paths.append(path)
        return _NOTHING

    # The first pass collects the requests, and the second one draws their answers.
    preview(documents(), Database(record), period, URL)
    known = answers(machine, paths)
    return preview(documents(), Database(known.__getitem__), period, "the test farm")


@pytest.fixture
def page(machine: Machine, pages: dict[str, Preview]) -> Preview:
    """The preview of the farm's data, which is written once."""

    def is_complete() -> bool:
        pages[URL] = drawn(machine)
        PAGE.write_text(pages[URL].html, encoding="utf-8")
        return set(pages[URL].empty) <= OPTIONAL

    if not pages:
        # After a restart of an exporter, the next scrape and forecasts take a while.
        PAGE.parent.mkdir(exist_ok=True)
        wait_until(is_complete, lambda: f"no data: {set(pages[URL].empty) - OPTIONAL}")
    return pages[URL]


def test_every_query_returns_data(page: Preview) -> None:
    assert page.failed == ()
    assert set(page.empty) <= OPTIONAL


def test_every_metric_exists(machine: Machine) -> None:
    path = "/api/v1/label/__name__/values"
    body = answers(machine, [path])[path]
    names = set(json.loads(body)["data"])
    missing = {
        name
        for query in queries()
        for name in metrics_of(query.expr) - names
        if not name.startswith(ABSENT)
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
