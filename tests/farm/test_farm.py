"""Tests of a master with agents: jobs that succeed, jobs that fail, and faults during jobs."""

import hashlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import result_collectors
import trustme
from ffrtmp_master.exporters.result_history import pages_of
from ffrtmp_master.exporters.scenario_labels import ScenarioLabels
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.models import Result, Run
from ffrtmp_shared.states import JobState, RunState
from ffrtmp_shared.unavailable import Unavailable
from polling import wait_until

from .conftest import Farm, descendants

pytestmark = pytest.mark.slow

ENCODES = [
    {"name": "x264", "encoder": "libx264", "preset": "veryfast"},
    {"name": "x265", "encoder": "libx265", "preset": "ultrafast"},
    {"name": "svtav1", "encoder": "libsvtav1", "preset": "12"},
]
RATES = [{"bitrate_kbps": 150}, {"bitrate_kbps": 400}]


def has_completed(farm: Farm, run: Run, jobs: int) -> Callable[[], bool]:
    def check() -> bool:
        with farm.client() as client:
            return client.run(run.id).counts[JobState.SUCCEEDED] >= jobs

    return check


def is_encoding(farm: Farm, run: Run) -> Callable[[], bool]:
    def check() -> bool:
        with farm.client() as client:
            return any(
                job.progress is not None and job.progress.stage == "encode" and job.progress.frames
                for job in client.jobs(run.id)
            )

    return check


def test_a_suite_is_measured(farm: Farm, make_clip: Callable[[int], Path]) -> None:
    farm.start_agents("worker1")
    run = farm.wait_for_end(farm.launch(make_clip(2), encodes=ENCODES, rate_points=RATES))
    assert run.state is RunState.SUCCEEDED
    with farm.client() as client:
        results = list(client.results(run.id))
    assert len(results) == 6
    for result in results:
        measurement = result.measurement
        quality = measurement.quality
        assert isinstance(quality, QualityMeasurement)
        assert 20 < quality.vmaf_mean <= 100
        assert quality.pairs == measurement.output.frames == 50
        assert measurement.encode.cpu_s > 0
        assert measurement.encode.speed > 0
        assert measurement.output.video_bitrate_kbps > 0
        assert measurement.provenance.argv[0].endswith("ffmpeg")
        assert [artifact.name for artifact in result.artifacts].count("ffmpeg.log") == 1
    _check_exporters(farm, results)


