"""Tests of the jobs API: filters, reasons for waiting, cancellation, retries, and priorities."""

from typing import Any

import factories
import msgspec
import pytest
from ffrtmp_shared.ffmpeg_under_test import FfmpegUnderTest
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import (
    QUALITY_SETTINGS,
    RECEIVED_LIVE,
    VMAF_TARGET,
    EncodeSettings,
    LiveSettings,
    QualitySettings,
)

MISSING = "00000000-0000-7000-8000-000000000000"


def ids(harness: Any, **params: Any) -> list[str]:
    return [job["id"] for job in harness.every("/v1/jobs", **params)]


def test_every_filter_selects_the_matching_jobs(ready_harness: Any) -> None:
    harness = ready_harness
    harness.register("worker2", "libx265")
    run = harness.run(harness.suite(rates=2))["id"]
    of_run = ids(harness, run=run)
    harness.clock.advance(60)
    high = harness.submit(priority="high")["id"]
    harness.clock.advance(60)
    bound = harness.submit("libx265", requirements={"node": "worker2"})["id"]
    claimed = harness.claim("worker1")["job"]["id"]
    assert claimed == of_run[0] or claimed == high
    everything = [*of_run, high, bound]
    assert ids(harness) == everything
    assert ids(harness, state="leased") == [claimed]
    assert ids(harness, state="queued") == [job for job in everything if job != claimed]
    assert ids(harness, state="failed") == []
    assert ids(harness, node="worker2") == [bound]
    assert claimed in ids(harness, node="worker1")
    assert ids(harness, priority="high") == [high]
    assert ids(harness, scenario="clip/one") == [high, bound]
    assert ids(harness, scenario="clip/libx264/1000k", run=run) == [job_of_1000k(harness, of_run)]
    assert ids(harness, created_after="2026-01-01T00:00:30Z") == [high, bound]
    assert ids(harness, created_before="2026-01-01T01:01:30+01:00") == [*of_run, high]
    assert ids(
        harness, created_after="2026-01-01T00:00:30Z", created_before="2026-01-01T00:01:30Z"
    ) == [high]
    assert ids(harness, priority="high", state="succeeded") == []


