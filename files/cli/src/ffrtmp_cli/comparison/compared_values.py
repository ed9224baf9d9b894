"""Values of a result that are compared, and the factors that it records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffrtmp_analysis.comparison.compared_results import Condition
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.recorded_factors import Factor
from ffrtmp_client.api import Json

QUOTA_PERIOD_S = 0.1
"""Length of the period of a CPU quota, which is the default of systemd's CPUQuotaPeriodSec."""

_COLUMNS = {
    Quantity.SPEED: "speed",
    Quantity.CPU_TIME: "cpu_s",
    Quantity.ENERGY: "energy_gross_j",
    Quantity.BIT_RATE: "video_bitrate_kbps",
    Quantity.VMAF_NEG: "vmaf_neg_mean",
}
_NOT_OF_KIND = {
    # A live stream runs in real time, and a density measurement has a varying number of streams.
    "live": frozenset({Quantity.SPEED}),
    "density": frozenset({Quantity.SPEED, Quantity.CPU_TIME, Quantity.ENERGY, Quantity.BIT_RATE}),
}
_ENCODER_SCALES = frozenset({"crf", "cq"})
"""Rate controls whose numbers have a meaning only for one encoder."""


def values_of(row: Mapping[str, Any]) -> dict[Quantity, float]:
    """Return the measured values of a result.

    Args:
        row: Its values by column, as `values_with_renditions` returns them.
    """
    left_out = _NOT_OF_KIND.get(row["kind"], frozenset())
    found = {
        quantity: row[column] for quantity, column in _COLUMNS.items() if quantity not in left_out
    }
    per_hour = row["cost_per_video_hour"]
    found[Quantity.COST] = row["cost_per_stream_hour"] if per_hour is None else per_hour
    return {quantity: float(value) for quantity, value in found.items() if value is not None}


def unavailable_values(result: Json) -> dict[Quantity, str]:
    """Return why values of a result are unavailable.

    Args:
        result: The result as the API returns it.
    """
    measurement = result["measurement"]
    quality, energy = measurement["quality"], measurement.get("energy") or {}
    found = {
        Quantity.ENERGY: energy.get("gross_j", energy),
        Quantity.VMAF_NEG: (
            quality if quality.get("status") == "unavailable" else quality.get("vmaf_neg_mean")
        ),
    }
    return {
        quantity: str(value["reason"])
        for quantity, value in found.items()
        if isinstance(value, dict) and "reason" in value
    }


def factors_of(result: Json) -> dict[Factor, float]:
    """Return the recorded factors that change the speed and the energy of a result.

    Args:
        result: The result as the API returns it.
    """
    measurement = result["measurement"]
    encode, environment = measurement["encode"], measurement["environment"]
    slot, energy = environment.get("slot") or {}, measurement.get("energy") or {}
    wall_s, periods = encode["wall_s"], environment.get("throttled_periods")
    found: dict[Factor, Any] = {
        Factor.CLOCK: environment.get("cpu_frequency_mhz"),
        Factor.STEAL: slot.get("steal_ratio", environment.get("steal_ratio")),
        Factor.PRESSURE: slot.get("cpu_pressure_ratio", environment.get("cpu_pressure_ratio")),
    }
    if wall_s > 0:
        found[Factor.THREADS] = (encode["user_s"] + encode["system_s"]) / wall_s
        if isinstance(periods, int):
            found[Factor.THROTTLING] = min(periods * QUOTA_PERIOD_S / wall_s, 1.0)
    if _is_number(energy.get("gross_j")) and (energy.get("duration_s") or 0) > 0:
        found[Factor.POWER] = energy["gross_j"] / energy["duration_s"]
    return {factor: float(value) for factor, value in found.items() if _is_number(value)}


def conditions_of(result: Json, row: Mapping[str, Any]) -> dict[Condition, str]:
    """Return the conditions of a result. Conditions that do not matter to it are left out.

    Args:
        result: The result as the API returns it.
        row: Its values by column.
    """
    measurement = result["measurement"]
    is_of_encoder = row["rate_control"] in _ENCODER_SCALES
    found = {
        Condition.SOURCE: measurement["provenance"]["source_sha256"],
        Condition.RATE_SCALE: (
            f"{row['rate_control']} of {row['encoder']}" if is_of_encoder else None
        ),
        Condition.FFMPEG: f"{row['ffmpeg_version']} ({row['ffmpeg_sha256'][:12]})",
        Condition.QUALITY_MODEL: measurement["quality"].get("vmaf_model"),
        Condition.CPU_MODEL: measurement["environment"].get("cpu_model"),
        Condition.CURRENCY: row["currency"],
    }
    return {condition: value for condition, value in found.items() if isinstance(value, str)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
