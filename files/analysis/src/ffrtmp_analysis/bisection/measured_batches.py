"""Measurements of a bisection: what to measure next, and what was measured."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from ffrtmp_analysis.comparison.compared_results import Condition, ScenarioResults
from ffrtmp_analysis.comparison.quantities import Quantity


class Stage(StrEnum):
    """A part of a bisection. The stages have separate measurements."""

    ENDS = "ends"
    """The last build is compared with the first."""
    STEP = "step"
    """A build in the middle is compared with the first."""
    CONFIRMATION = "confirmation"
    """A build is compared with its predecessor."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The change whose build is searched for.

    Attributes:
        source: The name of the clip.
        configuration: The rest of the scenario: encode and rate point.
        quantity: The quantity that became worse.
    """

    source: str
    configuration: str
    quantity: Quantity


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A request to measure builds, the jobs of which are to be neighbors in random order.

    Attributes:
        stage: The stage to which the measurements belong.
        before: The number of the build with which the other is compared, from 0.
        after: The number of the other build.
        builds: The numbers of the builds to measure: both, or only `after`.
        repeats: The number of repeats of each build.
        target: The scenario to measure; None for all.
    """

    stage: Stage
    before: int
    after: int
    builds: tuple[int, ...]
    repeats: int
    target: Target | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements that followed a request.

    Attributes:
        request: The request.
        results: The results of each build, by its number. The rounds of different batches differ.
    """

    request: Measure
    results: dict[int, tuple[ScenarioResults, ...]]


def count_repeats(batches: Iterable[Batch], stage: Stage, before: int, after: int) -> int:
    """Return the number of repeats that a comparison has."""
    return sum(batch.request.repeats for batch in _of_comparison(batches, stage, before, after))


def results_of(
    batches: Iterable[Batch], stage: Stage, before: int, after: int, build: int
) -> tuple[ScenarioResults, ...]:
    """Return the results of a build in a comparison, joined over its batches."""
    found = [
        results
        for batch in _of_comparison(batches, stage, before, after)
        for results in batch.results.get(build, ())
    ]
    return _joined(found)


def results_of_build(batches: Iterable[Batch], build: int) -> tuple[ScenarioResults, ...]:
    """Return the results of a build in all comparisons."""
    return _joined([results for batch in batches for results in batch.results.get(build, ())])


def _of_comparison(batches: Iterable[Batch], stage: Stage, before: int, after: int) -> list[Batch]:
    wanted = stage, before, after
    return [
        batch
        for batch in batches
        if (batch.request.stage, batch.request.before, batch.request.after) == wanted
    ]


def _joined(found: Sequence[ScenarioResults]) -> tuple[ScenarioResults, ...]:
    groups: dict[tuple[str, str, str], list[ScenarioResults]] = {}
    for results in found:
        groups.setdefault(results.key, []).append(results)
    return tuple(_join(group) for group in groups.values())


def _join(group: Sequence[ScenarioResults]) -> ScenarioResults:
    conditions: dict[Condition, tuple[str, ...]] = {}
    unavailable: dict[Quantity, str] = {}
    for results in group:
        unavailable.update(results.unavailable)
        for condition, values in results.conditions.items():
            known = conditions.get(condition, ())
            conditions[condition] = tuple(dict.fromkeys((*known, *values)))
    return msgspec.structs.replace(
        group[0],
        repeats=tuple(repeat for results in group for repeat in results.repeats),
        conditions=conditions,
        unavailable=unavailable,
    )
