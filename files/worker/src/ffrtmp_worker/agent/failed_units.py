"""Failed units of systemd on this host, as far as an unprivileged user can read them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ffrtmp_shared import value_rules
from ffrtmp_shared.node_models import MAX_UNITS

SYSTEMCTL = Path("/usr/bin/systemctl")

_TIMEOUT_S = 5.0
# With more failed units, their names are not read, so that the output stays small.
_NAMES_READ_MAX = 1000
_UNIT_NAME = re.compile(value_rules.UNIT_NAME)
_LIST = ("list-units", "--state=failed", "--plain", "--full", "--no-legend", "--no-pager")


@dataclass(frozen=True)
class FailedUnits:
    """The number of failed units, and the names of at most MAX_UNITS of them."""

    count: int
    names: tuple[str, ...]


def read_failed_units(systemctl: Path = SYSTEMCTL) -> FailedUnits | None:
    """Return the failed units of this host, or None if systemd cannot be queried.

    Args:
        systemctl: The program that queries systemd.
    """
    counted = _output_of(systemctl, "show", "--property=NFailedUnits", "--value")
    if counted is None or not counted.strip().isdecimal():
        return None
    count = int(counted)
    if not 0 < count <= _NAMES_READ_MAX:
        return FailedUnits(count, ())
    listed = _output_of(systemctl, *_LIST) or ""
    names = [line.split(maxsplit=1)[0] for line in listed.splitlines() if line.strip()]
    return FailedUnits(count, tuple(name for name in names if _UNIT_NAME.search(name))[:MAX_UNITS])


def _output_of(systemctl: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            [systemctl, *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        # Without systemd or its bus, for example in a container, there is nothing to report.
        return None
    return done.stdout
