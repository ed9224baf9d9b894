"""Child process with its pipes and its log, for a loop that watches several processes.

Processes are not watched by separate threads, which would use CPU time of the measured host.
"""

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from ffrtmp_worker.ffmpeg.bounded_log import BoundedLog
from ffrtmp_worker.ffmpeg.line_buffer import LineBuffer
from ffrtmp_worker.ffmpeg.process import cpu_times_s, peak_rss_kib, start_process
from ffrtmp_worker.ffmpeg.signal_escalation import STEP_S, SignalEscalation, signal_group

_LOG_BYTES = 16_384
_READ_BYTES = 65_536

OnLine = Callable[[str], None]


class ChildExit(msgspec.Struct, frozen=True, kw_only=True):
    """Exit code and cost of a process.

    `exit_code` is None if the process ran until the agent terminated it. In this case, CPU time is
    that up to its termination, without the frames that an encoder still finishes afterwards.
    Otherwise, it is from wait4, as are context switches and page faults. `max_rss_kib` is the peak
    memory of the process up to its termination, or None if the process had ended before.
    """

    exit_code: int | None
    user_s: float
    system_s: float
    max_rss_kib: int | None
    voluntary_switches: int
    involuntary_switches: int
    minor_faults: int
    major_faults: int
    log_tail: str


class Child:
    """A running process whose output is passed on line by line."""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path,
        log: Path,
        *,
        on_line: OnLine | None,
        on_log_line: OnLine | None = None,
        stdin: IO[bytes] | None = None,
        max_file_bytes: int | None = None,
    ) -> None:
        """Start the process.

        Args:
            argv: The command.
            cwd: The working directory.
            log: The file that receives standard error, up to a bounded size.
            on_line: A function that receives the lines of standard output. It is None if another
                child reads them; the `stdin` of that child is then the `stdout` of this one.
            on_log_line: A function that receives the lines of standard error.
            stdin: The standard input; by default it is empty.
            max_file_bytes: The maximum size of each file that the process writes, if it is limited.

        Raises:
            OSError: The process cannot be started.
        """
        self._log = BoundedLog(log, head_bytes=_LOG_BYTES, tail_bytes=_LOG_BYTES)
        self._log.write(f"{shlex.join(argv)}\n".encode())
        self._on_line, self._on_log_line = on_line, on_log_line
        self._lines, self._log_lines = LineBuffer(), LineBuffer()
        self._ended_early = False
        self._peak_rss_kib: int | None = None
        self._cpu_s: tuple[float, float] | None = None
        try:
            self._process = start_process(
                argv,
                cwd,
                subprocess.DEVNULL if stdin is None else stdin,
                max_file_bytes=max_file_bytes,
            )
        except OSError:
            self._log.close()
            raise
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            raise RuntimeError("Popen created no pipes")
        self.stdout, self._stderr = stdout, stderr

    def register(self, selector: selectors.BaseSelector) -> None:
        """Register the pipes with `selector`, with this child as the data of the keys."""
        if self._on_line is not None:
            selector.register(self.stdout, selectors.EVENT_READ, self)
        selector.register(self._stderr, selectors.EVENT_READ, self)

    def unregister(self, selector: selectors.BaseSelector) -> None:
        """Unregister the pipes from `selector`."""
        for pipe in (self.stdout, self._stderr):
            if pipe in selector.get_map():
                selector.unregister(pipe)

    def read(self, descriptor: int) -> bool:
        """Read available data from a pipe; return False at its end, when the process has ended."""
        data = os.read(descriptor, _READ_BYTES)
        self._process_data(descriptor, data)
        return bool(data)

    def _process_data(self, descriptor: int, data: bytes) -> None:
        if descriptor == self._stderr.fileno():
            self._log.write(data)
            lines, on_line = self._log_lines, self._on_log_line
        else:
            lines, on_line = self._lines, self._on_line
        if on_line is not None:
            for line in lines.feed(data):
                on_line(line)

    def note_end(self) -> None:
        """Record the state at the end of the measurement, before the process is terminated."""
        self._ended_early = not self.is_running()
        self._peak_rss_kib = peak_rss_kib(self._process.pid)
        if not self._ended_early:
            self._cpu_s = cpu_times_s(self._process.pid)

    def is_running(self) -> bool:
        """Return whether the process is running. Do not reap it, so that its PID is not reused."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is None

    def wait(self) -> None:
        """Wait until the process has ended, but at most two seconds."""
        deadline = time.monotonic() + STEP_S
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all processes that it started."""
        signal_group(self._process.pid, number)

    def discard(self) -> None:
        """Empty the pipes, so that a process being terminated does not block on writing."""
        for pipe in (self.stdout, self._stderr):
            if pipe.closed:
                continue
            os.set_blocking(pipe.fileno(), False)
            try:
                data = os.read(pipe.fileno(), _READ_BYTES)
            except BlockingIOError:
                continue
            if pipe is self._stderr:
                self._process_data(pipe.fileno(), data)

    def reap(self) -> ChildExit:
        """Kill the process if it still runs, reap it and return its exit code and cost."""
        self.signal(signal.SIGKILL)
        self.discard()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.stdout.close()
        self._stderr.close()
        self._log.close()
        user_s, system_s = self._cpu_s or (usage.ru_utime, usage.ru_stime)
        return ChildExit(
            exit_code=self._process.returncode if self._ended_early else None,
            user_s=user_s,
            system_s=system_s,
            max_rss_kib=self._peak_rss_kib,
            voluntary_switches=usage.ru_nvcsw,
            involuntary_switches=usage.ru_nivcsw,
            minor_faults=usage.ru_minflt,
            major_faults=usage.ru_majflt,
            log_tail=self._log.last_lines(),
        )


def terminate_all(children: Iterable[Child]) -> None:
    """Terminate all children with SIGINT, then SIGTERM, then SIGKILL."""
    children = list(children)

    def send(number: signal.Signals) -> None:
        for child in children:
            child.signal(number)

    escalation = SignalEscalation(send)
    escalation.proceed()
    while any(child.is_running() for child in children) and escalation.proceed():
        for child in children:
            child.discard()
        time.sleep(0.02)
