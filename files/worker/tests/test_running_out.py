"""What is said to have run out, by what was seen while the streams ran."""

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


class Busy(Nvml):
    """A GPU whose encoder is as busy as it is told."""

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


def test_cpus_that_were_not_busy_have_not_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # However busy this computer is.
    monkeypatch.setattr(bottleneck, "BUSY_RATIO", 1.01)
    shortage = BottleneckDetector(Busy(0.1))
    shortage.observe()
    time.sleep(0.1)
    shortage.finish()
    assert shortage.limit([_member()]) == "unknown: the CPUs were not busy"


def test_busy_cpus_are_what_ran_out() -> None:
    shortage = BottleneckDetector(Nvml())
    code = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    workers = [
        subprocess.Popen([sys.executable, "-c", code])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    for worker in workers:
        worker.wait()
    assert shortage.finish() >= bottleneck.BUSY_RATIO
    assert shortage.limit([_member(), _member()]) == "cpu"


def test_a_busy_encoder_of_a_gpu_is_what_ran_out_though_it_rested_at_the_end() -> None:
    shortage = BottleneckDetector(Busy(0.5, 0.98, 0.0))
    for _ in range(3):
        shortage.observe()
    shortage.finish()
    assert shortage.limit([_member()]) == "gpu_encoder"


@pytest.mark.parametrize(
    ("code", "log", "said"),
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
def test_a_stream_that_ended_says_why(code: int, log: str, said: str) -> None:
    assert BottleneckDetector(Busy()).limit([_member(), _member(code, log)]) == said
