"""Sides of a comparison, from the results of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ffrtmp_analysis.comparison.compared_results import (
    ComparedSide,
    Condition,
    ControlEncodes,
    Repeat,
    ScenarioResults,
)
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_client.api import Json
from ffrtmp_client.medians import encode_name, values_with_renditions
from ffrtmp_client.result_files import RunResults
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_cli.comparison.compared_values import (
    conditions_of,
    factors_of,
    unavailable_values,
    values_of,
)


class Criterion(StrEnum):
    """A difference between the two sides of one run. The values are the names in messages."""

    FFMPEG = "FFmpeg"
    NODE = "node"
    ENCODE = "encode"


@dataclass
class _Group:
    """The results of a scenario on a node while they are collected."""

    repeats: list[Repeat] = field(default_factory=list)
    conditions: dict[Condition, set[str]] = field(default_factory=lambda: defaultdict(set))
    unavailable: dict[Quantity, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Labels:
    """Rules for the names of results. Results of both sides with the same names are compared.

    Attributes:
        node: The name of all nodes; None if each node has its own.
        has_builds: Whether the name of the FFmpeg build is a part of the configuration.
        has_encode: Whether the name of the encode is a part of the configuration.
    """

    node: str | None = None
    has_builds: bool = False
    has_encode: bool = True


def criterion_value(result: Json, criterion: Criterion) -> str:
    """Return the name that a result has by a criterion.

    The name of an FFmpeg build is that of the suite or, without one, the version.
    """
    if criterion is Criterion.NODE:
        return str(result["node"])
    if criterion is Criterion.ENCODE:
        return encode_name(result["scenario"]["name"])
    build = result["scenario"].get("ffmpeg") or {}
    return str(build.get("name") or result["measurement"]["provenance"]["ffmpeg"]["version"])


def sides_of_runs(
    a: RunResults, b: RunResults, names: tuple[str, str]
) -> tuple[ComparedSide, ComparedSide]:
    """Return the sides of a comparison of two runs.

    Results are paired only if they are of the same run and repeat.

    Args:
        a: The first run.
        b: The second run.
        names: The names of the sides.
    """
    labels = _Labels(has_builds=any(_has_builds(read.results) for read in (a, b)))
    first, second = (
        ComparedSide(
            name=name,
            scenarios=_scenarios(read, read.results, labels),
            controls=_controls(read),
        )
        for read, name in zip((a, b), names, strict=True)
    )
    return first, second


def sides_of_one_run(
    read: RunResults, criterion: Criterion, names: tuple[str, str]
) -> tuple[ComparedSide, ComparedSide]:
    """Return the sides of a comparison within one run, which are paired by repeat.

    They have no control encodes, because builds and encodes share those of their node, and those
    of different nodes are expected to differ.

    Args:
        read: The run.
        criterion: What distinguishes the sides.
        names: The names of the sides by the criterion.
    """
    labels = _Labels(
        node=" and ".join(names) if criterion is Criterion.NODE else None,
        has_builds=criterion is not Criterion.FFMPEG and _has_builds(read.results),
        has_encode=criterion is not Criterion.ENCODE,
    )
    # Nodes are compared in order to learn how much faster a CPU is.
    ignored = frozenset({Condition.CPU_MODEL} if criterion is Criterion.NODE else ())
    first, second = (
        ComparedSide(
            name=name,
            scenarios=_scenarios(read, results_of(read, criterion, name), labels, ignored),
        )
        for name in names
    )
    return first, second


def results_of(read: RunResults, criterion: Criterion, name: str) -> list[Json]:
    """Return the results of a run that have a name by a criterion."""
    return [result for result in read.results if criterion_value(result, criterion) == name]


def _has_builds(results: Iterable[Json]) -> bool:
    return len({criterion_value(result, Criterion.FFMPEG) for result in results}) > 1


def _scenarios(
    read: RunResults,
    results: Sequence[Json],
    labels: _Labels,
    ignored: frozenset[Condition] = frozenset(),
) -> tuple[ScenarioResults, ...]:
    groups: dict[tuple[str, str, str], _Group] = defaultdict(_Group)
    # The order decides which results of the same round are paired.
    for result in sorted(results, key=lambda result: (result["repeat"], str(result["id"]))):
        reasons = unavailable_values(result)
        for row in values_with_renditions(result, read.exported.get(result["id"])):
            group = groups[_key(result, row, labels)]
            group.repeats.append(_repeat(read, result, row))
            group.unavailable |= reasons
            for condition, value in conditions_of(result, row).items():
                if condition not in ignored:
                    group.conditions[condition].add(value)
    return tuple(
        ScenarioResults(
            node=node,
            source=source,
            configuration=configuration,
            repeats=tuple(group.repeats),
            conditions={name: tuple(sorted(found)) for name, found in group.conditions.items()},
            unavailable=group.unavailable,
        )
        for (node, source, configuration), group in groups.items()
    )


def _key(result: Json, row: Mapping[str, Any], labels: _Labels) -> tuple[str, str, str]:
    _, _, configuration = result["scenario"]["name"].partition("/")
    if not labels.has_encode:
        configuration = configuration.partition("/")[2] or row["kind"]
    if labels.has_builds:
        configuration += f" ({criterion_value(result, Criterion.FFMPEG)})"
    if row["rendition"] is not None:
        configuration += f", rendition {row['rendition']}"
    return labels.node or result["node"], row["source"], configuration


def _repeat(read: RunResults, result: Json, row: Mapping[str, Any]) -> Repeat:
    is_rendition = row["rendition"] is not None
    output = result["measurement"].get("output") or {}
    return Repeat(
        round=f"{read.run['id']}/{result['repeat']}",
        values=values_of(row),
        state=VerdictState(row["verdict"] or VerdictState.VALID),
        reasons=tuple(row["reasons"]),
        digest=None if is_rendition else output.get("sha256"),
        # What is recorded about an encode of a ladder is that of all its renditions.
        factors={} if is_rendition else factors_of(result),
    )


def _controls(read: RunResults) -> tuple[ControlEncodes, ...]:
    return tuple(
        ControlEncodes(
            node=drift["node"],
            speeds=tuple(
                speed for speed in (drift["first_speed"], drift["last_speed"]) if speed is not None
            ),
            is_unusual=bool(drift.get("is_unusual")),
            usual_low=drift.get("low"),
            usual_high=drift.get("high"),
        )
        for drift in read.precision.get("drifts", ())
    )
