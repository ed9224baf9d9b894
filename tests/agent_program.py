"""The agent, with encoders that were tested before.

Testing them takes two seconds of CPU time for every agent that starts. Run as
`python tests/agent_program.py FILE ARGUMENTS...`: FILE comes from `working_encoders.file_for`,
ARGUMENTS are those of ffrtmp-agent.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ffrtmp_worker.agent import capabilities, cli


def main(arguments: Sequence[str]) -> int:
    """Run the agent; returns its exit code."""
    encoders = frozenset(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    capabilities.proved_encoders = lambda _ffmpeg: encoders
    return cli.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
