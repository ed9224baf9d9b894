"""Starting, watching and stopping a child process, and measuring its cost.

Each process runs in a separate session, so that stopping it also stops the processes that it
started. If the agent is killed, systemd ends its FFmpeg with the rest of the service's control
group. A parent-death signal is not used: it would require code between fork and exec, which is
not safe in a program with threads.
"""

import os
import resource
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO

import msgspec

from ffrtmp_worker.ffmpeg.bounded_log import BoundedLog
from ffrtmp_worker.ffmpeg.line_buffer import LineBuffer
from ffrtmp_worker.ffmpeg.signal_escalation import SIGNALS, SignalEscalation, signal_group

_POLL_S = 0.1
_DRAIN_S = 2.0
_READ_BYTES = 65_536
# Index of the user time among the fields of /proc/PID/stat that follow the name of the program.
_USER_TICKS = 11
_INHERITED_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")


class StoppedBy(StrEnum):
    """The reason why the agent ended a process."""

    CALLER = "caller"
    DEADLINE = "deadline"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Exit code and cost of a process.

    If a signal ended the process, `exit_code` is the negative number of the signal, as in
    `subprocess`. `wall_s` is the time from the start to the end of the process, measured with a
    monotonic clock. CPU time, context switches and page faults are from wait4 and cover only this
    process.
    """

    exit_code: int
    stopped_by: StoppedBy | None
    wall_s: float
    user_s: float
    system_s: float
    max_rss_kib: int
    voluntary_switches: int
    involuntary_switches: int
    minor_faults: int
    major_faults: int
    log_tail: str


def run_process(
    argv: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    deadline_s: float,
    stop: Callable[[], bool],
    on_line: Callable[[str, float], None] | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    signals: Sequence[signal.Signals] = SIGNALS,
) -> Outcome:
    """Run a program until it ends, `stop()` is true or the deadline has passed.

    Args:
        argv: The command.
        cwd: The working directory.
        log: The file that receives the command as its first line, and then standard error. If
            the log is larger than half a megabyte, its middle is omitted.
        deadline_s: The time after which the process is stopped, in seconds since its start.
        stop: A function that returns true when the process is to stop.
        on_line: A function that receives each line of standard output, with the seconds since the
            start.
        stdin: The standard input; by default it is empty.
        signals: The signals that stop the process, in the order in which they are sent.

    Returns:
        The exit code and the cost of the process.

    Raises:
        OSError: The program cannot be started.
    """
    return _Child(argv, cwd, log, on_line, stdin).watch(deadline_s, stop, signals)


class _Child:
    """A running process and its two pipes."""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path,
        log: Path,
        on_line: Callable[[str, float], None] | None,
        stdin: IO[bytes] | int,
    ) -> None:
        self._log = BoundedLog(log)
        self._on_line = on_line
        self._lines = LineBuffer()
        self._peak_rss_kib = 0
        # A child inherits the peak memory of its parent; see `_max_rss_kib`.
        self._own_peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._started = time.monotonic()
        try:
            self._log.write(f"{shlex.join(argv)}\n".encode())
            self._process = start_process(argv, cwd, stdin)
        except OSError:
            self._log.close()
            raise
        self._pid = self._process.pid

    def watch(
        self, deadline_s: float, stop: Callable[[], bool], signals: Sequence[signal.Signals]
    ) -> Outcome:
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            raise RuntimeError("Popen created no pipes")
        pidfd = os.pidfd_open(self._pid)
        escalation = SignalEscalation(self._signal, signals)
        try:
            with selectors.DefaultSelector() as selector, stdout, stderr:
                selector.register(pidfd, selectors.EVENT_READ)
                selector.register(stdout, selectors.EVENT_READ, self._on_output)
                selector.register(stderr, selectors.EVENT_READ, self._log.write)
                stopped_by = self._until_exit(selector, pidfd, deadline_s, stop, escalation)
                wall_s = time.monotonic() - self._started
                # The leader is not reaped yet, so its process group ID cannot have been reused.
                self._signal(signal.SIGKILL)
                selector.unregister(pidfd)
                self._drain(selector)
        except BaseException:
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise
        finally:
            os.close(pidfd)
            self._log.close()
        _, status, usage = os.wait4(self._pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Outcome(
            exit_code=self._process.returncode,
            stopped_by=stopped_by,
            wall_s=wall_s,
            user_s=usage.ru_utime,
            system_s=usage.ru_stime,
            max_rss_kib=self._max_rss_kib(usage.ru_maxrss),
            voluntary_switches=usage.ru_nvcsw,
            involuntary_switches=usage.ru_nivcsw,
            minor_faults=usage.ru_minflt,
            major_faults=usage.ru_majflt,
            log_tail=self._log.last_lines(),
        )

    def _until_exit(
        self,
        selector: selectors.BaseSelector,
        pidfd: int,
        deadline_s: float,
        stop: Callable[[], bool],
        escalation: SignalEscalation,
    ) -> StoppedBy | None:
        stopped_by: StoppedBy | None = None
        while True:
            for key, _ in selector.select(_POLL_S):
                if key.fd == pidfd:
                    return stopped_by
                self._read(selector, key)
            self._record_memory()
            if stopped_by is None:
                if stop():
                    stopped_by = StoppedBy.CALLER
                elif time.monotonic() - self._started > deadline_s:
                    stopped_by = StoppedBy.DEADLINE
            if stopped_by is not None:
                escalation.proceed()

    def _drain(self, selector: selectors.BaseSelector) -> None:
        deadline = time.monotonic() + _DRAIN_S
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(_POLL_S):
                self._read(selector, key)

    def _read(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
        data = os.read(pipe.fileno(), _READ_BYTES)
        if data:
            key.data(data)
        else:
            selector.unregister(pipe)

    def _on_output(self, data: bytes) -> None:
        if self._on_line is not None:
            elapsed_s = time.monotonic() - self._started
            for line in self._lines.feed(data):
                self._on_line(line, elapsed_s)

    def _signal(self, number: signal.Signals) -> None:
        signal_group(self._pid, number)

    def _record_memory(self) -> None:
        self._peak_rss_kib = peak_rss_kib(self._pid) or self._peak_rss_kib

    def _max_rss_kib(self, from_wait4: int) -> int:
        """Return the peak memory of the child itself.

        The kernel initializes `ru_maxrss` of a child with the peak of its parent, so a value
        that does not exceed the agent's own peak may not be FFmpeg's. In this case, the last
        high-water mark from /proc is returned, which is at most a tenth of a second old.
        """
        if from_wait4 > self._own_peak_kib or not self._peak_rss_kib:
            return from_wait4
        return self._peak_rss_kib


def peak_rss_kib(pid: int) -> int | None:
    """Return the peak memory of a process so far, in KiB, or None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    lines = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(line.split()[1]) for line in lines), None)


