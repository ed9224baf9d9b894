"""Work on runs with adaptive repeats, with speeds that are steady or noisy."""

import random
from itertools import count
from typing import Any

import msgspec


def measured(harness: Any, speed: float, verdict: str = "valid") -> Any:
    document = msgspec.to_builtins(harness.measurement())
    document["encode"]["speed"] = speed
    document["verdict"] = {"state": verdict, "reasons": []}
    return document


def work(
    harness: Any, speeds: dict[str, Any], node: str = "worker1", verdict: str = "valid"
) -> list[str]:
    """Complete all jobs that a node can claim, and return the names of their scenarios in order."""
    done = []
    while (claim := harness.claim(node)) is not None:
        name = claim["job"]["scenario"]["name"]
        speed = next(speeds[name]) if name in speeds else 1.0
        # The duration of a job must not be zero.
        harness.clock.advance(10)
        assert harness.heartbeat(claim, node).is_success
        harness.clock.advance(10)
        assert harness.result(claim, node, measurement=measured(harness, speed, verdict)).is_success
        done.append(name)
    return done


def steady(value: float = 2.0) -> Any:
    while True:
        yield value


def noisy(first: int = 1) -> Any:
    """Yield two speeds alternately. Their interval is wider than 5 %, but not out of reach."""
    for number in count(first):
        yield (1.88, 2.12)[number % 2]


def very_noisy() -> Any:
    chance = random.Random(1)  # noqa: S311 - not a secret
    while True:
        yield chance.uniform(1.0, 3.0)


def rounds(harness: Any, speeds: dict[str, Any]) -> list[list[str]]:
    """Complete all jobs and run maintenance, repeatedly until maintenance does not add jobs.

    Returns the names of the completed scenarios for each round.
    """
    found = []
    while done := work(harness, speeds):
        found.append(done)
        harness.run_maintenance()
    return found
