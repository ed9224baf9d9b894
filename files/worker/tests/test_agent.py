"""Tests of a slot from the claim to the report, including stops, kills and lost connections."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import working_encoders
from ffrtmp_shared.agent_models import FailureReport, ResultReport
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.models import Job
from ffrtmp_shared.node_models import Registration
from ffrtmp_shared.scenario import (
    QUALITY_SETTINGS,
    RECEIVED_LIVE,
    VMAF_TARGET,
    LiveSettings,
    Scenario,
)
from ffrtmp_shared.stages import Stage
from ffrtmp_worker.activity import LastResult, SlotActivity
from ffrtmp_worker.agent.cli import main
from ffrtmp_worker.agent.service_status import report_status
from ffrtmp_worker.exporters.ffmpeg import listen
from polling import TIMEOUT_S, wait_until

from . import rtmp_server
from .api_server import ApiServer
from .conftest import claim_of, scenario

pytestmark = pytest.mark.slow

_ENCODERS = "encoders.json"


@pytest.fixture
def config(
    master: ApiServer, ffmpeg: Path, ffprobe: Path, encoders_file: Path, tmp_path: Path
) -> Path:
    """Return the settings file of an agent that uses the test's server as master."""
    (tmp_path / _ENCODERS).symlink_to(encoders_file)
    (tmp_path / "token").write_text("token\n", encoding="ascii")
    file = tmp_path / "agent.yml"
    file.write_text(
        f"""
master_url: {master.url}
token_file: {tmp_path}/token
ca_file: {master.ca_file}
node_name: worker-1
address: 127.0.0.1
exporters: {{cpu: 9510, ffmpeg: 9506}}
work_dir: {tmp_path}/work
spool_dir: {tmp_path}/spool
cache_dir: {tmp_path}/cache
ffmpeg: {ffmpeg}
ffprobe: {ffprobe}
quality_ffmpeg: {ffmpeg}
min_free_bytes: 1
log_level: info
""",
        encoding="utf-8",
    )
    return file


def _offer(
    master: ApiServer,
    source: Path,
    spec: Scenario,
    *,
    heartbeat_s: float = 0.2,
    is_exclusive: bool = True,
) -> Job:
    """Answer the next claim with a job that encodes `source`."""
    claim = claim_of(spec, heartbeat_s)
    claim = msgspec.structs.replace(
        claim, job=msgspec.structs.replace(claim.job, exclusive=is_exclusive)
    )
    master.sources[spec.source.sha256] = source.read_bytes()
    master.claims.append(claim)
    return claim.job


def _long_encode(source: Path) -> Scenario:
    """Return a scenario whose encode takes seconds, but starts and stops quickly on a busy host.

    With this tune, x264 has no frames in its lookahead that it must encode before its first output,
    and again at its end.
    """
    return scenario(source, preset="veryslow", threads=1, options={"tune": "zerolatency"})


