"""Tests of the states of jobs and runs."""

import itertools

import pytest
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.states import (
    IllegalTransitionError,
    JobState,
    RunState,
    check_transition,
    run_state,
)

FINAL = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}
LEGAL = {
    ("queued", "leased"),
    ("queued", "canceled"),
    ("leased", "running"),
    ("leased", "queued"),
    ("leased", "succeeded"),
    ("leased", "failed"),
    ("leased", "canceled"),
    ("running", "queued"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "canceled"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobState, JobState)))
def test_only_legal_transitions_are_accepted(before: JobState, after: JobState) -> None:
    if (before, after) in LEGAL:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransitionError, match=f"from {before} to {after}"):
            check_transition(before, after)


def test_final_states_have_no_transitions() -> None:
    assert {state for state in JobState if state.is_final} == FINAL


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, RunState.QUEUED),
        ({JobState.QUEUED: 2, JobState.FAILED: 0}, RunState.QUEUED),
        ({JobState.QUEUED: 1, JobState.SUCCEEDED: 1}, RunState.RUNNING),
        ({JobState.LEASED: 1}, RunState.RUNNING),
        ({JobState.SUCCEEDED: 3, JobState.QUEUED: 0}, RunState.SUCCEEDED),
        ({JobState.SUCCEEDED: 3, JobState.FAILED: 1}, RunState.FAILED),
        ({JobState.CANCELED: 1, JobState.FAILED: 1}, RunState.FAILED),
        ({JobState.CANCELED: 1, JobState.SUCCEEDED: 1}, RunState.CANCELED),
        ({JobState.RUNNING: 1, JobState.FAILED: 1}, RunState.RUNNING),
    ],
)
def test_a_runs_state_follows_from_its_jobs(
    counts: dict[JobState, int], expected: RunState
) -> None:
    assert run_state(counts) is expected


def test_only_failures_of_the_machine_and_the_network_are_retryable() -> None:
    retried = {failure for failure in FailureClass if failure.is_retryable}
    assert retried == {"lease_expired", "network", "node", "killed", "stopped"}
