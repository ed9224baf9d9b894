"""`python -m ffrtmp_worker` is `ffrtmp-agent`."""

import sys

from ffrtmp_worker.agent.cli import main

sys.exit(main())