def job_of_1000k(harness: Any, of_run: list[str]) -> str:
    """Return the job of a run whose rate is 1000k; the order of the jobs is random."""
    found = [job for job in of_run if harness.job(job)["scenario"]["name"].endswith("1000k")]
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("state=lost", 400),
        ("run=1", 400),
        ("priority=urgent", 400),
        ("limit=0", 400),
        ("limit=1001", 400),
        ("limit=many", 400),
        ("node=a%00b", 422),
        ("node=../x", 422),
        ("scenario=a%00b", 422),
        ("scenario=", 422),
        ("created_after=yesterday", 400),
        ("created_after=2026-01-01T00:00:00", 422),
        ("created_after=0001-01-01T00:00:00%2B14:00", 422),
        ("staet=queued", 400),
        ("state=queued&state_=queued", 400),
        ("cursor=nonsense", 422),
        ("cursor=a%00b", 422),
    ],
)
def test_an_invalid_filter_is_refused(harness: Any, query: str, status: int) -> None:
    answer = harness.call("viewer", "GET", f"/v1/jobs?{query}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_page_has_the_requested_size(ready_harness: Any) -> None:
    ready_harness.run(ready_harness.suite(rates=7))
    page = ready_harness.ok("viewer", "GET", "/v1/jobs?limit=5")
    assert len(page["items"]) == 5
    rest = ready_harness.ok(
        "viewer", "GET", "/v1/jobs", params={"limit": 5, "cursor": page["next_cursor"]}
    )
    assert len(rest["items"]) == 2
    assert rest["next_cursor"] is None


def waiting(harness: Any, job_id: str) -> str | None:
    """Return why a job waits; the list of jobs and the single job must give the same reason."""
    alone: str | None = harness.job(job_id)["waiting"]
    (listed,) = [job for job in harness.every("/v1/jobs") if job["id"] == job_id]
    assert listed["waiting"] == alone
    return alone


def test_a_queued_job_has_the_reason_of_its_waiting(harness: Any) -> None:
    job = harness.submit("libx265", requirements={"labels": {"zone": "a"}})["id"]
    assert waiting(harness, job) == "no node is registered"
    harness.register("worker1")
    harness.register("worker2")
    assert waiting(harness, job) == (
        "no node meets the requirements: worker1, worker2 lack encoder libx265, label zone=a"
    )
    harness.register("worker3", "libx265", labels={"zone": "a"})
    assert waiting(harness, job) == "waits for its turn"
    harness.ok("admin", "PATCH", "/v1/nodes/worker3", {"state": "draining"})
    assert waiting(harness, job) == "no suitable node is active: worker3 is draining"
    harness.clock.advance(61)
    assert waiting(harness, job) == "no suitable node is active: worker3 is offline"
    harness.ok("admin", "PATCH", "/v1/nodes/worker3", {"state": "active"})
    claim = harness.claim("worker3")
    assert claim["job"]["id"] == job
    assert waiting(harness, job) is None
    harness.fail(claim, "network", node="worker3")
    assert waiting(harness, job) == "waits after a failed attempt until 2026-01-01T00:01:06Z"
    harness.clock.advance(5)
    assert waiting(harness, job) == "waits for its turn"


def test_the_reason_names_busy_nodes(ready_harness: Any) -> None:
    harness = ready_harness
    shared = [harness.submit(exclusive=False)["id"] for _ in range(2)]
    alone = harness.submit()["id"]
    claim = harness.claim("worker1")
    assert claim["job"]["id"] == shared[0]
    assert waiting(harness, shared[1]) == "waits for its turn"
    assert waiting(harness, alone) == (
        "no suitable node is free: worker1 runs other jobs, and this job is exclusive"
    )
    harness.result(claim)
    harness.result(harness.claim("worker1"))
    assert harness.claim("worker1")["job"]["id"] == alone
    more = harness.submit(exclusive=False)["id"]
    assert waiting(harness, more) == ("no suitable node is free: worker1 runs an exclusive job")


def test_the_reason_names_the_required_node(ready_harness: Any) -> None:
    unknown_node = ready_harness.submit(requirements={"node": "worker9"})["id"]
    here = ready_harness.submit("libx265", requirements={"node": "worker1"})["id"]
    assert waiting(ready_harness, unknown_node) == "node worker9 is not registered"
    assert waiting(ready_harness, here) == "node worker1 lacks encoder libx265"


def test_a_live_job_needs_a_node_with_an_rtmp_server(ready_harness: Any) -> None:
    harness = ready_harness
    stream = factories.job()["scenario"]
    stream = msgspec.structs.replace(stream, kind="live", live=LiveSettings())
    body = {"scenario": stream}
    job = harness.ok("submitter", "POST", "/v1/jobs", body)["id"]
    assert waiting(harness, job).endswith("worker1 lacks support for live scenarios")
    assert harness.claim("worker1") is None
    harness.register("worker2", more_kinds=("live",))
    assert harness.claim("worker2")["job"]["id"] == job


def test_a_received_stream_is_not_measured_by_an_agent_of_an_older_release(
    ready_harness: Any,
) -> None:
    harness = ready_harness
    stream = factories.job()["scenario"]
    settings = LiveSettings(measure_received=True)
    stream = msgspec.structs.replace(stream, kind="live", live=settings)
    job = harness.ok("submitter", "POST", "/v1/jobs", {"scenario": stream})["id"]
    harness.register("worker1", more_kinds=("live",))
    assert harness.claim("worker1") is None
    assert waiting(harness, job).endswith(
        "worker1 lacks support for live scenarios with measure_received "
        "(an RTMP server, and an agent of this release)"
    )
    harness.register("worker2", more_kinds=("live", RECEIVED_LIVE))
    claimed = harness.claim("worker2")["job"]
    assert claimed["id"] == job
    assert claimed["scenario"]["live"]["measure_received"] is True


def test_a_job_that_requests_a_vmaf_needs_an_agent_that_supports_it(ready_harness: Any) -> None:
    harness = ready_harness
    scenario = factories.job()["scenario"]
    encode = msgspec.structs.replace(scenario.encode, rate=RatePoint(vmaf=93))
    scenario = msgspec.structs.replace(scenario, encode=encode)
    job = harness.ok("submitter", "POST", "/v1/jobs", {"scenario": scenario})["id"]
    harness.register("worker1")
    assert harness.claim("worker1") is None
    assert waiting(harness, job).endswith(
        "worker1 lacks support for rate points with vmaf (an agent of this release)"
    )
    harness.register("worker2", more_kinds=(VMAF_TARGET,))
    claimed = harness.claim("worker2")["job"]
    assert claimed["id"] == job
    assert claimed["scenario"]["encode"]["rate"] == {"vmaf": 93}


def test_a_job_with_fewer_scores_needs_an_agent_that_supports_it(ready_harness: Any) -> None:
    harness = ready_harness
    scenario = factories.job()["scenario"]
    scenario = msgspec.structs.replace(scenario, quality=QualitySettings(neg=False))
    job = harness.ok("submitter", "POST", "/v1/jobs", {"scenario": scenario})["id"]
    harness.register("worker1", more_kinds=(VMAF_TARGET,))
    assert harness.claim("worker1") is None
    assert waiting(harness, job).endswith(
        "worker1 lacks support for suites with quality (an agent of this release)"
    )
    harness.register("worker2", more_kinds=(QUALITY_SETTINGS,))
    claimed = harness.claim("worker2")["job"]
    assert claimed["id"] == job
    assert claimed["scenario"]["quality"] == {
        "neg": False,
        "psnr": True,
        "ssim": True,
        "xpsnr": True,
    }


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_a_job_with_an_ffmpeg_under_test_needs_a_node_that_permits_it(
    ready_harness: Any, encoder: str
) -> None:
    harness = ready_harness
    ffmpeg = FfmpegUnderTest(name="patched", sha256="a" * 64, url="https://a.example/ffmpeg")
    scenario = msgspec.structs.replace(factories.scenario(encoder), ffmpeg=ffmpeg)
    job = harness.ok("submitter", "POST", "/v1/jobs", {"scenario": scenario})["id"]
    assert waiting(harness, job).endswith(
        "worker1 lacks permission to run a suite's FFmpeg (worker_allow_ffmpeg_under_test)"
    )
    assert harness.claim("worker1") is None
    # The FFmpeg under test has its own encoders, so the node's encoders are not compared.
    harness.register("worker2", "libx264", ffmpeg_under_test=True)
    assert harness.claim("worker2")["job"]["id"] == job


def test_an_ffmpeg_under_test_still_needs_the_gpu_of_the_node(ready_harness: Any) -> None:
    harness = ready_harness
    harness.register("worker2", "libx264", ffmpeg_under_test=True)
    ffmpeg = FfmpegUnderTest(name="patched", sha256="a" * 64, url="https://a.example/ffmpeg")
    encode = EncodeSettings(encoder="h264_nvenc", preset="p4", rate=RatePoint(cq=30))
    scenario = msgspec.structs.replace(factories.scenario(), ffmpeg=ffmpeg, encode=encode)
    job = harness.ok("submitter", "POST", "/v1/jobs", {"scenario": scenario})["id"]
    assert "worker2 lacks encoder h264_nvenc" in waiting(harness, job)


def test_the_ffmpeg_of_the_farm_needs_no_permission(ready_harness: Any) -> None:
    scenario = msgspec.structs.replace(factories.scenario(), ffmpeg=FfmpegUnderTest(name="ours"))
    job = ready_harness.ok("submitter", "POST", "/v1/jobs", {"scenario": scenario})["id"]
    assert ready_harness.claim("worker1")["job"]["id"] == job


def test_a_queued_job_is_canceled_at_once(ready_harness: Any) -> None:
    job = ready_harness.submit()["id"]
    canceled = ready_harness.ok("submitter", "POST", f"/v1/jobs/{job}/cancel")
    assert (canceled["id"], canceled["state"], canceled["waiting"]) == (job, "canceled", None)
    again = ready_harness.ok("submitter", "POST", f"/v1/jobs/{job}/cancel")
    assert again["state"] == "canceled"
    assert ready_harness.claim("worker1") is None


def test_the_heartbeat_of_a_canceled_job_requests_cancellation(ready_harness: Any) -> None:
    ready_harness.submit()
    claim = ready_harness.claim("worker1")
    job = claim["job"]["id"]
    assert ready_harness.ok("submitter", "POST", f"/v1/jobs/{job}/cancel")["state"] == "leased"
    assert ready_harness.heartbeat(claim).json()["cancel"] is True
    ready_harness.fail(claim, "stopped")
    assert ready_harness.job(job)["state"] == "canceled"


def test_a_failed_job_is_retried_once(ready_harness: Any) -> None:
    ready_harness.submit(priority="low")
    claim = ready_harness.claim("worker1")
    old = claim["job"]["id"]
    ready_harness.fail(claim, "encode_failed")
    answer = ready_harness.call("submitter", "POST", f"/v1/jobs/{old}/retry")
    assert answer.status_code == 201
    new = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{new['id']}"
    assert (new["state"], new["retry_of"], new["priority"]) == ("queued", old, "low")
    assert new["waiting"] == "waits for its turn"
    assert ready_harness.job(old)["superseded_by"] == new["id"]
    assert ready_harness.call("submitter", "POST", f"/v1/jobs/{old}/retry").status_code == 409
    assert ready_harness.call("submitter", "POST", f"/v1/jobs/{new['id']}/retry").status_code == 409
    assert ready_harness.claim("worker1")["job"]["id"] == new["id"]


def test_a_retry_of_a_run_repeats_its_failed_jobs(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(rates=3, more="priority: high\n"))
    assert run["priority"] == "high"
    ready_harness.result(ready_harness.claim("worker1"))
    ready_harness.fail(ready_harness.claim("worker1"), "encode_failed")
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    ended = ready_harness.run_now(run["id"])
    assert ended["state"] == "failed"
    assert ended["finished_at"] is not None
    retried = ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/retry", {})
    assert (
        retried["counts"] | {"succeeded": 1, "queued": 2, "failed": 0, "canceled": 0}
        == (retried["counts"])
    )
    assert retried["finished_at"] is None
    again = ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/retry")
    assert again["counts"] == retried["counts"]
    for _ in range(2):
        ready_harness.result(ready_harness.claim("worker1"))
    assert ready_harness.run_now(run["id"])["state"] == "succeeded"


def test_a_run_is_not_retried_while_its_jobs_are_being_canceled(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(rates=2))
    claim = ready_harness.claim("worker1")
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    early = ready_harness.call("submitter", "POST", f"/v1/runs/{run['id']}/retry")
    assert early.status_code == 409
    assert "still being canceled" in early.json()["detail"]
    assert claim["job"]["id"] in early.json()["detail"]
    ready_harness.fail(claim, "encode_failed")
    retried = ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/retry")
    assert retried["counts"]["queued"] == 2


def test_a_priority_changes_the_order_of_claims(ready_harness: Any) -> None:
    first, second = (ready_harness.submit()["id"] for _ in range(2))
    changed = ready_harness.ok("submitter", "PATCH", f"/v1/jobs/{second}", {"priority": "live"})
    assert (changed["id"], changed["priority"]) == (second, "live")
    claims = [ready_harness.claim("worker1")]
    ready_harness.result(claims[0])
    claims.append(ready_harness.claim("worker1"))
    assert [claim["job"]["id"] for claim in claims] == [second, first]
    refused = ready_harness.call("submitter", "PATCH", f"/v1/jobs/{second}", {"priority": "low"})
    assert refused.status_code == 409


@pytest.mark.parametrize(
    ("method", "action", "body"),
    [("POST", "/cancel", None), ("POST", "/retry", None), ("PATCH", "", {"priority": "low"})],
)
def test_only_submitters_may_change_existing_jobs(
    harness: Any, method: str, action: str, body: Any
) -> None:
    for caller, status in (("viewer", 403), ("worker1", 403), (None, 401), ("submitter", 404)):
        answer = harness.call(caller, method, f"/v1/jobs/{MISSING}{action}", body)
        assert answer.status_code == status
    assert harness.call("submitter", method, f"/v1/jobs/nonsense{action}", body).status_code == 404


def test_a_refused_run_is_not_stored(ready_harness: Any) -> None:
    too_many = ready_harness.suite(rates=101, repeats=1000)
    unmet = ready_harness.suite(encoders=("libx264", "libx265"), more="when_unmet: refuse\n")
    for text in (too_many, unmet, ready_harness.suite(sha256="0" * 64)):
        answer = ready_harness.call("submitter", "POST", "/v1/runs", {"suite": text})
        assert answer.status_code == 422, answer.text
    assert ready_harness.ok("viewer", "GET", "/v1/runs")["items"] == []
    assert ready_harness.ok("viewer", "GET", "/v1/jobs")["items"] == []


def test_lists_of_runs_have_a_limit(ready_harness: Any) -> None:
    runs = [ready_harness.run()["id"] for _ in range(3)]
    page = ready_harness.ok("viewer", "GET", "/v1/runs?limit=2")
    assert [run["id"] for run in page["items"]] == [runs[2], runs[1]]
    rest = ready_harness.ok("viewer", "GET", "/v1/runs", params={"cursor": page["next_cursor"]})
    assert [run["id"] for run in rest["items"]] == [runs[0]]
    assert ready_harness.call("viewer", "GET", "/v1/runs?key=a%00b").status_code == 422


def test_a_job_whose_files_were_never_uploaded_is_refused(harness: Any) -> None:
    digest = "d" * 64
    ffmpeg = {"name": "patched", "sha256": digest}
    scenario = msgspec.to_builtins(factories.scenario())
    body = {"scenario": {**scenario, "ffmpeg": ffmpeg}}
    refused = harness.call("submitter", "POST", "/v1/jobs", body)
    assert refused.status_code == 422
    assert refused.json()["detail"] == "the master lacks sources; upload them first"
    assert set(refused.json()["errors"]) == {
        f"source clip (SHA-256 {harness.clip_sha256}) is not uploaded",
        f"FFmpeg patched (SHA-256 {digest}) is not uploaded",
    }
    harness.upload()
    refused = harness.call("submitter", "POST", "/v1/jobs", body)
    assert refused.json()["errors"] == [f"FFmpeg patched (SHA-256 {digest}) is not uploaded"]
    assert harness.every("/v1/jobs") == []
    assert harness.submit(scenario=scenario)["state"] == "queued"
