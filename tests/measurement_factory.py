"""Factory of a complete measurement, for tests of the agent and of the master."""

import hashlib
from datetime import UTC, datetime

from ffrtmp_shared.host_environment import Environment, SlotEnvironment
from ffrtmp_shared.measurement import (
    EncodeMeasurement,
    EnergyMeasurement,
    Measurement,
    OutputMeasurement,
    QualityMeasurement,
    SourceMeasurement,
)
from ffrtmp_shared.provenance import FfmpegBuild, Provenance
from ffrtmp_shared.verdict import Verdict, VerdictReason, VerdictState

CLIP = b"not really a clip" * 1000
CLIP_SHA256 = hashlib.sha256(CLIP).hexdigest()

BUILD = FfmpegBuild(version="7.1", sha256="f" * 64)


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
            node_use="exclusive",
            slot=SlotEnvironment(
                cpus=4,
                quota_cpus=4.0,
                duration_s=2.0,
                busy_s=7.0,
                steal_ratio=0.0,
                cpu_pressure_ratio=0.2,
                memory_pressure_ratio=0.0,
                io_pressure_ratio=0.01,
            ),
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
