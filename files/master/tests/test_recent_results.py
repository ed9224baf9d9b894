"""Tests of the results that exporters keep: those of the most recent runs, in bounded memory."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import factories
import msgspec
import pytest
from ffrtmp_master.exporters import recent_results
from ffrtmp_master.exporters.recent_results import VERDICTS, RecentLimits, RecentResults
from ffrtmp_master.exporters.scenario_labels import ScenarioLabels
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Result
from ffrtmp_shared.scenario import LadderSettings, Rendition
from ffrtmp_shared.verdict import Verdict, VerdictState
from result_collectors import result

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITS = RecentLimits(series_max=100, runs_max=3, keep_days=1, recount_s=1e9)


def speeds(result: Result) -> Iterator[tuple[ScenarioLabels, float]]:
    yield ScenarioLabels.of_scenario(result), result.measurement.encode.speed


def recent(results: Iterable[Result], **limits: Any) -> RecentResults[float]:
    found = RecentResults(speeds, LIMITS._replace(**limits))
    for added in results:
        found.add(added)
    return found


def of_run(
    run_id: Any,
    speed: float = 1.0,
    *,
    scenario: str = "clip",
    verdict: str = "valid",
    at: datetime = NOON,
    **more: Any,
) -> Result:
    measured = factories.measurement()
    measured = msgspec.structs.replace(
        measured,
        encode=msgspec.structs.replace(measured.encode, speed=speed),
        environment=msgspec.structs.replace(measured.environment, measured_at=at),
        verdict=None if verdict == "none" else Verdict(state=VerdictState(verdict)),
    )
    return result(
        run_id=run_id,
        scenario=msgspec.structs.replace(factories.scenario(), name=scenario),
        measurement=measured,
        stored_at=at,
        **more,
    )


def shown(found: RecentResults[float]) -> dict[str, float | None]:
    return {labels.scenario: value.values for labels, value in found.latest().items()}


def test_only_the_most_recent_runs_are_kept() -> None:
    runs = [new_id() for _ in range(5)]
    of_runs = [of_run(run, scenario=f"s{number}") for number, run in enumerate(runs)]
    assert shown(recent(of_runs)).keys() == {"s2", "s3", "s4"}
    # The order in which results arrive makes no difference.
    assert shown(recent(reversed(of_runs))).keys() == {"s2", "s3", "s4"}
    assert recent(of_runs).run_results() == dict.fromkeys(runs[2:], 1)


def test_a_scenario_has_the_values_of_its_most_recent_run() -> None:
    earlier, later = new_id(), new_id()
    of_both = [of_run(later, 2.0), of_run(earlier, 1.0, at=NOON + timedelta(hours=1))]
    assert shown(recent(of_both)) == shown(recent(reversed(of_both))) == {"clip": 2.0}


def test_a_scenario_disappears_with_its_last_run() -> None:
    first, *others = (new_id() for _ in range(4))
    found = recent([of_run(first, scenario="once")])
    assert shown(found) == {"once": 1.0}
    for run in others:
        found.add(of_run(run, scenario="often"))
    assert shown(found) == {"often": 1.0}
    # The run is still in progress, but too old.
    found.add(of_run(first, scenario="once"))
    assert shown(found) == {"often": 1.0}


def test_the_latest_result_of_a_run_is_that_which_was_measured_last() -> None:
    run = new_id()
    late = of_run(run, 1.0, at=NOON - timedelta(hours=1))
    assert shown(recent([of_run(run, 2.0), late])) == {"clip": 2.0}


def test_verdicts_are_those_of_the_most_recent_run() -> None:
    earlier, later = new_id(), new_id()
    states = ("valid", "degraded", "degraded", "invalid", "none")
    found = recent([of_run(earlier), *(of_run(later, verdict=state) for state in states)])
    (scenario,) = found.latest().values()
    assert dict(zip(VERDICTS, scenario.verdicts, strict=True)) == {
        "valid": 1,
        "degraded": 2,
        "invalid": 1,
        "none": 1,
    }


def test_a_run_with_only_invalid_results_has_no_values() -> None:
    earlier, later = new_id(), new_id()
    found = recent([of_run(earlier), of_run(later, 9.0, verdict="invalid")])
    assert shown(found) == {"clip": None}
    found.add(of_run(later, 2.0, at=NOON - timedelta(hours=1)))
    assert shown(found) == {"clip": 2.0}


def test_jobs_without_a_run_do_not_displace_runs() -> None:
    run = new_id()
    single = [of_run(None, scenario=f"single{number}") for number in range(10)]
    found = recent([of_run(run), *single])
    assert shown(found).keys() == {"clip", *(f"single{number}" for number in range(10))}
    assert found.run_results() == {run: 1}
    newer = recent([of_run(run, 1.0), of_run(None, 2.0)])
    assert shown(newer) == {"clip": 2.0}


def test_the_scenarios_without_a_recent_result_are_omitted() -> None:
    run = new_id()
    many = [of_run(run, scenario=f"s{number}") for number in range(10)]
    found = recent([*many, many[0]], series_max=4)
    assert shown(found).keys() == {"s7", "s8", "s9", "s0"}
    assert found.omitted == 6


def test_an_omitted_scenario_returns_with_its_verdicts() -> None:
    earlier, run = new_id(), new_id()
    found = recent([of_run(run, 1.0), of_run(run, scenario="other")], series_max=1)
    assert (shown(found).keys(), found.omitted) == ({"other"}, 1)
    found.add(of_run(earlier, 3.0))
    assert (shown(found).keys(), found.omitted) == ({"other"}, 1)
    found.add(of_run(run, 2.0))
    assert (shown(found), found.omitted) == ({"clip": 2.0}, 1)
    (scenario,) = found.latest().values()
    assert sum(scenario.verdicts) == 2


def test_the_omitted_scenarios_of_old_runs_and_results_do_not_count() -> None:
    runs = [new_id() for _ in range(4)]
    of_first = [of_run(runs[0], scenario=f"s{number}") for number in range(5)]
    found = recent(of_first, series_max=2)
    assert found.omitted == 3
    for run in runs[1:]:
        found.add(of_run(run))
    assert found.omitted == 0
    found = recent(of_first, series_max=2)
    found.forget_old((NOON + timedelta(hours=25)).timestamp())
    assert (shown(found), found.omitted) == ({}, 0)


def test_a_pass_after_a_restart_omits_the_same_scenarios() -> None:
    """Results that have become too old are read again, but do not count as omitted."""
    run, later = new_id(), NOON + timedelta(hours=20)
    old = [of_run(run, scenario=f"old{number}") for number in range(2)]
    new = [of_run(run, scenario=f"new{number}", at=later) for number in range(2)]
    now_s = (NOON + timedelta(hours=25)).timestamp()
    running, restarted = recent(old, series_max=2), recent([], series_max=2)
    for found, results in ((running, new), (restarted, [*old, *new])):
        found.forget_old(now_s)
        for added in results:
            found.add(added)
        found.forget_old(now_s)
    assert running.latest() == restarted.latest()
    assert running.omitted == restarted.omitted == 0


def test_the_number_of_omitted_scenarios_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_results, "OMITTED_MAX", 3)
    run = new_id()
    many = [of_run(run, scenario=f"s{number}") for number in range(10)]
    assert recent(many, series_max=2).omitted == 3


def test_the_verdicts_of_a_result_count_once() -> None:
    def with_rendition(result: Result) -> Iterator[tuple[ScenarioLabels, float]]:
        yield from speeds(result)
        yield ScenarioLabels.of_rendition(result, "720p"), 2.0

    found, run = RecentResults(with_rendition, LIMITS), new_id()
    for _ in range(3):
        found.add(of_run(run))
    counted = {labels.rate_point: sum(value.verdicts) for labels, value in found.latest().items()}
    assert counted == {"1000k": 3, "720p": 0}


def test_old_results_are_forgotten() -> None:
    run = new_id()
    found = recent([of_run(run, scenario="old"), of_run(run, at=NOON + timedelta(hours=2))])
    found.forget_old((NOON + timedelta(hours=25)).timestamp())
    assert shown(found) == {"clip": 1.0}


def test_the_labels_of_a_rendition_are_those_of_its_encode() -> None:
    suite = factories.scenario()
    assert suite.encode is not None
    small = msgspec.structs.replace(suite.encode, preset="fast", width=640, height=360)
    renditions = (
        Rendition(name="720p", encode=suite.encode),
        Rendition(name="360p", encode=small),
    )
    ladder = msgspec.structs.replace(
        suite, kind="ladder", encode=None, ladder=LadderSettings(renditions=renditions)
    )
    found = result(scenario=ladder)
    assert ScenarioLabels.of_scenario(found) == ("worker1", "libx264", "", "", "clip/one")
    assert ScenarioLabels.of_rendition(found, "360p") == (
        "worker1", "libx264", "fast", "360p", "clip/one"
    )  # fmt: skip