def cpu_times_s(pid: int) -> tuple[float, float] | None:
    """Return the user and system time of a process so far, in seconds, or None if it was reaped.

    The resolution is that of the kernel's ticks, usually a hundredth of a second.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of the program, in parentheses, may contain spaces and parentheses itself.
    fields = status.rpartition(")")[2].split()
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    return int(fields[_USER_TICKS]) * tick_s, int(fields[_USER_TICKS + 1]) * tick_s


def start_process(
    argv: Sequence[str],
    cwd: Path,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    *,
    stderr: IO[bytes] | int = subprocess.PIPE,
    max_file_bytes: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a separate session, with pipes for standard output and standard error.

    Args:
        argv: The command.
        cwd: The working directory.
        stdin: The standard input; by default it is empty.
        stderr: The standard error; by default it is a pipe.
        max_file_bytes: The maximum size of each file that the program writes. The kernel enforces
            it: a write beyond it fails with EFBIG, and the program continues. Pipes have no limit.

    Returns:
        The running process.

    Raises:
        OSError: The program cannot be started.
    """
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        # Python ignores SIGXFSZ. A program with a limit inherits this, so that it is not killed.
        restore_signals=max_file_bytes is None,
        env=_environment(),
    )
    if max_file_bytes is not None:
        try:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
        except ProcessLookupError:
            pass
        except OSError:
            process.kill()
            process.wait()
            raise
    return process


def _environment() -> dict[str, str]:
    """Return only the variables that programs need, so that no others affect encodes."""
    inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    return inherited | {"LANG": "C.UTF-8", "AV_LOG_FORCE_NOCOLOR": "1"}
