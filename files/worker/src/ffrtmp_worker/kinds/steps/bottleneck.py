"""Detection of the resource that limits the number of real-time streams."""

import os
import signal
from collections.abc import Sequence

from ffrtmp_worker.ffmpeg.process_group import Member
from ffrtmp_worker.measure.cgroup import MemoryLimit, quota_cpus
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.nvml import Nvml
from ffrtmp_worker.measure.throttling import throttle_counts

BUSY_RATIO = 0.9
"""Minimum busy ratio at which the CPUs or the encoder of a GPU are considered the bottleneck."""

# FFmpeg logs this when NVIDIA's driver refuses to open another NVENC session.
_NO_SESSION = "OpenEncodeSessionEx failed"


class BottleneckDetector:
    """Watches the resources during one window of streams, from its creation until `finish`."""

    def __init__(self, nvml: Nvml) -> None:
        """Start the watch; create the object right before starting the streams."""
        self._nvml = nvml
        self._gpu_encoder_ratio = 0.0
        self._cpus = os.sched_getaffinity(0)
        self._memory = MemoryLimit()
        self._throttled = throttle_counts(cpus=self._cpus)
        self._cpu = CpuTimes.now(self._cpus)
        self._cpu_busy_ratio = 0.0

    def observe(self) -> None:
        """Read the load of the GPUs' encoders; call this repeatedly while the streams run."""
        for gpu in self._nvml.read().gpus:
            self._gpu_encoder_ratio = max(
                self._gpu_encoder_ratio, gpu.values.get("encoder_ratio", 0.0)
            )

    def finish(self) -> float:
        """End the watch; return the busy ratio of the CPUs that the streams may use.

        If the slot has a CPU quota, the ratio is that of the quota.
        """
        spent = CpuTimes.now(self._cpus).since(self._cpu)
        quota = quota_cpus()
        part = 1.0 if quota is None or not spent.cpus else min(quota / spent.cpus, 1.0)
        used_s, usable_s = spent.total_s - spent.idle_s, spent.total_s * part
        self._cpu_busy_ratio = min(used_s / usable_s, 1.0) if usable_s > 0 else 0.0
        return self._cpu_busy_ratio

    def limit(self, members: Sequence[Member]) -> str:
        """Return the bottleneck of these streams; at least one of them did not hold real time."""
        endings = (member.ending for member in members)
        ended = next((ending for ending in endings if ending.exit_code is not None), None)
        if ended is not None:
            return self._cause_of_exit(ended.exit_code or 0, ended.log_tail)
        if self._gpu_encoder_ratio >= BUSY_RATIO:
            return "gpu_encoder"
        if self._cpu_busy_ratio < BUSY_RATIO:
            return "unknown: the CPUs were not busy"
        slowed = sum(throttle_counts(cpus=self._cpus).values()) - sum(self._throttled.values())
        return f"cpu, which was slowed down {slowed} times" if slowed > 0 else "cpu"

    def _cause_of_exit(self, exit_code: int, log_tail: str) -> str:
        if _NO_SESSION in log_tail:
            return "gpu_sessions"
        if exit_code == -signal.SIGKILL and self._memory.was_hit():
            return f"memory: the slot's limit {self._memory}"
        last = " ".join(log_tail.splitlines()[-1:])
        return f"a stream ended with code {exit_code}: {last}"[:1024]
