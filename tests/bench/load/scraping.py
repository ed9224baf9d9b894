"""What the master says of itself in its metrics."""

import re

from bench import calls
from bench.wire import Caller, expect


async def metrics(caller: Caller, viewer: str) -> str:
    """Read the master's metrics."""
    request = calls.request("GET", "/metrics", viewer)
    return expect(await caller.call(request), 200).body.decode()


def value(text: str, sample: str, label: str = "") -> float:
    """Sum a sample over all its labels, or over those that contain `label`.

    Raises LookupError when there is none: a metric that was renamed must not read as nothing.
    """
    found = re.findall(rf"^{re.escape(sample)}(\{{[^}}]*\}})? (\S+)", text, re.MULTILINE)
    if not found:
        raise LookupError(f"the master's metrics have no {sample}")
    return sum(float(number) for labels, number in found if label in labels)
