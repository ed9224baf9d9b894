"""The number of generated cases of a property-based test.

In the usual runs, there are few cases, which are always the same. `make test-deep` sets
FFRTMP_TEST_CASES and tries many random ones.
"""

import os

from hypothesis import HealthCheck, settings

_CASES = os.environ.get("FFRTMP_TEST_CASES")


def budget(few: int) -> settings:
    """Return settings for a test that tries `few` cases in the usual runs."""
    return settings(
        max_examples=int(_CASES) if _CASES else few,
        derandomize=not _CASES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
