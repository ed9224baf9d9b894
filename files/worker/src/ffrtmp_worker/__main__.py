"""Entry point of `python -m ffrtmp_worker`, the same program as `ffrtmp-agent`."""

import sys

from ffrtmp_worker.agent.cli import main

sys.exit(main())