def test_repeats_of_a_requested_vmaf_use_the_setting_of_the_first_search(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    farm.start_agents("worker1")
    rates = [{"vmaf": 90, "vmaf_tolerance": 1}]
    run = farm.wait_for_end(farm.launch(make_clip(2), rate_points=rates, repeats=2))
    assert run.state is RunState.SUCCEEDED
    with farm.client() as client:
        results = sorted(client.results(run.id), key=lambda result: result.stored_at)
    searches = [result.measurement.rate_search for result in results]
    assert searches[0] is not None
    assert searches[1] == msgspec.structs.replace(searches[0], is_cached=True)
    assert not searches[0].is_cached
    for result in results:
        assert result.scenario.name == "clip/x264/vmaf90-tol1"
        assert isinstance(result.measurement.quality, QualityMeasurement)
        assert abs(result.measurement.quality.vmaf_mean - 90) <= 1
        assert ScenarioLabels.of_scenario(result).rate_point == "vmaf90-tol1"


def test_a_repeat_takes_the_requested_scores_from_the_cache(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    farm.start_agents("worker1")
    run = farm.wait_for_end(farm.launch(make_clip(2), repeats=2, quality={"neg": False}))
    assert run.state is RunState.SUCCEEDED
    with farm.client() as client:
        results = sorted(client.results(run.id), key=lambda result: result.stored_at)
    first, second = (result.measurement for result in results)
    assert first.cached_values == ()
    assert second.cached_values == ("source", "output", "quality")
    assert second.quality == first.quality
    assert isinstance(second.quality, QualityMeasurement)
    assert isinstance(second.quality.vmaf_neg_mean, Unavailable)
    assert "the suite switched it off" in second.quality.vmaf_neg_mean.reason


def test_a_vmaf_that_is_not_reached_fails_once_with_the_probes(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    farm.start_agents("worker1")
    # The output is so small that no setting preserves the details of the clip.
    small = {"name": "x264", "encoder": "libx264", "preset": "ultrafast", "width": 64, "height": 36}
    run = farm.launch(make_clip(2), encodes=[small], rate_points=[{"vmaf": 95}])
    assert farm.wait_for_end(run).state is RunState.FAILED
    with farm.client() as client:
        (job,) = client.jobs(run.id)
    assert job.attempt == 1
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.TARGET_NOT_REACHED
    assert "does not reach VMAF 95 +- 0.5: the best setting, 5, reaches only" in job.failure.message


def _check_exporters(farm: Farm, results: list[Result]) -> None:
    """Check that the exporters of results show real results with their values."""
    latest, quality = result_collectors.latest_results(), result_collectors.experience()
    with farm.client() as client:
        pages = pages_of(client, result_collectors.guard())
        latest.refresh(pages, client.precision)
        quality.refresh(pages, client.prices)
    shown = {
        (sample.name, ScenarioLabels(**{k: sample.labels[k] for k in ScenarioLabels._fields})): (
            sample.value
        )
        for metric in (*latest.collect(), *quality.collect())
        for sample in metric.samples
        if "scenario" in sample.labels
    }
    for result in results:
        labels, encode = ScenarioLabels.of_scenario(result), result.measurement.encode
        assert shown["ffrtmp_result_speed_ratio", labels] == encode.speed
        per_frame = shown["ffrtmp_result_cpu_seconds_per_frame", labels]
        assert per_frame == pytest.approx(encode.cpu_s / encode.frames)
        assert abs(shown["ffrtmp_result_timestamp_seconds", labels] - time.time()) < 300
        assert isinstance(result.measurement.quality, QualityMeasurement)
        assert shown["ffrtmp_qoe_vmaf_mean", labels] == result.measurement.quality.vmaf_mean
        assert shown["ffrtmp_qoe_vmaf_per_bit_per_second", labels] > 0
        assert shown["ffrtmp_qoe_vmaf_model_info", labels] == 1


def test_an_idle_agent_reports_the_clock_of_its_host(farm: Farm) -> None:
    """Agent and master have the same clock; the bounds of the reported offset must contain 0."""

    def has_reported() -> bool:
        with farm.client() as client:
            (node,) = client.nodes()
        return node.heartbeat is not None and node.heartbeat.clock is not None

    farm.start_agents("worker1")
    wait_until(has_reported, "the agent reports the offset of its clock")
    with farm.client() as client:
        (node,) = client.nodes()
    assert node.heartbeat is not None
    assert node.heartbeat.clock is not None
    assert abs(node.heartbeat.clock.offset_s) <= node.heartbeat.clock.uncertainty_s + 0.01
    assert node.heartbeat_at is not None


# Only make test-deep runs this test, because molecule/default always does the same on a deployed
# farm.
@pytest.mark.deep
@pytest.mark.parametrize("repeats", [1, 2])
def test_killing_master_and_agent_loses_or_duplicates_no_result(
    farm: Farm, make_clip: Callable[[int], Path], repeats: int
) -> None:
    jobs = 12 * repeats
    farm.start_agents("worker1", "worker2")
    run = farm.launch(make_clip(2), encodes=ENCODES, rate_points=RATES, repeats=repeats)
    assert sum(run.counts.values()) == jobs

    wait_until(has_completed(farm, run, 4), "some jobs are done")
    farm.master.end(signal.SIGKILL)
    time.sleep(1)
    farm.start_master()

    wait_until(has_completed(farm, run, 7), "more jobs are done")
    farm.agents["worker1"].end(signal.SIGKILL)
    time.sleep(1)
    farm.agents["worker1"].start()

    ended = farm.wait_for_end(run)
    assert ended.state is RunState.SUCCEEDED
    with farm.client() as client:
        results = list(client.results(run.id))
    assert len(results) == jobs
    assert len({result.job_id for result in results}) == jobs
    measured = {(result.node, result.scenario.name, result.repeat) for result in results}
    assert len(measured) == jobs


def test_a_result_finished_while_the_master_is_down_is_delivered(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    farm.start_agents("worker1")
    slow = [{"name": "x264", "encoder": "libx264", "preset": "veryslow", "threads": 1}]
    run = farm.launch(make_clip(6), encodes=slow)
    wait_until(is_encoding(farm, run), "FFmpeg encodes")
    farm.master.end(signal.SIGKILL)
    spool = farm.folder / "worker1/spool"
    wait_until(lambda: any(spool.rglob("*.json")), "the finished result is in the spool")
    farm.start_master()
    assert farm.wait_for_end(run).state is RunState.SUCCEEDED
    with farm.client() as client:
        (job,) = client.jobs(run.id)
        (result,) = client.results(run.id)
    assert job.attempt == result.attempt == 1


def test_a_job_that_is_being_encoded_can_be_canceled(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    farm.start_agents("worker1")
    slow = [{"name": "x264", "encoder": "libx264", "preset": "placebo", "threads": 1}]
    run = farm.launch(make_clip(15), encodes=slow, slowest_speed=0.01)
    wait_until(is_encoding(farm, run), "FFmpeg encodes")
    assert descendants(farm.agents["worker1"].pid)
    with farm.client() as client:
        client.cancel_run(run.id)
    assert farm.wait_for_end(run, timeout_s=15).state is RunState.CANCELED
    wait_until(lambda: not descendants(farm.agents["worker1"].pid), "FFmpeg has ended")


def test_a_stopped_agent_returns_its_lease(farm: Farm, make_clip: Callable[[int], Path]) -> None:
    farm.start_agents("worker1")
    slow = [{"name": "x264", "encoder": "libx264", "preset": "veryslow", "threads": 1}]
    run = farm.launch(make_clip(6), encodes=slow)
    wait_until(is_encoding(farm, run), "FFmpeg encodes")
    agent = farm.agents["worker1"]
    assert agent.end(signal.SIGTERM) == 0
    with farm.client() as client:
        (job,) = client.jobs(run.id)
    assert job.state is JobState.QUEUED
    agent.start()
    assert farm.wait_for_end(run).state is RunState.SUCCEEDED


def test_a_corrupt_clip_fails_the_job_without_a_retry(farm: Farm, tmp_path: Path) -> None:
    farm.start_agents("worker1")
    clip = tmp_path / "corrupt.mp4"
    clip.write_bytes(b"not a video file" * 4096)
    run = farm.wait_for_end(farm.launch(clip))
    assert run.state is RunState.FAILED
    with farm.client() as client:
        (job,) = client.jobs(run.id)
    assert job.attempt == 1
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.SOURCE_UNREADABLE
    assert "Invalid data found" in job.failure.message + job.failure.log_tail


def test_a_source_with_another_checksum_fails_the_job_without_a_retry(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    clip = make_clip(2)
    agent = farm.agent("worker1")
    agent.start()
    with farm.client() as client:
        wait_until(lambda: bool(client.nodes()), "the agent has registered")
        # The agent is stopped so that it does not fetch the source before it is damaged.
        agent.end(signal.SIGTERM)
    run = farm.launch(clip)
    (stored,) = [path for path in (farm.folder / "data/sources").rglob("*") if path.is_file()]
    damaged = bytearray(stored.read_bytes())
    damaged[1000] ^= 0xFF
    stored.write_bytes(damaged)
    agent.start()
    assert farm.wait_for_end(run).state is RunState.FAILED
    with farm.client() as client:
        (job,) = client.jobs(run.id)
    assert job.attempt == 1
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.SOURCE_CHECKSUM


def test_two_ffmpegs_are_compared_on_nodes_that_permit_it(
    farm: Farm, make_clip: Callable[[int], Path]
) -> None:
    system = Path("/usr/bin/ffmpeg")
    digest = hashlib.sha256(system.read_bytes()).hexdigest()
    with farm.client() as client:
        client.upload_source(digest, system)
    farm.start_agents("worker1")
    run = farm.launch(
        make_clip(2),
        ffmpegs=[{"name": "ours"}, {"name": "debian", "file": "ffmpeg", "sha256": digest}],
        repeats=2,
        when_unmet="wait",
    )
    wait_until(has_completed(farm, run, 2), "the node has completed its permitted jobs")
    with farm.client() as client:
        left = [job for job in client.jobs(run.id) if job.state is JobState.QUEUED]
        assert [job.scenario.name for job in left] == ["clip/x264/200k/debian"] * 2
        assert "worker1 lacks permission to run a suite's FFmpeg" in str(left[0].waiting)
    farm.agent("worker2", allow_ffmpeg_under_test=True).start()
    assert farm.wait_for_end(run).state is RunState.SUCCEEDED
    with farm.client() as client:
        results = list(client.results(run.id))
    ran = {
        (result.node, result.scenario.name, result.measurement.provenance.ffmpeg.sha256 == digest)
        for result in results
    }
    assert ran == {
        ("worker1", "clip/x264/200k/ours", False),
        ("worker2", "clip/x264/200k/debian", True),
    }
    quality_builds = {result.measurement.provenance.quality_ffmpeg.sha256 for result in results}
    assert len(quality_builds) == 1
    assert all(isinstance(result.measurement.quality, QualityMeasurement) for result in results)


def test_an_agent_refuses_a_master_that_is_not_from_the_ca(farm: Farm) -> None:
    trustme.CA().cert_pem.write_to_path(farm.folder / "other-ca.pem")
    agent = farm.agent("worker1", ca_file=str(farm.folder / "other-ca.pem"))
    agent.start()
    message = "its certificate is not from the farm's CA"
    wait_until(lambda: message in agent.log.read_text(), "the agent logs the reason")
    with farm.client() as client:
        assert client.nodes() == ()


@pytest.mark.parametrize("missing", ["ffmpeg", "quality_ffmpeg"])
def test_an_agent_without_ffmpeg_exits_with_a_message(farm: Farm, missing: str) -> None:
    agent = farm.agent("worker1", **{missing: str(farm.folder / "nothing")})
    agent.start()
    wait_until(lambda: not agent.is_running, "the agent exits")
    assert str(farm.folder / "nothing") in agent.log.read_text()
