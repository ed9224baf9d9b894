"""Metrics of the master."""

import re

from bench import api_requests
from bench.http_client import Caller, expect


async def metrics(caller: Caller, viewer: str) -> str:
    """Read the master's metrics."""
    request = api_requests.request("GET", "/metrics", viewer)
    return expect(await caller.call(request), 200).body.decode()


def value(text: str, sample: str, label: str = "") -> float:
    """Sum a sample over all its labels, or over those that contain `label`.

    Raises LookupError if there is none, because a renamed metric must not count as 0.
    """
    found = re.findall(rf"^{re.escape(sample)}(\{{[^}}]*\}})? (\S+)", text, re.MULTILINE)
    if not found:
        raise LookupError(f"the master's metrics have no {sample}")
    return sum(float(number) for labels, number in found if label in labels)
