"""Plan of a run: the jobs that a suite would queue now, without queueing them."""

from dataclasses import replace
from datetime import datetime

import msgspec
from ffrtmp_shared.run_plan import ExpectedDuration, RunPlan, RunWithKey, SuiteFile
from ffrtmp_shared.suite import Suite
from sqlalchemy import Connection

from ffrtmp_master.runs import control_encodes
from ffrtmp_master.runs.control_choice import choose_controls, stated_choice
from ffrtmp_master.runs.expansion import NewRun
from ffrtmp_master.runs.expected_duration import PlannedDurations
from ffrtmp_master.runs.placement import place_suite
from ffrtmp_master.store import nodes, runs, sources


def plan_run(connection: Connection, request: NewRun, seen_since: datetime) -> RunPlan:
    """Return the jobs that a run would have.

    Files need not have been uploaded. If there is a run with the key of the request, the plan
    describes that run.

    Args:
        connection: A connection to the database.
        request: The requested run.
        seen_since: The earliest last-seen time with which a node counts as online.

    Returns:
        The plan.

    Raises:
        UnprocessableError: The farm cannot run the suite.
    """
    suite = request.suite
    files = _files(connection, suite)
    if request.key is not None:
        existing = runs.by_key(connection, request.created_by, request.key)
        if existing is not None:
            return _existing_plan(connection, request, existing, files)
    known = nodes.list_all(connection, seen_since)
    placement = place_suite(request.placed_suite, known, request.repeats_min)
    durations = PlannedDurations(connection, suite, placement)
    choice = choose_controls(suite, durations)
    with_controls = (
        control_encodes.nodes_with(known, placement.nodes) if choice.has_controls else []
    )
    jobs = len(placement.items) * suite.repeats + len(with_controls)
    control_jobs = control_encodes.MIN_CONTROLS * len(with_controls)
    return RunPlan(
        suite_name=suite.name,
        jobs=jobs,
        scenarios=_scenario_names(suite),
        nodes=placement.nodes,
        repeats=suite.repeats,
        max_repeats=suite.precision.max_repeats if suite.precision else None,
        control_jobs=control_jobs,
        control_reason=choice.reason,
        control_s=durations.control_s(with_controls),
        total_jobs=jobs + control_jobs - len(with_controls),
        waiting=placement.waiting,
        omitted_nodes=placement.omitted,
        when_unmet=request.suite.when_unmet,
        files=files,
        expected=durations.expected(with_controls),
    )


def with_chosen_controls(connection: Connection, request: NewRun, seen_since: datetime) -> NewRun:
    """Return a request whose suite states whether the run has control encodes, as in its plan.

    It is determined before the transaction that creates the run, because it may require reading
    the jobs of several runs. A request is returned unchanged if its run already exists, or if its
    suite alone determines the choice.

    Args:
        connection: A connection to the database.
        request: The requested run.
        seen_since: The earliest last-seen time with which a node counts as online.

    Raises:
        UnprocessableError: The farm cannot run the suite.
    """
    suite = request.suite
    if stated_choice(suite) is not None:
        return request
    key = request.key
    if key is not None and runs.by_key(connection, request.created_by, key) is not None:
        return request
    known = nodes.list_all(connection, seen_since)
    placement = place_suite(request.placed_suite, known, request.repeats_min)
    choice = choose_controls(suite, PlannedDurations(connection, suite, placement))
    return replace(request, suite=msgspec.structs.replace(suite, control=choice.has_controls))


def _existing_plan(
    connection: Connection, request: NewRun, existing: runs.RunRow, files: tuple[SuiteFile, ...]
) -> RunPlan:
    run = runs.get_run(connection, existing.id)
    jobs = sum(run.counts.values())
    return RunPlan(
        suite_name=run.suite_name,
        jobs=jobs,
        scenarios=_scenario_names(request.suite),
        nodes=run.nodes,
        repeats=request.suite.repeats,
        total_jobs=jobs,
        files=files,
        expected=ExpectedDuration(reason="the run already exists"),
        existing=RunWithKey(
            id=run.id,
            suite_name=run.suite_name,
            created_at=run.created_at,
            is_same=request.is_same(existing),
        ),
    )


def _scenario_names(suite: Suite) -> tuple[str, ...]:
    return tuple(scenario.name for scenario in suite.scenarios())


def _files(connection: Connection, suite: Suite) -> tuple[SuiteFile, ...]:
    stored = sources.stored_of(connection, {file.sha256 for file in suite.files})
    return tuple(
        SuiteFile(
            name=file.label, path=file.path, sha256=file.sha256, is_stored=file.sha256 in stored
        )
        for file in suite.files
    )
