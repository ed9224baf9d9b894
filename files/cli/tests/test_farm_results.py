"""Tests of ffrtmp reproduce with the results of a farm."""

from typing import Any

import pytest
from ffrtmp_shared.ids import new_id
from modules.farm import Farm

from .conftest import Document, Ffrtmp, working
from .suite_file import write_suite

pytestmark = pytest.mark.usefixtures("profile")


@pytest.fixture
def run(farm: Farm, document: Document, tmp_path: Any) -> dict[str, Any]:
    """A run that has succeeded."""
    with working(farm):
        found: dict[str, Any] = document("run", str(write_suite(tmp_path)))["run"]
    return found


@pytest.mark.slow
def test_a_job_and_a_scenario_of_a_farm_are_reproduced(
    run: dict[str, Any], document: Document
) -> None:
    job = document("jobs", "list", run["id"])["jobs"][-1]
    by_job = document("reproduce", job["id"])["instructions"]
    assert by_job["scenario"] == job["scenario"]
    by_name = document("reproduce", job["scenario"], "--run", run["id"][-6:])["instructions"]
    assert by_name["scenario"] == job["scenario"]
    assert by_name["commands"] == by_job["commands"]


def test_an_unknown_job_is_refused(ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("reproduce", str(new_id()))
    assert outcome.code == 3
    assert "name its run with --run" in outcome.err
