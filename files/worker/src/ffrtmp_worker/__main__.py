"""`python -m ffrtmp_worker` is `ffrtmp-agent`."""

import sys

from ffrtmp_worker.cli import main

sys.exit(main())
