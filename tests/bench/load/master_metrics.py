"""Reading of the master's metrics."""

import re

from bench import api_requests
from bench.http_client import Caller, expect


async def metrics(caller: Caller, viewer: str) -> str:
    """Return the master's metrics as text."""
    request = api_requests.request("GET", "/metrics", viewer)
    return expect(await caller.call(request), 200).body.decode()


def value(text: str, sample: str, label: str = "") -> float:
    """Return the sum of all samples with a name whose labels contain `label`.

    Raises LookupError if there is no such sample, because a renamed metric must not count as 0.
    """
    found = re.findall(rf"^{re.escape(sample)}(\{{[^}}]*\}})? (\S+)", text, re.MULTILINE)
    if not found:
        raise LookupError(f"the master's metrics have no {sample}")
    return sum(float(number) for labels, number in found if label in labels)
