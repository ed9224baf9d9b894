"""Errors of FFmpeg processes that failed, with the class and the message of the failure."""

import errno
import os
import signal

from ffrtmp_shared.failure_classes import FailureClass

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg.process import Outcome, StoppedBy
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.kinds.steps.preparation import deadline_s
from ffrtmp_worker.kinds.steps.source_check import find_source_failure
from ffrtmp_worker.measure.cgroup import MemoryLimit
from ffrtmp_worker.measure.quality import Clip

_NO_SPACE = os.strerror(errno.ENOSPC)


def encode_failure(
    attempt: Attempt, outcome: Outcome, source: Clip, memory: MemoryLimit
) -> AttemptFailedError:
    """Return the error for a timed process that failed or was stopped.

    Args:
        attempt: The attempt that the process belongs to.
        outcome: The outcome of the process.
        source: The source that the process read.
        memory: The memory limit of the slot, created before the process was started.

    Returns:
        The error with the class of the failure.
    """
    tail = outcome.log_tail
    if outcome.stopped_by is StoppedBy.CALLER:
        return AttemptFailedError(FailureClass.STOPPED, attempt.stop_reason() or "stopped", tail)
    if outcome.stopped_by is StoppedBy.DEADLINE:
        return AttemptFailedError(
            FailureClass.DEADLINE_EXCEEDED,
            f"the encode was not done after {deadline_s(attempt, source.probe):.1f} s: it is "
            f"slower than {attempt.scenario.slowest_speed:g} times real time (slowest_speed)",
            tail,
        )
    if outcome.exit_code < 0:
        return killed(outcome.exit_code, tail, memory)
    if _NO_SPACE in tail:
        return AttemptFailedError(FailureClass.NODE, "the work folder's disk is full", tail)
    return find_source_failure(attempt, source) or AttemptFailedError(
        FailureClass.ENCODE_FAILED, f"FFmpeg failed with code {outcome.exit_code}", tail
    )


def killed(exit_code: int, log_tail: str, memory: MemoryLimit) -> AttemptFailedError:
    """Return the error for a process that was ended by a signal from outside the agent.

    Args:
        exit_code: The negative number of the signal.
        log_tail: The last lines of the process's log.
        memory: The memory limit of the slot, created before the process was started.

    Returns:
        The error with the class of the failure.
    """
    if exit_code == -signal.SIGKILL and memory.was_hit():
        # Another attempt would need as much memory, so only a larger limit helps.
        return AttemptFailedError(
            FailureClass.OUT_OF_MEMORY,
            f"FFmpeg was killed by the kernel at the slot's memory limit {memory}",
            log_tail,
        )
    name = signal.Signals(-exit_code).name
    return AttemptFailedError(
        FailureClass.KILLED, f"FFmpeg was ended by {name}, which the agent did not send", log_tail
    )
