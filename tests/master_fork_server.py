"""Program that forks masters, which saves each of them two seconds for the import of libraries.

The program imports the libraries once, and each master is a fork of the program. Each line of
standard input is a request, and its answer is one line of standard output. The request
`{"arguments": [...], "output": FILE, "errors": FILE}` starts a master, and the answer is its
process id. The request `{"wait": PID}` waits until a master has ended, and the answer is its exit
code.
"""

import json
import os
import sys
from typing import Any

from ffrtmp_master import cli


def main() -> None:
    """Answer requests until the end of standard input."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become_master(request)
                return
        print(answer, flush=True)  # noqa: T201 - the answer to the request


def become_master(request: dict[str, Any]) -> None:
    """Run `ffrtmp-master` in this process."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    files = [os.open(os.devnull, os.O_RDONLY)]
    files += [os.open(request[name], flags, 0o666) for name in ("output", "errors")]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["ffrtmp-master", *request["arguments"]]
    cli.main()


if __name__ == "__main__":
    main()
