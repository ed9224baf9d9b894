"""Checks of a master's jobs, results and histories that must always succeed."""

from itertools import pairwise

from ffrtmp_shared.states import JOB_TRANSITIONS, JobState, RunState, run_state
from in_process_master import MasterHarness

from .model import FINAL, HELD, Model, ModelJob


def check_jobs(harness: MasterHarness, model: Model) -> None:
    """Check that all jobs exist and equal the model, and that exclusive jobs share no node."""
    found = {job["id"]: job for job in harness.every("/v1/jobs")}
    assert found.keys() == model.jobs.keys(), "a job was lost or never submitted"
    for job_id, job in model.jobs.items():
        wanted = job.api_fields()
        assert {key: found[job_id][key] for key in wanted} == wanted
    # This check does not use the model, because the model may have the same defect as the master.
    for name in {job["leased_to"] for job in found.values()}:
        held = [job for job in found.values() if job["state"] in HELD and job["leased_to"] == name]
        assert len(held) <= 1 or not any(job["exclusive"] for job in held)


def check_all(harness: MasterHarness, model: Model) -> None:
    """Check the jobs, results, histories and runs."""
    check_jobs(harness, model)
    _check_results(harness, model)
    for job in model.jobs.values():
        _check_history(harness, job)
    for run_id in {job.run_id for job in model.jobs.values() if job.run_id}:
        _check_run(harness, model, run_id)


def _check_results(harness: MasterHarness, model: Model) -> None:
    found = harness.every("/v1/results")
    stored = {(result["job_id"], result["attempt"]) for result in found}
    assert len(stored) == len(found), "a result was stored twice"
    assert stored == set(model.results.items())


def _check_history(harness: MasterHarness, job: ModelJob) -> None:
    history = harness.history(job.id)
    assert history[0][:2] == (None, "queued")
    assert history[-1][1] == job.state
    for (_, last, last_attempt), (before, after, attempt) in pairwise(history):
        assert before == last, "a transition is missing"
        assert JobState(after) in JOB_TRANSITIONS[JobState(last)]
        assert attempt == last_attempt + (after == "leased")
    assert [after for _, after, _ in history].count("leased") == job.attempt
    assert sum(after in FINAL for _, after, _ in history) == job.is_final


def _check_run(harness: MasterHarness, model: Model, run_id: str) -> None:
    run = harness.run_now(run_id)
    counts = model.counts(run_id)
    assert run["counts"] == counts
    state = run_state({JobState(name): count for name, count in counts.items()})
    assert RunState(run["state"]) is state
    assert (run["finished_at"] is not None) == state.is_final
