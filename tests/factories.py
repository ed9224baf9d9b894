"""Factories of test data: nodes, suites, scenarios, measurements and credentials."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from ffrtmp_master.store.credentials import Credential
from ffrtmp_shared.credentials import token_sha256
from ffrtmp_shared.measurement import (
    EncodeMeasurement,
    EnergyMeasurement,
    Environment,
    FfmpegBuild,
    Measurement,
    OutputMeasurement,
    Provenance,
    QualityMeasurement,
    SourceMeasurement,
    Verdict,
    VerdictReason,
    VerdictState,
)
from ffrtmp_shared.models import NodeFacts, Registration, Role
from ffrtmp_shared.scenario import (
    KINDS_OF_EVERY_NODE,
    EncodeSettings,
    RatePoint,
    Scenario,
    Source,
)

CLIP = b"not really a clip" * 1000
CLIP_SHA256 = hashlib.sha256(CLIP).hexdigest()

NODES = ("worker1", "worker2", "worker3")

HOLDERS = (
    Credential(name="viewer", role=Role.VIEWER, sha256=token_sha256("token-viewer")),
    Credential(name="submitter", role=Role.SUBMITTER, sha256=token_sha256("token-submitter")),
    Credential(name="admin", role=Role.ADMIN, sha256=token_sha256("token-admin")),
    *(
        Credential(name=name, role=Role.AGENT, sha256=token_sha256(f"token-{name}"), node=name)
        for name in NODES
    ),
)
"""The credentials of the tests; the token of each holder is `token-` followed by its name."""

BUILD = FfmpegBuild(version="7.1", sha256="f" * 64)


def registration(
    name: str,
    *encoders: str,
    labels: dict[str, str] | None = None,
    memory_bytes: int = 2**30,
    gpus: tuple[str, ...] = (),
    more_kinds: tuple[str, ...] = (),
    ffmpeg_under_test: bool = False,
) -> Registration:
    """Return the registration of a node with some encoders, by default only libx264."""
    return Registration(
        name=name,
        facts=NodeFacts(
            hostname=name,
            os="Debian 13",
            kernel="6.12",
            architecture="x86_64",
            cpu_model="cpu",
            cpu_count=2,
            memory_bytes=memory_bytes,
            gpus=gpus,
        ),
        encoders=encoders or ("libx264",),
        ffmpeg=BUILD,
        quality_ffmpeg=BUILD,
        agent_version="0.1.0",
        address="192.0.2.1",
        exporters={"cpu": 9510, "ffmpeg": 9506},
        labels=labels or {},
        kinds=(*KINDS_OF_EVERY_NODE, *more_kinds),
        ffmpeg_under_test=ffmpeg_under_test,
    )


def measurement() -> Measurement:
    """Return a complete measurement of an attempt."""
    return Measurement(
        encode=EncodeMeasurement(
            wall_s=2.0,
            user_s=3.0,
            system_s=0.5,
            max_rss_kib=1000,
            frames=100,
            fps=50.0,
            speed=2.0,
            first_frame_s=0.1,
            voluntary_switches=40,
            involuntary_switches=9,
            minor_faults=5000,
            major_faults=0,
            fps_p1=31.0,
            fps_p5=38.0,
        ),
        source=SourceMeasurement(
            codec="h264",
            width=1280,
            height=720,
            pixel_format="yuv420p",
            frame_rate="25/1",
            frames=100,
            duration_s=4.0,
            characterised_s=4.0,
            si_mean=50.0,
            si_max=52.0,
            ti_mean=8.0,
            ti_max=19.0,
        ),
        output=OutputMeasurement(
            codec="h264",
            width=1280,
            height=720,
            pixel_format="yuv420p",
            frame_rate="25/1",
            frames=100,
            duration_s=4.0,
            file_bytes=500_100,
            video_bytes=500_000,
            video_bitrate_kbps=1000.0,
            sha256="e" * 64,
            peak_bitrate_kbps=1800.0,
            bitrate_deviation_ratio=-0.02,
            profile="High",
            level=31,
            key_frames=2,
            gop_max_frames=50,
            reorder_frames=2,
            decoded_sha256="d" * 64,
        ),
        quality=QualityMeasurement(
            vmaf_model="vmaf_v0.6.1",
            vmaf_mean=91.5,
            vmaf_harmonic_mean=91.0,
            vmaf_min=80.0,
            vmaf_p1=81.0,
            vmaf_p5=85.0,
            vmaf_neg_mean=88.5,
            psnr_y_mean_db=38.25,
            ssim_libvmaf_mean=0.97,
            ssim_ffmpeg_mean=0.96,
            xpsnr_y_db=36.5,
            xpsnr_cb_db=39.5,
            xpsnr_cr_db=40.5,
            alignment_offset=0,
            pairs=100,
        ),
        environment=Environment(
            kernel="6.12",
            cpu_model="cpu",
            cpu_governor="performance",
            cpu_frequency_mhz=3000.0,
            load_before=0.1,
            steal_ratio=0.0,
            memory_available_bytes=2**29,
            cpu_count=4,
            cpu_busy_s=12.0,
            cpu_frequency_min_mhz=2900.0,
            temperature_start_celsius=41.0,
            temperature_max_celsius=63.0,
            throttle_events=2,
            throttled_periods=0,
            cpu_pressure_ratio=0.2,
            memory_pressure_ratio=0.0,
            io_pressure_ratio=0.01,
            turbo="on",
            smt="on",
            cpu_affinity="0,1,2,3",
            microcode="0x1",
            numa_nodes="0",
            host_tuning="on",
            source_cached_ratio=1.0,
            measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        ),
        provenance=Provenance(
            argv=("ffmpeg", "-i", "in"),
            ffmpeg=BUILD,
            quality_ffmpeg=BUILD,
            source_sha256=CLIP_SHA256,
            agent_version="0.1.0",
        ),
        energy=EnergyMeasurement(
            zones_j={"package-0": 60.0, "package-0-dram": 4.0},
            gross_j=64.0,
            duration_s=2.0,
            idle_w=10.0,
            net_j=44.0,
        ),
        verdict=Verdict(
            state=VerdictState.DEGRADED,
            reasons=(
                VerdictReason(code="throttled", detail="the processor was throttled 2 times"),
            ),
        ),
    )


def suite(
    *,
    encoders: tuple[str, ...] = ("libx264",),
    rates: int = 1,
    repeats: int = 1,
    placement: str = "each",
    sha256: str = CLIP_SHA256,
    more: str = "",
) -> str:
    """Return the text of a suite with one job for each encoder, rate and repeat."""
    encodes = "".join(f"  - {{name: {name}, encoder: {name}}}\n" for name in encoders)
    points = "".join(f"  - {{bitrate_kbps: {1000 + n}}}\n" for n in range(rates))
    return (
        "name: test\n"
        "sources:\n"
        f"  - {{name: clip, file: clip.mp4, sha256: {sha256}}}\n"
        f"encodes:\n{encodes}"
        f"rate_points:\n{points}"
        f"placement: {placement}\n"
        f"repeats: {repeats}\n"
        f"{more}"
    )


def scenario(encoder: str = "libx264", name: str = "clip/one") -> Scenario:
    """Return a scenario that transcodes the clip."""
    return Scenario(
        name=name,
        kind="transcode",
        source=Source(name="clip", sha256=CLIP_SHA256, file_name="clip.mp4"),
        encode=EncodeSettings(
            encoder=encoder,
            preset="10" if encoder == "libsvtav1" else "medium",
            rate=RatePoint(bitrate_kbps=1000),
        ),
        slowest_speed=0.1,
    )


def job(encoder: str = "libx264", **more: Any) -> dict[str, Any]:
    """Return the request body that submits a job without a run, whose source has a URL."""
    transcode = scenario(encoder)
    source = msgspec.structs.replace(transcode.source, url="https://clips.example/clip.mp4")
    return {"scenario": msgspec.structs.replace(transcode, source=source), **more}
