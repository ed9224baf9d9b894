"""Entry point of the child processes: the master or the agent, which end with their parent.

`python -m ffrtmp_cli.local.child_program PARENT PROGRAM ARGUMENTS...` runs ffrtmp-master,
ffrtmp-agent or ffrtmp-energy-reader. If the process PARENT ends for any reason, the kernel sends
SIGTERM to this one.
"""

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_MODULES = {
    "master": "ffrtmp_master.cli",
    "agent": "ffrtmp_worker.agent.cli",
    "energy-reader": "ffrtmp_worker.energy.reader",
}


def main(arguments: Sequence[str]) -> int:
    """Run a program until it ends, and return its exit code.

    Args:
        arguments: The ID of the parent, the name of the program, and its arguments.
    """
    parent, program, *rest = arguments
    _end_with_parent(int(parent))
    sys.argv = [f"ffrtmp-{program}", *rest]
    # Only the packages of the program are imported.
    return importlib.import_module(_MODULES[program]).main() or 0


def _end_with_parent(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the parent-death signal cannot be set")
    # The parent may have ended before the call.
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
