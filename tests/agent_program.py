"""Program that runs the agent with a list of encoders that have already been tested.

An agent that tests its encoders and quality metrics at its start uses four seconds of CPU time. The
command is `python tests/agent_program.py FILE ARGUMENTS...`, where FILE is a file that
`working_encoders.file_for` returns and ARGUMENTS are arguments of ffrtmp-agent.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ffrtmp_worker.agent import capabilities, cli


def main(arguments: Sequence[str]) -> int:
    """Run the agent and return its exit code."""
    encoders = frozenset(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    capabilities.proved_encoders = lambda _ffmpeg: encoders
    # The metrics are calibrated again for the size of each job.
    capabilities.check_metrics = lambda _found, _stopped: None
    return cli.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
