"""Results of a run as those of builds, for the comparison of builds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ffrtmp_analysis.comparison.compared_results import Condition, Repeat, ScenarioResults
from ffrtmp_analysis.comparison.quantities import DISTURBANCES, Quantity
from ffrtmp_client.api import Json
from ffrtmp_client.medians import result_values
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_cli.comparison.compared_values import conditions_of, unavailable_values, values_of

QUANTITIES = (Quantity.SPEED, Quantity.CPU_TIME, Quantity.BIT_RATE, Quantity.VMAF_NEG)
"""The quantities of which a change can be searched for."""


def results_by_build(
    results: Iterable[Json], batch: int, *, allow_disturbed: bool
) -> dict[str, tuple[ScenarioResults, ...]]:
    """Return the results of each build, by the name of the build in the suite.

    Args:
        results: The results as the API returns them.
        batch: The number of the run, which distinguishes its rounds from those of others.
        allow_disturbed: Whether results that other load or steal degraded can be compared.
    """
    groups: dict[str, dict[tuple[str, str], list[Json]]] = {}
    for result in results:
        name, _, build = result["scenario"]["name"].rpartition("/")
        groups.setdefault(build, {}).setdefault((result["node"], name), []).append(result)
    return {
        build: tuple(
            _scenario_results(node, name, members, batch, allow_disturbed)
            for (node, name), members in scenarios.items()
        )
        for build, scenarios in groups.items()
    }


def _scenario_results(
    node: str, name: str, members: Sequence[Json], batch: int, allow_disturbed: bool
) -> ScenarioResults:
    source, _, configuration = name.partition("/")
    rows = [(member, result_values(member, None)) for member in members]
    conditions: dict[Condition, dict[str, None]] = {}
    unavailable: dict[Quantity, str] = {}
    for member, row in rows:
        unavailable |= unavailable_values(member)
        for condition, value in conditions_of(member, row).items():
            conditions.setdefault(condition, {})[value] = None
    return ScenarioResults(
        node=node,
        source=source,
        configuration=configuration,
        repeats=tuple(_repeat(member, row, batch, allow_disturbed) for member, row in rows),
        conditions={condition: tuple(found) for condition, found in conditions.items()},
        unavailable=unavailable,
    )


def _repeat(member: Json, row: Mapping[str, Any], batch: int, allow_disturbed: bool) -> Repeat:
    codes = row["reasons"]
    if allow_disturbed:
        codes = [f"{code} (allowed)" if code in DISTURBANCES else code for code in codes]
    return Repeat(
        round=f"{batch}/{member['repeat']}",
        values=values_of(row),
        state=VerdictState(row["verdict"]),
        reasons=tuple(codes),
        digest=member["measurement"]["output"]["sha256"],
    )
