"""Documents in the form in which the master's API returns them, made from the wire types."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from ffrtmp_shared.attempt_models import Artifact, Failure, Progress
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.host_environment import Environment
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.measurement import (
    EncodeMeasurement,
    Measurement,
    OutputMeasurement,
    QualityMeasurement,
)
from ffrtmp_shared.models import Job, Result, Run
from ffrtmp_shared.provenance import FfmpegBuild, Provenance
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.scenario import EncodeSettings, Scenario, Source
from ffrtmp_shared.states import JobState, RunState
from ffrtmp_shared.unavailable import Unavailable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BUILD = FfmpegBuild(version="7.1", sha256="b" * 64)


def measurement(
    speed: float = 2.0,
    vmaf: float | None = 90.0,
    user_s: float = 3.0,
    system_s: float = 0.5,
    neg: float | None = None,
) -> Measurement:
    """Return a measurement; if `vmaf` or `neg` is None, the quality or VMAF NEG is unavailable."""
    return Measurement(
        encode=EncodeMeasurement(
            wall_s=2.5,
            user_s=user_s,
            system_s=system_s,
            max_rss_kib=50_000,
            frames=150,
            fps=60.0,
            speed=speed,
            first_frame_s=0.1,
        ),
        output=OutputMeasurement(
            codec="h264",
            width=1280,
            height=720,
            pixel_format="yuv420p",
            frame_rate="30/1",
            frames=150,
            duration_s=5.0,
            file_bytes=510_000,
            video_bytes=500_000,
            video_bitrate_kbps=800.0,
            sha256="c" * 64,
        ),
        quality=Unavailable(reason="the quality FFmpeg has no libvmaf")
        if vmaf is None
        else QualityMeasurement(
            vmaf_model="vmaf_v0.6.1",
            vmaf_mean=vmaf,
            vmaf_harmonic_mean=vmaf - 1,
            vmaf_min=vmaf - 20,
            vmaf_p1=vmaf - 15,
            vmaf_p5=vmaf - 10,
            pairs=150,
            **({} if neg is None else {"vmaf_neg_mean": neg}),
        ),
        environment=Environment(
            kernel="6.1.0",
            cpu_model="A CPU",
            cpu_governor=Unavailable(reason="no cpufreq"),
            cpu_frequency_mhz=Unavailable(reason="no cpufreq"),
            load_before=0.1,
            steal_ratio=0.0,
            memory_available_bytes=2**30,
        ),
        provenance=Provenance(
            argv=("ffmpeg", "-i", "clip.mp4", "out.mp4"),
            ffmpeg=BUILD,
            quality_ffmpeg=BUILD,
            source_sha256="a" * 64,
            agent_version="0.1.0",
        ),
    )


def scenario(rate: RatePoint | None = None, encode: str = "x264") -> Scenario:
    """Return a scenario with the source `clip`."""
    rate = rate or RatePoint(bitrate_kbps=800)
    return Scenario(
        name=f"clip/{encode}/{rate.label}",
        kind="transcode",
        source=Source(name="clip", sha256="a" * 64, file_name="clip.mp4"),
        encode=EncodeSettings(encoder="libx264", preset="medium", rate=rate),
        slowest_speed=0.02,
    )


def result(
    node: str = "worker1",
    repeat: int = 1,
    rate: RatePoint | None = None,
    artifacts: tuple[Artifact, ...] = (),
    **measured: Any,
) -> dict[str, Any]:
    """Return a result as parsed JSON."""
    return plain(
        Result(
            id=new_id(),
            run_id=new_id(),
            job_id=new_id(),
            attempt=1,
            node=node,
            repeat=repeat,
            scenario=scenario(rate),
            measurement=measurement(**measured),
            artifacts=artifacts,
            stored_at=NOW,
        )
    )


def job(
    state: JobState, progress: Progress | None = None, failure: Failure | None = None
) -> dict[str, Any]:
    """Return a job of worker1 as parsed JSON."""
    return plain(
        Job(
            id=new_id(),
            run_id=new_id(),
            scenario=scenario(),
            repeat=1,
            position=0,
            state=state,
            node="worker1",
            leased_to=None if state is JobState.QUEUED and failure is None else "worker1",
            attempt=1,
            max_attempts=3,
            created_at=NOW,
            started_at=None,
            finished_at=None,
            lease_expires_at=None,
            not_before=None,
            progress=progress,
            failure=failure,
        )
    )


def failure(log_tail: str) -> Failure:
    """Return a failure after which the job is not retried."""
    return Failure(
        failure_class=FailureClass.ENCODE_FAILED, message="ffmpeg ended with 1", log_tail=log_tail
    )


def run(state: RunState, **counts: int) -> dict[str, Any]:
    """Return a run as parsed JSON."""
    return plain(
        Run(
            id=new_id(),
            suite_name="demo",
            state=state,
            seed=1,
            counts={name: counts.get(name, 0) for name in JobState},
            nodes=("worker1",),
            created_at=NOW,
            created_by="tester",
            finished_at=None,
            key=None,
        )
    )


def plain(document: msgspec.Struct) -> dict[str, Any]:
    """Encode a document as JSON and parse it."""
    parsed: dict[str, Any] = json.loads(msgspec.json.encode(document))
    return parsed
