"""Tests of the detection of the bottleneck while streams run."""

import os
import subprocess
import sys
import time

import pytest
from ffrtmp_worker.ffmpeg.child import ChildExit
from ffrtmp_worker.ffmpeg.process_group import Member
from ffrtmp_worker.kinds.steps import bottleneck
from ffrtmp_worker.kinds.steps.bottleneck import BottleneckDetector
from ffrtmp_worker.measure.nvml import Gpu, Gpus, Nvml


class BusyNvml(Nvml):
    """An NVML that reports one GPU, whose encoder has the given utilization in each reading."""

    def __init__(self, *ratios: float) -> None:
        self._ratios = iter(ratios)

    def read(self) -> Gpus:
        gpu = Gpu(
            index=0,
            uuid="GPU-0",
            name="",
            values={"encoder_ratio": next(self._ratios)},
            throttled={},
        )
        return Gpus(driver="", gpus=(gpu,), reason="")


def _member(exit_code: int | None = None, log_tail: str = "") -> Member:
    return Member(
        reports=(),
        ending=ChildExit(
            exit_code=exit_code,
            user_s=0.0,
            system_s=0.0,
            max_rss_kib=1,
            voluntary_switches=0,
            involuntary_switches=0,
            minor_faults=0,
            major_faults=0,
            log_tail=log_tail,
        ),
    )


def test_idle_cpus_are_not_the_bottleneck(monkeypatch: pytest.MonkeyPatch) -> None:
    # This makes the test independent of the load of this computer.
    monkeypatch.setattr(bottleneck, "BUSY_RATIO", 1.01)
    detector = BottleneckDetector(BusyNvml(0.1))
    detector.observe()
    time.sleep(0.1)
    detector.finish()
    assert detector.limit([_member()]) == "unknown: the CPUs were not busy"


@pytest.mark.slow
def test_busy_cpus_are_the_bottleneck() -> None:
    detector = BottleneckDetector(Nvml())
    code = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    workers = [
        subprocess.Popen([sys.executable, "-c", code])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    for worker in workers:
        worker.wait()
    assert detector.finish() >= bottleneck.BUSY_RATIO
    assert detector.limit([_member(), _member()]) == "cpu"


def test_a_busy_gpu_encoder_is_the_bottleneck_even_if_idle_at_the_end() -> None:
    detector = BottleneckDetector(BusyNvml(0.5, 0.98, 0.0))
    for _ in range(3):
        detector.observe()
    detector.finish()
    assert detector.limit([_member()]) == "gpu_encoder"


@pytest.mark.parametrize(
    ("code", "log", "limit"),
    [
        (
            -22,
            "[h264_nvenc] OpenEncodeSessionEx failed: incompatible client key (21)\nfailed\n",
            "gpu_sessions",
        ),
        (
            1,
            "[hevc_nvenc] OpenEncodeSessionEx failed: out of memory (10): (no details)\n",
            "gpu_sessions",
        ),
        (1, "one\nConversion failed!\n", "a stream ended with code 1: Conversion failed!"),
        (-9, "", "a stream ended with code -9: "),
    ],
)
def test_the_cause_of_an_ended_stream_is_reported(code: int, log: str, limit: str) -> None:
    assert BottleneckDetector(BusyNvml()).limit([_member(), _member(code, log)]) == limit
