"""Several FFmpeg processes at once, for a time, and how far each of them came.

One loop watches them all: a thread for each would take from the CPU that is measured.
"""

import os
import selectors
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ffrtmp_worker.ffmpeg.log import BoundedLog
from ffrtmp_worker.ffmpeg.process import peak_rss_kib, start
from ffrtmp_worker.ffmpeg.progress import ProgressParser

_POLL_S = 0.2
_PATIENCE_S = 2.0
_LOG_BYTES = 16_384
_READ_BYTES = 65_536
_ESCALATION = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Report(msgspec.Struct, frozen=True):
    """At `elapsed_s` seconds after its start a process had encoded so many frames."""

    elapsed_s: float
    frames: int


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the fleet: its progress, its cost and how it ended.

    `exit_code` is None for a process that ran until it was told to end. CPU time is from wait4.
    `max_rss_kib` is the peak of its memory when the time was up; None where it had ended before.
    """

    exit_code: int | None
    reports: tuple[Report, ...]
    user_s: float
    system_s: float
    max_rss_kib: int | None
    log_tail: str


class Sailing(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the processes, in the order of their argument lists.

    `wall_s` is from the start of the first until they were told to end.
    """

    wall_s: float
    members: tuple[Member, ...]


def run_for(
    argvs: Sequence[Sequence[str]],
    *,
    cwd: Path,
    duration_s: float,
    stop: Callable[[], bool],
    on_report: Callable[[int, Report], None],
) -> Sailing:
    """Run all of `argvs` in `cwd` for `duration_s`, or until one ends or `stop()` is true.

    `on_report` gets each progress report with the place of its process. What the processes say
    on standard error is kept in `stream-N.log`, in bounds. All of them and all that they started
    are gone when this returns. Raises OSError when one cannot be started.
    """
    started = time.monotonic()
    children: list[_Child] = []
    try:
        for place, argv in enumerate(argvs):
            children.append(_Child(argv, cwd, cwd / f"stream-{place}.log"))
        _watch(children, started + duration_s, stop, on_report)
        wall_s = time.monotonic() - started
        for child in children:
            child.note_end()
        _end(children)
    except BaseException:
        for child in children:
            child.signal(signal.SIGKILL)
        raise
    finally:
        members = tuple(child.reap() for child in children)
    return Sailing(wall_s=wall_s, members=members)


def _watch(
    children: Sequence["_Child"],
    until: float,
    stop: Callable[[], bool],
    on_report: Callable[[int, Report], None],
) -> None:
    with selectors.DefaultSelector() as selector:
        for place, child in enumerate(children):
            selector.register(child.stdout, selectors.EVENT_READ, (place, child, child.take_output))
            selector.register(child.stderr, selectors.EVENT_READ, (place, child, child.take_log))
        while time.monotonic() < until and not stop():
            for key, _ in selector.select(_POLL_S):
                place, child, take = key.data
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    # The end of a pipe is the end of its process, before its time.
                    child.wait(_PATIENCE_S)
                    return
                for report in take(data):
                    on_report(place, report)


def _end(children: Sequence["_Child"]) -> None:
    """Ask all to end, ever more firmly; a process that does not read its signals is killed."""
    for number in _ESCALATION:
        for child in children:
            child.signal(number)
        until = time.monotonic() + _PATIENCE_S
        while any(child.is_running() for child in children) and time.monotonic() < until:
            for child in children:
                child.discard()
            time.sleep(0.02)


class _Child:
    """One process, its pipes and what was heard of it."""

    def __init__(self, argv: Sequence[str], cwd: Path, log: Path) -> None:
        self._log = BoundedLog(log, head_bytes=_LOG_BYTES, tail_bytes=_LOG_BYTES)
        self._log.write(f"{shlex.join(argv)}\n".encode())
        self._parser = ProgressParser()
        self._line = b""
        self._reports: list[Report] = []
        self._ended_early = False
        self._peak_rss_kib: int | None = None
        self._started = time.monotonic()
        try:
            self._process = start(argv, cwd)
        except OSError:
            self._log.close()
            raise
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            raise RuntimeError("Popen made no pipes")
        self.stdout, self.stderr = stdout, stderr

    def take_output(self, data: bytes) -> list[Report]:
        """Take progress as FFmpeg writes it; returns the reports that it completes."""
        elapsed_s = time.monotonic() - self._started
        *lines, self._line = (self._line + data).split(b"\n")
        blocks = [self._parser.feed(line.decode(errors="replace")) for line in lines]
        found = [Report(elapsed_s, b.frames) for b in blocks if b is not None and b.frames]
        self._reports += found
        return found

    def take_log(self, data: bytes) -> list[Report]:
        """Keep what FFmpeg says; there is no report in it."""
        self._log.write(data)
        return []

    def discard(self) -> None:
        """Empty the pipes, so that no process waits for a reader when it is to end."""
        for pipe in (self.stdout, self.stderr):
            os.set_blocking(pipe.fileno(), False)
            try:
                data = os.read(pipe.fileno(), _READ_BYTES)
            except BlockingIOError:
                continue
            if pipe is self.stderr:
                self._log.write(data)

    def note_end(self) -> None:
        """Note how the process stands at the end of its time."""
        self._ended_early = not self.is_running()
        self._peak_rss_kib = peak_rss_kib(self._process.pid)

    def is_running(self) -> bool:
        """Whether the process has not ended; it stays unreaped, so its number stays its own."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is None

    def wait(self, patience_s: float) -> None:
        """Wait until the process has ended, for `patience_s` at most."""
        until = time.monotonic() + patience_s
        while self.is_running() and time.monotonic() < until:
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def reap(self) -> Member:
        """Collect the ended process."""
        self.signal(signal.SIGKILL)
        self.discard()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.stdout.close()
        self.stderr.close()
        self._log.close()
        return Member(
            exit_code=self._process.returncode if self._ended_early else None,
            reports=tuple(self._reports),
            user_s=usage.ru_utime,
            system_s=usage.ru_stime,
            max_rss_kib=self._peak_rss_kib,
            log_tail=self._log.last_lines(),
        )