@contextmanager
def _running(
    config: Path, *, proves: bool = False, slot: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an agent in a separate process; if `proves` is true, the agent tests its encoders."""
    argv = working_encoders.agent_command(config.with_name(_ENCODERS), config, slot)
    if proves:
        argv = [sys.executable, "-m", "ffrtmp_worker", "--config", str(config)]
        argv += ["run", "--slot", "1"]
    with subprocess.Popen(argv, env=os.environ) as agent:
        try:
            yield agent
        finally:
            agent.kill()


def _encodes(master: ApiServer) -> bool:
    """Return whether a heartbeat has reported encoded frames."""
    beats = master.heartbeats()
    return any(beat.progress.stage == "encode" and beat.progress.frames for beat in beats)


def _failures(master: ApiServer) -> list[FailureReport]:
    return [msgspec.json.decode(b, type=FailureReport) for b in master.bodies("/failure")]


def test_from_claim_to_report(master: ApiServer, config: Path, clip: Path, tmp_path: Path) -> None:
    job = _offer(master, clip, scenario(clip))
    master.refuse("/v1/nodes/worker-1", 503)
    with _running(config, proves=True) as agent:
        wait_until(lambda: master.bodies("/result"), "the result is reported")
        work = tmp_path / "work" / "slot-1"
        wait_until(lambda: not list(work.iterdir()), "the files of the attempt are removed")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(TIMEOUT_S) == 0
    registration = msgspec.json.decode(master.bodies("/worker-1")[-1], type=Registration)
    assert {"libsvtav1", "libx264", "libx265"} <= set(registration.encoders)
    assert registration.encoders == tuple(sorted(registration.encoders))
    report = msgspec.json.decode(master.bodies("/result")[0], type=ResultReport)
    assert (report.attempt, report.measurement.output.frames) == (3, 40)
    assert report.measurement.environment.node_use == "exclusive"
    assert [artifact.name for artifact in report.artifacts] == [
        "ffmpeg.log",
        "series.parquet",
        "scores.parquet",
    ]
    paths = [request.path for request in master.seen if str(job.id) in request.path]
    assert paths.index(f"/v1/jobs/{job.id}/artifacts/ffmpeg.log") < paths.index(
        f"/v1/jobs/{job.id}/result"
    )
    log = master.bodies("/ffmpeg.log")[0]
    assert log.splitlines()[0].decode().split()[-1] == "output.mp4"
    assert b"".join(master.bodies("/log")) == log
    last_log = max(n for n, request in enumerate(master.seen) if request.path.endswith("/log"))
    assert f"/v1/jobs/{job.id}/artifacts/ffmpeg.log" in {r.path for r in master.seen[last_log:]}
    beats = master.heartbeats()
    assert {beat.attempt for beat in beats} == {3}
    stages = [beat.progress.stage for beat in beats]
    order = [str(stage) for stage in Stage]
    assert sorted(stages, key=order.index) == stages


def test_the_result_of_a_repeat_has_all_artifacts(
    master: ApiServer, config: Path, clip: Path
) -> None:
    for _ in range(2):
        _offer(master, clip, scenario(clip))
    with _running(config):
        wait_until(lambda: len(master.bodies("/result")) == 2, "both results are reported")
    first, second = (
        msgspec.json.decode(body, type=ResultReport) for body in master.bodies("/result")
    )
    assert first.measurement.cached_values == ()
    assert second.measurement.cached_values == ("source", "output", "quality")
    assert second.measurement.quality == first.measurement.quality
    for name in ("series.parquet", "scores.parquet"):
        assert name in {artifact.name for artifact in second.artifacts}
    scores = [
        {a.name: a.sha256 for a in report.artifacts}["scores.parquet"] for report in (first, second)
    ]
    assert scores[0] == scores[1]


def test_another_stage_is_reported_at_once(
    master: ApiServer, config: Path, medium_clip: Path
) -> None:
    # The regular heartbeats are too rare to show that the encode has begun.
    _offer(master, medium_clip, _long_encode(medium_clip), heartbeat_s=3600)
    with _running(config):
        wait_until(
            lambda: "encode" in {beat.progress.stage for beat in master.heartbeats()},
            "the encode is reported",
        )


def test_the_agent_of_any_slot_reports_the_condition_of_the_host(
    master: ApiServer, config: Path
) -> None:
    with _running(config, slot=2):
        wait_until(
            lambda: len(master.bodies("/v1/nodes/worker-1/heartbeat")) >= 2,
            "the clock offset is reported",
        )


def test_the_exporter_receives_the_encode_and_the_last_quality(
    master: ApiServer, config: Path, clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "progress.sock"
    with config.open("a", encoding="utf-8") as file:
        file.write(f"progress_socket: {path}\n")
    _offer(master, clip, scenario(clip), is_exclusive=False)
    with listen(path) as opened, _running(config):
        opened.settimeout(TIMEOUT_S)
        activities = []
        while not activities or activities[-1].last is None or activities[-1].stage != "idle":
            activities.append(msgspec.json.decode(opened.recv(4096), type=SlotActivity))
    encoding = [activity for activity in activities if activity.stage == "encode"]
    assert encoding[-1].frames == 40
    assert encoding[-1].fps is not None
    assert encoding[-1].dropped_frames == 0
    assert {activity.last for activity in encoding} == {None}
    assert {a.fps for a in activities if a.stage != "encode"} == {None}
    report = msgspec.json.decode(master.bodies("/result")[0], type=ResultReport)
    assert report.measurement.environment.node_use == "shared"
    quality = report.measurement.quality
    assert isinstance(quality, QualityMeasurement)
    loops = {loop.name for activity in encoding for loop in activity.loops}
    assert loops == {"claims", "heartbeat", "log_upload", "host_samples", "node_heartbeat"}
    # The last result is sent again, so that an exporter that starts now receives it.
    assert msgspec.structs.replace(activities[-1], loops=()) == SlotActivity(
        slot=1,
        stage="idle",
        last=LastResult(kind="transcode", encoder="libx264", vmaf_mean=quality.vmaf_mean),
    )


def test_a_canceled_job_is_stopped_and_reported(
    master: ApiServer, config: Path, medium_clip: Path, tmp_path: Path
) -> None:
    _offer(master, medium_clip, _long_encode(medium_clip))
    with _running(config):
        wait_until(lambda: _encodes(master), "FFmpeg encodes")
        master.cancel = True
        canceled_at = time.monotonic()
        wait_until(lambda: _failures(master), "the failure is reported")
        assert time.monotonic() - canceled_at < 8
    failure = _failures(master)[0].failure
    assert failure.failure_class is FailureClass.STOPPED
    assert failure.message == "the job was canceled"
    assert _ffmpegs_below(tmp_path) == []


def test_sigterm_stops_and_reports_the_job(
    master: ApiServer, config: Path, medium_clip: Path, tmp_path: Path
) -> None:
    _offer(master, medium_clip, _long_encode(medium_clip))
    with _running(config) as agent:
        wait_until(lambda: _encodes(master), "FFmpeg encodes")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(TIMEOUT_S) == 0
    assert [f.failure.failure_class for f in _failures(master)] == [FailureClass.STOPPED]
    assert _ffmpegs_below(tmp_path) == []
    assert list((tmp_path / "work" / "slot-1").iterdir()) == []


def test_a_lost_lease_ends_the_work_without_a_report(
    master: ApiServer, config: Path, medium_clip: Path, clip: Path, tmp_path: Path
) -> None:
    job = _offer(master, medium_clip, _long_encode(medium_clip))
    with _running(config):
        wait_until(lambda: _encodes(master), "FFmpeg encodes")
        master.refuse(f"/{job.id}/heartbeat", 409)
        wait_until(lambda: not _ffmpegs_below(tmp_path), "FFmpeg has ended")
        other = _offer(master, clip, scenario(clip))
        wait_until(lambda: master.bodies("/result"), "the result is reported")
    assert _failures(master) == []
    assert any(str(other.id) in r.path for r in master.seen if r.path.endswith("/result"))


def test_failing_heartbeats_do_not_stop_the_attempt(
    master: ApiServer, config: Path, clip: Path
) -> None:
    _offer(master, clip, scenario(clip))
    master.refuse("/heartbeat", *[503] * 500)
    master.refuse("/result", 503, 503)
    with _running(config):
        wait_until(lambda: len(master.bodies("/result")) == 3, "the result is sent three times")
    first, *others = master.bodies("/result")
    assert others == [first, first]


def test_a_result_that_the_older_master_of_its_claim_refuses_is_kept(
    master: ApiServer, config: Path, clip: Path, tmp_path: Path
) -> None:
    """Check that a claim without `artifact_bytes_max` is recognized as one of an older master."""
    _offer(master, clip, scenario(clip))
    master.refuse("/result", 400)
    pending = tmp_path / "spool" / "slot-1" / "pending"
    with _running(config):
        wait_until(lambda: master.bodies("/result"), "the result is reported")
        # The next claim follows the delivery.
        claims = len(master.bodies("/v1/claims"))
        wait_until(lambda: len(master.bodies("/v1/claims")) > claims, "the agent claims again")
        assert len(list(pending.iterdir())) == 1
    assert _failures(master) == []


def test_files_of_a_killed_agent_are_removed_at_the_next_start(
    master: ApiServer, config: Path, medium_clip: Path, clip: Path, tmp_path: Path
) -> None:
    _offer(master, medium_clip, _long_encode(medium_clip))
    with _running(config) as agent:
        wait_until(lambda: _encodes(master), "FFmpeg encodes")
        agent.kill()
        agent.wait()
    # In a deployment, systemd would kill these processes, because they are in the control group.
    for pid in _ffmpegs_below(tmp_path):
        os.kill(pid, signal.SIGKILL)
    left = list((tmp_path / "work" / "slot-1").iterdir())
    assert len(left) == 1
    _offer(master, clip, scenario(clip))
    with _running(config):
        wait_until(lambda: master.bodies("/result"), "the result is reported")
    assert not left[0].exists()


def test_the_stored_stream_of_a_killed_agent_is_removed_at_the_next_start(
    master: ApiServer, config: Path, clip: Path, tmp_path: Path
) -> None:
    spec = msgspec.structs.replace(
        scenario(clip, gop_frames=25, threads=1),
        kind="live",
        live=LiveSettings(duration_s=60, measure_received=True),
    )
    (tmp_path / "nginx").mkdir()
    with rtmp_server.running(tmp_path / "nginx") as server:
        with config.open("a", encoding="utf-8") as settings:
            settings.write(f"rtmp_url: {server.url}\nenergy_idle_s: 0\n")
        _offer(master, clip, spec)
        work = tmp_path / "work" / "slot-1"
        with _running(config) as agent:
            wait_until(
                lambda: any(file.stat().st_size for file in work.glob("*/received-0.flv")),
                "the stream is being received",
            )
            agent.kill()
            agent.wait()
        registration = msgspec.json.decode(master.bodies("/worker-1")[-1], type=Registration)
        assert {"live", RECEIVED_LIVE, VMAF_TARGET, QUALITY_SETTINGS} <= set(registration.kinds)
        for pid in _ffmpegs_below(tmp_path):
            os.kill(pid, signal.SIGKILL)
        assert len(list(work.glob("*/received-0.flv"))) == 1
        with _running(config):
            wait_until(lambda: len(master.bodies("/worker-1")) > 1, "the agent registers again")
            assert list(work.iterdir()) == []


def test_a_missing_source_and_a_source_with_other_content_fail(
    master: ApiServer, config: Path, clip: Path
) -> None:
    spec = scenario(clip)
    _offer(master, clip, spec)
    _offer(master, clip, spec)
    master.sources[spec.source.sha256] = b"something else"
    master.refuse(f"/v1/sources/{spec.source.sha256}", 404)
    with _running(config):
        wait_until(lambda: len(_failures(master)) == 2, "both failures are reported")
    assert [report.failure.failure_class for report in _failures(master)] == [
        FailureClass.SOURCE_UNREADABLE,
        FailureClass.SOURCE_CHECKSUM,
    ]


def test_probe_and_check_config(config: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["--config", str(config), "check-config"]) == 0
    assert main(["--config", str(config), "probe"]) == 0
    found = msgspec.json.decode(capfdbinary.readouterr().out, type=Registration)
    assert found.name == "worker-1"
    assert "libx264" in found.encoders


def test_each_settings_error_is_a_single_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("min_free_bytes", "min_free"), "utf-8")
    assert main(["--config", str(config), "check-config"]) == 2
    config.write_text(text.replace("/token", "/no-token"), encoding="utf-8")
    assert main(["--config", str(config), "check-config"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "min_free" in lines[0]
    missing = config.with_name("no-token")
    assert f"token_file: the file {missing} does not exist" in lines[1]


def _ffmpegs_below(folder: Path) -> list[int]:
    """Return the processes whose working directory is that of an attempt below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                is_below = (entry / "cwd").readlink().is_relative_to(folder / "work")
            except OSError:
                continue
            if is_below:
                found.append(int(entry.name))
    return found


def test_a_permanent_refusal_ends_the_agent_with_its_reason(
    master: ApiServer, config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    master.refuse("/v1/nodes/worker-1", 422)
    with _running(config) as agent:
        assert agent.wait(TIMEOUT_S) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "ffrtmp-agent: refused"


def test_a_removed_node_registers_again(master: ApiServer, config: Path, clip: Path) -> None:
    master.refuse("/v1/claims", 409)
    _offer(master, clip, scenario(clip))
    with _running(config):
        wait_until(lambda: master.bodies("/result"), "the result is reported")
    assert len(master.bodies("/v1/nodes/worker-1")) == 2


def test_the_agent_tells_systemd_when_the_master_has_registered_it(
    master: ApiServer, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(TIMEOUT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with _running(config):
            status = systemd.recv(1024).decode()
    assert status == f"STATUS=registered with {master.url} as worker-1"
    assert master.bodies("/v1/nodes/worker-1")


def test_the_status_is_also_written_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FFRTMP_STATUS_FILE", str(tmp_path / "status"))
    report_status("registered with https://master:8080 as worker-1")
    assert (tmp_path / "status").read_text() == "registered with https://master:8080 as worker-1\n"
    monkeypatch.setenv("FFRTMP_STATUS_FILE", str(tmp_path / "absent/status"))
    report_status("registered")
    assert f"the status cannot be written to {tmp_path}/absent/status" in caplog.text


def test_a_missing_systemd_does_not_end_the_agent(
    master: ApiServer, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "absent"))
    with _running(config) as agent:
        wait_until(lambda: master.bodies("/v1/claims"), "the agent claims a job")
        assert agent.poll() is None


def test_a_token_with_a_line_feed_is_refused_without_being_printed(config: Path) -> None:
    config.with_name("token").write_text("m4rk3d-one\nm4rk3d-two\n", encoding="ascii")

    done = subprocess.run(
        working_encoders.agent_command(config.with_name(_ENCODERS), config),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "must contain a token in one line" in done.stderr
    assert "m4rk3d" not in done.stdout + done.stderr
