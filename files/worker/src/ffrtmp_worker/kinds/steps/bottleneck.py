"""What ran out when a node did not hold so many streams, as far as it can be seen."""

import os
import signal
from collections.abc import Sequence

from ffrtmp_worker.ffmpeg.process_group import Member
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.cpu_times import CpuTimes
from ffrtmp_worker.measure.nvml import Nvml
from ffrtmp_worker.measure.throttling import throttle_counts

BUSY_RATIO = 0.9
"""CPUs, or an encoder of a GPU, that are busier than this are what ran out."""

# What FFmpeg says when NVIDIA's driver opens no further session of NVENC.
_NO_SESSION = "OpenEncodeSessionEx failed"


class BottleneckDetector:
    """Watches one window of streams, from its making until `what` is asked."""

    def __init__(self, nvml: Nvml) -> None:
        """Begin right before the streams are started; `nvml` tells of the host's GPUs."""
        self._nvml = nvml
        self._gpu_encoder_ratio = 0.0
        self._cpus = os.sched_getaffinity(0)
        self._memory = MemoryLimit()
        self._throttled = throttle_counts()
        self._cpu = CpuTimes.now(self._cpus)
        self._cpu_busy_ratio = 0.0

    def observe(self) -> None:
        """Look at the GPUs' encoders, now and then while the streams run."""
        for gpu in self._nvml.read().gpus:
            self._gpu_encoder_ratio = max(
                self._gpu_encoder_ratio, gpu.values.get("encoder_ratio", 0.0)
            )

    def finish(self) -> float:
        """End with the streams; return the busy part of the time of the CPUs that they may use."""
        spent = CpuTimes.now(self._cpus).since(self._cpu)
        self._cpu_busy_ratio = 1.0 - spent.idle_s / spent.total_s if spent.total_s > 0 else 0.0
        return self._cpu_busy_ratio

    def limit(self, members: Sequence[Member]) -> str:
        """Say what ran out for these streams, which did not all hold."""
        endings = (member.ending for member in members)
        ended = next((ending for ending in endings if ending.exit_code is not None), None)
        if ended is not None:
            return self._why_ended(ended.exit_code or 0, ended.log_tail)
        if self._gpu_encoder_ratio >= BUSY_RATIO:
            return "gpu_encoder"
        if self._cpu_busy_ratio < BUSY_RATIO:
            return "unknown: the CPUs were not busy"
        slowed = sum(throttle_counts().values()) - sum(self._throttled.values())
        return f"cpu, which was slowed down {slowed} times" if slowed > 0 else "cpu"

    def _why_ended(self, exit_code: int, log_tail: str) -> str:
        if _NO_SESSION in log_tail:
            return "gpu_sessions"
        if exit_code == -signal.SIGKILL and self._memory.was_hit():
            return f"memory: the slot's limit {self._memory}"
        last = " ".join(log_tail.splitlines()[-1:])
        return f"a stream ended with code {exit_code}: {last}"[:1024]
