"""Parallel execution of several FFmpeg processes for a given time, with the progress of each."""

import selectors
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg.child import Child, ChildExit, terminate_all
from ffrtmp_worker.ffmpeg.progress import ProgressReport, ProgressReports

_POLL_S = 0.2


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the group: its progress, its exit code and its cost."""

    reports: tuple[ProgressReport, ...]
    ending: ChildExit


class GroupOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of the processes, in the order of their argument lists.

    `wall_s` is the time from the start of the first process until all are terminated.
    """

    wall_s: float
    members: tuple[Member, ...]


def run_group(
    argvs: Sequence[Sequence[str]],
    *,
    cwd: Path,
    duration_s: float,
    stop: Callable[[], bool],
    on_report: Callable[[int, ProgressReport], None],
    on_end: Callable[[], None] = lambda: None,
) -> GroupOutcome:
    """Run all commands in parallel until the time is over, one of them ends, or `stop()` is true.

    When this function returns, all processes and the processes that they started have ended.

    Args:
        argvs: The commands.
        cwd: The working directory. Standard error goes to `stream-N.log` in it, up to a bounded
            size.
        duration_s: The time to run, in seconds.
        stop: A function that returns true when the processes are to stop.
        on_report: A function that receives the index of a process and each of its reports.
        on_end: A function that is called at the end of the time, before the processes are
            terminated.

    Returns:
        The reports, exit codes and costs of the processes.

    Raises:
        OSError: A process cannot be started.
    """
    started = time.monotonic()
    children: list[Child] = []
    reports: list[ProgressReports] = []
    try:
        for index, argv in enumerate(argvs):
            reports.append(ProgressReports(partial(on_report, index)))
            log = cwd / f"stream-{index}.log"
            children.append(Child(argv, cwd, log, on_line=reports[-1].add_line))
        _watch(children, started + duration_s, stop)
        wall_s = time.monotonic() - started
        for child in children:
            child.note_end()
        on_end()
        terminate_all(children)
    except BaseException:
        for child in children:
            child.signal(signal.SIGKILL)
        raise
    finally:
        endings = [child.reap() for child in children]
    return GroupOutcome(
        wall_s=wall_s,
        members=tuple(
            Member(reports=tuple(received.all), ending=ending)
            for received, ending in zip(reports, endings, strict=True)
        ),
    )


def _watch(children: Sequence[Child], end: float, stop: Callable[[], bool]) -> None:
    with selectors.DefaultSelector() as selector:
        for child in children:
            child.register(selector)
        while time.monotonic() < end and not stop():
            for key, _ in selector.select(_POLL_S):
                child = key.data
                if not child.read(key.fd):
                    # The end of a pipe means that its process has ended early.
                    child.wait()
                    return
