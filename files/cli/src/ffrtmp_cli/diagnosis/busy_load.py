"""Load of a known number of CPUs."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_PROGRAM = """
import os, signal, sys
signal.alarm(int(sys.argv[2]))
os.sched_setaffinity(0, [int(sys.argv[1])])
while True: pass
"""

_LIMIT_S = 60
"""Time after which a process ends on its own, if this program was killed, in seconds."""


@contextmanager
def busy_cpus(cpus: Sequence[int]) -> Iterator[None]:
    """Keep each of `cpus` busy with one process until the context ends.

    Raises OSError if a process cannot be started.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for cpu in cpus:
            # -I and -S shorten the start, so that all CPUs are soon busy on a host with many.
            command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(cpu), str(_LIMIT_S)]
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
