"""Version and revision of the running release."""

import platform
import re
import sys
from pathlib import Path

from prometheus_client.core import InfoMetricFamily, Metric

from ffrtmp_shared import __version__

UNKNOWN = "unknown"


def revision(prefix: str = sys.prefix) -> str:
    """Return the revision of the release, which is a hash of its files.

    The name of a deployed release's directory consists of its version and its revision.

    Args:
        prefix: The directory of the Python environment.

    Returns:
        The revision, or `unknown` if the environment does not belong to a deployed release.
    """
    named = re.compile(re.escape(__version__) + r"-([0-9a-f]{12})")
    found = (named.fullmatch(part) for part in reversed(Path(prefix).resolve().parts))
    return next((match[1] for match in found if match is not None), UNKNOWN)


def version_text(name: str) -> str:
    """Return the text that the option --version of the program `name` prints."""
    return f"{name} {__version__} (revision {revision()}, Python {platform.python_version()})"


def build_info(subject: str, documentation: str, **more: str) -> Metric:
    """Return the metric that describes the release of a program.

    Args:
        subject: The metric is `ffrtmp_SUBJECT_build_info`.
        documentation: The help text of the metric.
        **more: Additional labels.
    """
    labels = {"version": __version__, "revision": revision(), "python": platform.python_version()}
    return InfoMetricFamily(f"ffrtmp_{subject}_build", documentation, value=labels | more)
