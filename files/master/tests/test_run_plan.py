"""Tests of the plan of a run: jobs, nodes, waiting scenarios, files, key and expected duration."""

from typing import Any

import factories
import pytest
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from in_process_master import SetClock, running_master
from msgspec.structs import replace

_BOTH = ("libx264", "libx265")


def plan(harness: Any, text: str, key: str | None = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"suite": text, **more}
    return harness.ok("submitter", "POST", "/v1/runs/plan", body, headers=headers)


def test_a_plan_counts_the_control_encodes_of_the_whole_run(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    text = ready_harness.suite(rates=2, repeats=3, more="control: true\n")
    found = plan(ready_harness, text)
    assert (found["jobs"], found["control_jobs"], found["total_jobs"]) == (14, 4, 16)
    assert (found["repeats"], found["max_repeats"]) == (3, None)
    run = ready_harness.run(text)
    assert sum(run["counts"].values()) == found["jobs"]
    for node in ("worker1", "worker2"):
        while claim := ready_harness.claim(node):
            ready_harness.result(claim, node)
            ready_harness.run_maintenance()
    assert sum(ready_harness.run_now(run["id"])["counts"].values()) == found["total_jobs"]


def test_a_plan_states_the_limit_of_repeats_for_a_precision(ready_harness: Any) -> None:
    found = plan(ready_harness, ready_harness.suite(more="precision: {max_repeats: 9}\n"))
    assert (found["repeats"], found["max_repeats"]) == (1, 9)


def test_a_plan_lists_the_scenarios_that_would_wait_with_the_reason(ready_harness: Any) -> None:
    harness = ready_harness
    harness.register("worker2", "libx265")
    harness.ok("admin", "PATCH", "/v1/nodes/worker2", {"state": "draining"})
    found = plan(harness, harness.suite(encoders=_BOTH, rates=2))
    (group,) = found["waiting"]
    assert group["scenarios"] == ["clip/libx265/1000k", "clip/libx265/1001k"]
    assert "worker2 is draining" in group["reason"]
    assert (found["nodes"], found["omitted_nodes"]) == (["worker1"], [])
    assert found["when_unmet"] is None


def test_a_plan_names_nodes_that_get_no_jobs(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker2", {"state": "draining"})
    found = plan(ready_harness, ready_harness.suite())
    assert found["omitted_nodes"] == [{"node": "worker2", "state": "draining"}]
    assert found["waiting"] == []


@pytest.mark.parametrize("stated", ["", "when_unmet: refuse\n"])
def test_a_request_can_replace_the_setting_for_unmet_scenarios(
    ready_harness: Any, stated: str
) -> None:
    harness, text = ready_harness, ready_harness.suite(encoders=_BOTH, more=stated)
    assert harness.call("submitter", "POST", "/v1/runs/plan", {"suite": text}).status_code == 422
    found = plan(harness, text, when_unmet="wait")
    assert [group["scenarios"] for group in found["waiting"]] == [["clip/libx265/1000k"]]
    assert found["when_unmet"] == ("refuse" if stated else None)
    body = {"suite": text, "when_unmet": "wait"}
    run = harness.ok("submitter", "POST", "/v1/runs", body)
    jobs = harness.every("/v1/jobs", run=run["id"])
    assert {job["scenario"]["name"]: job["node"] for job in jobs} == {
        "clip/libx264/1000k": "worker1",
        "clip/libx265/1000k": None,
    }
    refused = harness.call("submitter", "POST", "/v1/runs", body | {"when_unmet": "refuse"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error.startswith("clip/libx265/1000k: ")


def test_a_refusal_names_a_limited_number_of_scenarios(ready_harness: Any) -> None:
    text = ready_harness.suite(encoders=("libx265",), rates=8)
    answer = ready_harness.call("submitter", "POST", "/v1/runs", {"suite": text})
    (error,) = answer.json()["errors"]
    assert "clip/libx265/1004k, and 3 more: no node meets the requirements: worker1 lacks" in error


def test_a_plan_lists_the_files_of_the_suite(harness: Any) -> None:
    harness.register("worker1", ffmpeg_under_test=True)
    digest = "e" * 64
    text = harness.suite(
        more=f"ffmpegs: [{{name: ours}}, {{name: new, file: b/ffmpeg, sha256: {digest}}}]\n"
    )
    clip = {"name": "source clip", "path": "clip.mp4", "sha256": factories.CLIP_SHA256}
    build = {"name": "FFmpeg new", "path": "b/ffmpeg", "sha256": digest}
    missing = {"is_stored": False}
    assert plan(harness, text)["files"] == [clip | missing, build | missing]
    harness.upload()
    assert plan(harness, text)["files"] == [clip | {"is_stored": True}, build | missing]


def test_a_plan_names_the_run_with_the_key(ready_harness: Any) -> None:
    harness = ready_harness
    text, key = harness.suite(), {"Idempotency-Key": "k1"}
    assert plan(harness, text, "k1")["existing"] is None
    run = harness.run(headers=key)
    # The plan of an existing run does not depend on the nodes.
    harness.ok("admin", "DELETE", "/v1/nodes/worker1")
    same = plan(harness, text, "k1")
    assert same["existing"] == {
        "id": run["id"],
        "suite_name": "test",
        "created_at": run["created_at"],
        "is_same": True,
    }
    assert (same["jobs"], same["nodes"]) == (1, ["worker1"])
    assert plan(harness, harness.suite(rates=2), "k1")["existing"]["is_same"] is False
    assert plan(harness, text, "k1", seed=2)["existing"]["is_same"] is False
    headers = {"Authorization": "Bearer token-admin", **key}
    other = harness.call("admin", "POST", "/v1/runs/plan", {"suite": text}, headers=headers)
    assert other.status_code == 422, "another submitter's key is another key"
    refused = harness.call(
        "submitter", "POST", "/v1/runs", {"suite": harness.suite(rates=2)}, headers=key
    )
    assert refused.status_code == 422
    assert f"'k1' was used for run {run['id']} of suite test" in refused.json()["detail"]


def work(harness: Any, node: str, duration_s: float) -> None:
    """Run all jobs that the node can get, each for `duration_s` seconds."""
    while claim := harness.claim(node):
        harness.heartbeat(claim, node)
        harness.clock.advance(duration_s)
        harness.result(claim, node)
        harness.run_maintenance()


def test_the_duration_is_expected_from_earlier_runs(ready_harness: Any) -> None:
    harness = ready_harness
    text = harness.suite(rates=2, repeats=3)
    unknown = plan(harness, text)["expected"]
    assert unknown["duration_s"] is None
    assert unknown["reason"] == "2 scenarios were not measured on worker1 in the last runs of test"
    harness.run(text)
    work(harness, "worker1", 10)
    assert plan(harness, text)["expected"] == {
        "duration_s": 60.0,
        "reason": "",
        "is_minimum": False,
    }
    # A second run took half the time, so the mean is 7.5 s; fewer repeats take less time.
    harness.run(text)
    work(harness, "worker1", 5)
    assert plan(harness, harness.suite(rates=2, repeats=2))["expected"]["duration_s"] == 30.0
    more = harness.suite(rates=2, more="precision: {max_repeats: 9}\n")
    assert plan(harness, more)["expected"] == {
        "duration_s": 15.0,
        "reason": "",
        "is_minimum": True,
    }


def test_the_slowest_node_determines_the_expected_duration(ready_harness: Any) -> None:
    harness = ready_harness
    harness.run()
    work(harness, "worker1", 10)
    harness.register("worker2")
    assert "on worker2" in plan(harness, harness.suite())["expected"]["reason"]
    harness.run(harness.suite(placement="{node: worker2}"))
    work(harness, "worker2", 25)
    assert plan(harness, harness.suite())["expected"]["duration_s"] == 25.0


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("exclusive: false\n", "the jobs may share a node (exclusive: false)"),
        ("warm_up_s: 2\n", "1 scenario was not measured on worker1 in the last runs of test"),
    ],
)
def test_a_duration_that_earlier_runs_do_not_show_is_unknown(
    ready_harness: Any, more: str, reason: str
) -> None:
    ready_harness.run()
    work(ready_harness, "worker1", 10)
    expected = plan(ready_harness, ready_harness.suite(more=more))["expected"]
    assert (expected["duration_s"], expected["reason"]) == (None, reason)


def test_a_duration_is_unknown_if_any_node_may_run_the_jobs(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    expected = plan(ready_harness, ready_harness.suite(placement="any"))["expected"]
    assert expected["reason"] == "any free node may run a job (placement: any)"


def test_control_encodes_are_part_of_the_expected_duration(ready_harness: Any) -> None:
    harness = ready_harness
    text = harness.suite(rates=2, more="control: true\n")
    harness.run(harness.suite(rates=2))
    work(harness, "worker1", 10)
    unmeasured = plan(harness, text)
    assert unmeasured["control_s"] is None
    assert unmeasured["expected"] == {"duration_s": 20.0, "reason": "", "is_minimum": True}
    harness.run(text)
    work(harness, "worker1", 10)
    harness.run(text)
    work(harness, "worker1", 10)
    harness.run(text)
    # The results of these control encodes are delivered late.
    work(harness, "worker1", 10_000)
    measured = plan(harness, text)
    assert measured["control_s"] == 20.0
    assert measured["expected"]["is_minimum"] is False
    assert measured["expected"]["duration_s"] > measured["control_s"]


@pytest.mark.parametrize("stated", [True, False])
def test_a_suite_can_state_whether_it_has_control_encodes(
    ready_harness: Any, *, stated: bool
) -> None:
    value = str(stated).lower()
    found = plan(ready_harness, ready_harness.suite(repeats=50, more=f"control: {value}\n"))
    assert found["control_jobs"] == (2 if stated else 0)
    assert found["control_reason"] == f"the suite states control: {value}"


def undecided(harness: Any, **options: Any) -> Any:
    """Return the text of a suite that does not state whether it has control encodes."""
    return harness.suite(**options).replace("control: false\n", "")


@pytest.mark.parametrize(
    ("repeats", "duration_s", "control_jobs"), [(3, 200.0, 0), (3, 201.0, 2), (21, 20.0, 0)]
)
def test_a_run_of_more_than_ten_minutes_has_control_encodes(
    ready_harness: Any, repeats: int, duration_s: float, control_jobs: int
) -> None:
    harness = ready_harness
    harness.run()
    work(harness, "worker1", duration_s)
    text = undecided(harness, repeats=repeats)
    found = plan(harness, text)
    assert found["control_jobs"] == control_jobs
    words = "is planned" if control_jobs else "is not planned"
    assert found["control_reason"] == f"the run {words} to take more than 10 minutes"
    created = harness.run(text)
    assert sum(created["counts"].values()) == found["jobs"]
    work(harness, "worker1", duration_s)
    now = harness.run_now(created["id"])
    assert (now["state"], sum(now["counts"].values())) == ("succeeded", found["total_jobs"])


@pytest.mark.parametrize(
    ("repeats", "limits", "control_jobs"),
    [
        (1, "max_repeats: 20", 0),
        (1, "max_repeats: 21", 2),
        (1, "max_repeats: 30, budget_s: 600", 0),
        (1, "max_repeats: 30, budget_s: 601", 2),
        (21, "max_repeats: 30, budget_s: 60", 2),
    ],
)
def test_a_precision_counts_with_the_most_repeats_that_its_budget_permits(
    ready_harness: Any, repeats: int, limits: str, control_jobs: int
) -> None:
    text = undecided(ready_harness, repeats=repeats, more=f"precision: {{{limits}}}\n")
    assert plan(ready_harness, text)["control_jobs"] == control_jobs


@pytest.mark.parametrize(("repeats", "control_jobs"), [(20, 0), (21, 2)])
def test_a_job_that_was_not_measured_counts_as_half_a_minute(
    ready_harness: Any, repeats: int, control_jobs: int
) -> None:
    assert plan(ready_harness, undecided(ready_harness, repeats=repeats))["control_jobs"] == (
        control_jobs
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (("placement: each", "placement: any"), "any free node may run a job (placement: any)"),
        (("repeats", "exclusive: false\nrepeats"), "the jobs may share a node (exclusive: false)"),
        (("name: clip", "name: control"), "a source of the suite has the name control"),
    ],
)
def test_a_long_run_that_does_not_permit_control_encodes_has_none(
    ready_harness: Any, changed: tuple[str, str], reason: str
) -> None:
    text = undecided(ready_harness, repeats=50).replace(*changed)
    found = plan(ready_harness, text)
    assert (found["control_jobs"], found["control_reason"]) == (0, reason)
    assert sum(ready_harness.run(text)["counts"].values()) == 50


def test_a_run_with_the_same_key_is_returned_although_its_nodes_are_gone(
    ready_harness: Any,
) -> None:
    harness, key = ready_harness, {"Idempotency-Key": "k1"}
    text = undecided(harness, repeats=21)
    created = harness.run(text, headers=key)
    assert sum(created["counts"].values()) == 22
    harness.ok("admin", "DELETE", "/v1/nodes/worker1")
    assert harness.run(text, headers=key)["id"] == created["id"]


def test_a_suite_with_fewer_repeats_than_the_farm_requires_is_refused(
    migrated: Settings, clock: SetClock
) -> None:
    services = Services(replace(migrated, repeats_min=4), clock, 3600)
    with running_master(services, clock) as harness:
        harness.register("worker1")
        harness.upload()
        few, enough = harness.suite(repeats=3), harness.suite(repeats=4)
        for path in ("/v1/runs", "/v1/runs/plan"):
            refused = harness.call("submitter", "POST", path, {"suite": few})
            assert refused.status_code == 422
            assert refused.json()["detail"].startswith("the suite requests repeats: 3, but")
            assert "set repeats: 4" in refused.json()["detail"]
        assert harness.run(enough)["counts"]["queued"] == 4
