"""Results of a run as those of builds, for the comparison of builds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ffrtmp_analysis.comparison.compared_results import Condition, Repeat, ScenarioResults
from ffrtmp_analysis.comparison.quantities import DISTURBANCES, Quantity
from ffrtmp_client.api import Json
from ffrtmp_shared.verdict import VerdictState

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
    measurements = [member["measurement"] for member in members]
    return ScenarioResults(
        node=node,
        source=source,
        configuration=configuration,
        repeats=tuple(_repeat(member, batch, allow_disturbed) for member in members),
        conditions={
            condition: tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
            for condition, values in {
                Condition.SOURCE: [m["provenance"]["source_sha256"] for m in measurements],
                Condition.FFMPEG: [m["provenance"]["ffmpeg"]["sha256"] for m in measurements],
                Condition.CPU_MODEL: [m["environment"]["cpu_model"] for m in measurements],
                Condition.QUALITY_MODEL: [m["quality"].get("vmaf_model") for m in measurements],
            }.items()
        },
        unavailable=_unavailable(measurements),
    )


def _unavailable(measurements: Sequence[Json]) -> dict[Quantity, str]:
    """Return why results have no quality. All results have the other quantities."""
    reasons = [
        str(measurement["quality"].get("reason", "the suite switched it off"))
        for measurement in measurements
        if Quantity.VMAF_NEG not in _values(measurement)
    ]
    return {Quantity.VMAF_NEG: reasons[0]} if reasons else {}


def _repeat(member: Json, batch: int, allow_disturbed: bool) -> Repeat:
    verdict = member["measurement"]["verdict"]
    codes = [reason["code"] for reason in verdict["reasons"]]
    if allow_disturbed:
        codes = [f"{code} (allowed)" if code in DISTURBANCES else code for code in codes]
    return Repeat(
        round=f"{batch}/{member['repeat']}",
        values=_values(member["measurement"]),
        state=VerdictState(verdict["state"]),
        reasons=tuple(codes),
        digest=member["measurement"]["output"]["sha256"],
    )


def _values(measurement: Mapping[str, Any]) -> dict[Quantity, float]:
    encode, output = measurement["encode"], measurement["output"]
    found = {
        Quantity.SPEED: encode["speed"],
        Quantity.CPU_TIME: encode["user_s"] + encode["system_s"],
        Quantity.BIT_RATE: output["video_bitrate_kbps"],
        Quantity.VMAF_NEG: measurement["quality"].get("vmaf_neg_mean"),
    }
    # An unavailable value is an object with the reason.
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
