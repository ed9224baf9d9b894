"""Starts masters that need not load their libraries, which takes two seconds of CPU time.

It loads them once, and each master is a fork of it. It reads an order from each line of standard
input and answers on standard output: `{"arguments": [...], "output": FILE, "errors": FILE}` starts
a master and is answered with the number of its process, `{"wait": NUMBER}` waits for its end and is
answered with its exit code.
"""

import json
import os
import sys
from typing import Any

from ffrtmp_master import cli


def main() -> None:
    """Carry out orders until there are none left; in the fork, be a master."""
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become_master(order)
                return
        print(answer, flush=True)  # noqa: T201 - the answer


def become_master(order: dict[str, Any]) -> None:
    """Let this process be as if it had been started as `ffrtmp-master`."""
    appending = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    files = [os.open(os.devnull, os.O_RDONLY)]
    files += [os.open(order[name], appending, 0o666) for name in ("output", "errors")]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["ffrtmp-master", *order["arguments"]]
    cli.main()


if __name__ == "__main__":
    main()
