"""Several FFmpeg processes at once, for a time, and how far each of them came."""

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
    """One process of the fleet: its progress, its cost and how it ended."""

    reports: tuple[ProgressReport, ...]
    ending: ChildExit


class GroupOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the processes, in the order of their argument lists.

    `wall_s` is from the start of the first until they were told to end.
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
) -> GroupOutcome:
    """Run all of `argvs` in `cwd` for `duration_s`, or until one ends or `stop()` is true.

    `on_report` gets each progress report with the place of its process. What the processes say
    on standard error is kept in `stream-N.log`, in bounds. All of them and all that they started
    are gone when this returns. Raises OSError when one cannot be started.
    """
    started = time.monotonic()
    children: list[Child] = []
    reports: list[ProgressReports] = []
    try:
        for place, argv in enumerate(argvs):
            reports.append(ProgressReports(partial(on_report, place)))
            log = cwd / f"stream-{place}.log"
            children.append(Child(argv, cwd, log, on_line=reports[-1].add_line))
        _watch(children, started + duration_s, stop)
        wall_s = time.monotonic() - started
        for child in children:
            child.note_end()
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
            Member(reports=tuple(heard.all), ending=ending)
            for heard, ending in zip(reports, endings, strict=True)
        ),
    )


def _watch(children: Sequence[Child], until: float, stop: Callable[[], bool]) -> None:
    with selectors.DefaultSelector() as selector:
        for child in children:
            child.register(selector)
        while time.monotonic() < until and not stop():
            for key, _ in selector.select(_POLL_S):
                child = key.data
                if not child.read(key.fd):
                    # The end of a pipe is the end of its process, before its time.
                    child.wait()
                    return
