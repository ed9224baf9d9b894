"""Medians over the repeats of a run, with one row for each combination that was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from .api import Json

RANGE_REPEATS_MIN = 6
"""Number of repeats from which the lowest and the highest value contain the median with a
probability of at least 95 %: 1 - 2 * 0.5 ** 6 = 0.97 (Conover, Practical Nonparametric Statistics,
3rd edition, section 3.2)."""

_MEDIANS = (
    "speed",
    "video_bitrate_kbps",
    "cpu_s",
    "energy_gross_j",
    "vmaf_mean",
    "vmaf_neg_mean",
    "streams",
    "lag_p95_s",
    "end_to_end_p95_s",
)
_COSTS = ("cost_per_video_hour", "cost_per_stream_hour")
_RANGES = ("video_bitrate_kbps", "energy_gross_j", "vmaf_mean", "vmaf_neg_mean", *_COSTS)
_SETTINGS = ("encoder", "preset", "threads", "pixel_format", "gop_frames")
_IDENTITY = (
    "node",
    "source",
    "kind",
    "encode",
    "rendition",
    *_SETTINGS,
    "size",
    "frame_rate",
    "options",
    "rate_point",
    "rate_control",
    "ffmpeg",
    "ffmpeg_version",
    "ffmpeg_sha256",
)
_MINUTES_PER_HOUR = 60
_VMAF_TOLERANCE = 0.5
"""Tolerance of rate points that request a VMAF, unless they state another one."""


def rate_label(rate: Json) -> str:
    """Return the short name of a rate point, such as `1500k`, `crf23-max4000k` or `vmaf93`."""
    if rate.get("bitrate_kbps") is not None:
        name = f"{rate['bitrate_kbps']}k" + ("-2pass" if rate.get("passes", 1) > 1 else "")
    elif rate.get("crf") is not None:
        name = f"crf{rate['crf']:g}"
    elif rate.get("vmaf") is not None:
        tolerance = rate.get("vmaf_tolerance", _VMAF_TOLERANCE)
        name = f"vmaf{rate['vmaf']:g}"
        name += "" if tolerance == _VMAF_TOLERANCE else f"-tol{tolerance:g}"
    else:
        name = f"cq{rate['cq']}"
    if rate.get("max_kbps") is not None:
        name += f"-max{rate['max_kbps']}k"
    return name + (f"-buf{rate['buffer_kbit']}k" if rate.get("buffer_kbit") is not None else "")


def rate_control(rate: Json) -> str | None:
    """Return the name of the setting that selects the rate control, such as `crf`."""
    controls = ("vmaf", "bitrate_kbps", "crf", "cq")
    return next((name for name in controls if rate.get(name) is not None), None)


def encode_name(scenario: str) -> str:
    """Return the name of the encode in the name of a scenario, which is SOURCE/ENCODE/RATE."""
    parts = scenario.split("/")
    return parts[1] if len(parts) > 1 else scenario


def video_bitrate_kbps(measurement: Json) -> float | None:
    """Return the bit rate of the output, in kbit/s, or None if it is unavailable.

    A live stream has no output file, so its bit rate is that of the packets at the player, or else
    that at the RTMP server.

    Args:
        measurement: The measurement of a result.
    """
    output, live = measurement.get("output") or {}, measurement.get("live") or {}
    bit_rates = (
        _measured(output.get("video_bitrate_kbps")),
        _measured(live.get("bitrate_mean_kbps")),
        _measured(live.get("server_bitrate_mean_kbps")),
    )
    return next((rate for rate in bit_rates if rate is not None), None)


def median_rows(
    results: Iterable[Json],
    medians: Iterable[Json] = (),
    exported: Mapping[str, Mapping[str, str]] | None = None,
) -> list[dict[str, Any]]:
    """Return medians over repeats, one row for each node, scenario and FFmpeg build.

    FFmpeg builds are distinguished by their digests, even if their names are the same. `n` is the
    number of repeats in the medians. This number includes the `n_degraded` repeats with the verdict
    degraded, and excludes the `n_invalid` repeats with the verdict invalid. `vmaf_mean` is the
    median of the `vmaf_n` repeats with a measured quality. Values that are unavailable in all
    repeats are None. The row of a ladder is followed by one row for each of its renditions. These
    rows have the name of the rendition in `rendition`, which is None in other rows.

    Args:
        results: Results as the API returns them.
        medians: Intervals of the median speeds by node and scenario, as the API returns them. An
            interval is ignored if it covers different repeats from those of the row.
        exported: Rows of the master's table of results by the id of the result, which contain the
            costs.

    Returns:
        The rows, in the order of nodes, scenarios and builds.
    """
    known = {(median["node"], median["scenario"]): median for median in medians}
    groups: dict[tuple[str, str, str], list[Json]] = {}
    for result in results:
        digest = result["measurement"]["provenance"]["ffmpeg"]["sha256"]
        key = (result["node"], result["scenario"]["name"], digest)
        groups.setdefault(key, []).append(result)
    rows = []
    for (node, scenario, _), repeats in sorted(groups.items()):
        row = _row_of(
            [result_values(result, (exported or {}).get(result["id"])) for result in repeats]
        )
        median = known.get((node, scenario), {})
        if median.get("n") == row["n"]:
            # If the numbers differ, the interval also covers repeats with another FFmpeg, or
            # repeats that ended after the results were fetched.
            row |= {
                "speed_low": median["low"],
                "speed_high": median["high"],
                "state": median["state"],
            }
        rows.append(row)
        renditions: dict[str, list[dict[str, Any]]] = {}
        for rendition in (row for result in repeats for row in _renditions(result)):
            renditions.setdefault(rendition["rendition"], []).append(rendition)
        rows += [_row_of(group) for group in renditions.values()]
    return rows


def values_with_renditions(
    result: Json, exported: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the values of one result by column, followed by those of each rendition of a ladder.

    Unavailable values are None, never 0.

    Args:
        result: A result as the API returns it.
        exported: Its row of the master's table of results, which contains the costs.
    """
    return [result_values(result, exported), *_renditions(result)]


def result_values(result: Json, exported: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the values of one result, by column.

    Unavailable values are None, never 0.

    Args:
        result: A result as the API returns it.
        exported: The row of the result in the master's table, if it is known.
    """
    scenario, measurement = result["scenario"], result["measurement"]
    encode, quality = measurement["encode"], measurement["quality"]
    live, density = measurement.get("live") or {}, measurement.get("density") or {}
    verdict = measurement.get("verdict") or {}
    build = measurement["provenance"]["ffmpeg"]
    return {
        "node": result["node"],
        "source": scenario["source"]["name"],
        "kind": scenario["kind"],
        "encode": encode_name(scenario["name"]),
        "rendition": None,
        **_settings_of(result),
        "ffmpeg": (scenario.get("ffmpeg") or {}).get("name"),
        "ffmpeg_version": build["version"],
        "ffmpeg_sha256": build["sha256"],
        "verdict": verdict.get("state"),
        "reasons": [reason["code"] for reason in verdict.get("reasons", ())],
        "is_estimate": measurement["environment"].get("node_use") == "shared",
        "speed": encode["speed"],
        "cpu_s": encode["user_s"] + encode["system_s"],
        "video_bitrate_kbps": video_bitrate_kbps(measurement),
        "energy_gross_j": _measured((measurement.get("energy") or {}).get("gross_j")),
        "vmaf_mean": quality.get("vmaf_mean"),
        "vmaf_neg_mean": _measured(quality.get("vmaf_neg_mean")),
        "streams": density.get("streams"),
        "lag_p95_s": live.get("lag_p95_s"),
        "end_to_end_p95_s": _measured(live.get("end_to_end_p95_s")),
        **_costs(density.get("cost") or {}, exported or {}),
    }


def _settings_of(result: Json) -> dict[str, Any]:
    """Return the settings of the encode; of a ladder, those that all its renditions share."""
    scenario, source = result["scenario"], result["measurement"].get("source") or {}
    ladder = scenario.get("ladder")
    if ladder:
        encodes = [_encode_settings(rung["encode"], {}) for rung in ladder["renditions"]]
        common = {
            name: value if all(other[name] == value for other in encodes) else None
            for name, value in encodes[0].items()
        }
        return {**common, "size": None, "rate_point": "", "rate_control": None}
    if scenario.get("encode"):
        return _encode_settings(scenario["encode"], source)
    nothing = dict.fromkeys((*_SETTINGS, "size", "frame_rate", "options", "rate_control"))
    return {**nothing, "threads": (scenario.get("decode") or {}).get("threads"), "rate_point": ""}


def _encode_settings(encode: Json, source: Json) -> dict[str, Any]:
    """Return settings of an encoder. If the source determines one, it is that of the source."""
    width, height = (encode.get(side) or source.get(side) for side in ("width", "height"))
    options = encode.get("options") or {}
    return {
        **{name: encode.get(name) for name in _SETTINGS},
        "size": f"{width}x{height}" if width and height else None,
        "frame_rate": _frame_rate(encode.get("frame_rate") or source.get("frame_rate")),
        "options": " ".join(f"{name}={options[name]}" for name in sorted(options)),
        "rate_point": rate_label(encode["rate"]),
        "rate_control": rate_control(encode["rate"]),
    }


def _frame_rate(text: str | None) -> str | None:
    """Return frames per second as a decimal number, such as 29.97 for 30000/1001."""
    numerator, _, denominator = (text or "").partition("/")
    try:
        return f"{float(numerator) / float(denominator or 1):.4g}"
    except (ValueError, ZeroDivisionError):
        return None


def _costs(worker_cost: Json, exported: Mapping[str, str]) -> dict[str, Any]:
    """Return the costs by the price book, or else those that the worker computed of a density."""
    currency, per_minute, per_stream_hour = (
        exported.get(f"book_{name}") or None
        for name in ("currency", "cost_per_video_minute", "cost_per_stream_hour")
    )
    if currency and (per_minute or per_stream_hour):
        is_stream = per_stream_hour is not None
        return {
            "cost_per_video_hour": (
                None if is_stream or per_minute is None else float(per_minute) * _MINUTES_PER_HOUR
            ),
            "cost_per_stream_hour": None if per_stream_hour is None else float(per_stream_hour),
            "currency": currency,
        }
    return {
        "cost_per_video_hour": None,
        "cost_per_stream_hour": worker_cost.get("per_stream_hour"),
        "currency": worker_cost.get("currency"),
    }


def _renditions(result: Json) -> list[dict[str, Any]]:
    """Return the values of each rendition of a ladder.

    A rendition that was not encoded by a separate process has neither a speed nor a CPU time.
    """
    measurement = result["measurement"]
    measured = measurement.get("renditions", ())
    if not measured:
        return []
    settings = {
        rendition["name"]: rendition["encode"]
        for rendition in (result["scenario"].get("ladder") or {}).get("renditions", ())
    }
    shared, source = result_values(result, None), measurement.get("source") or {}
    rows = []
    for rendition in measured:
        encode, process = settings[rendition["name"]], rendition.get("encode")
        rows.append(
            {
                **shared,
                **_encode_settings(encode, source),
                "rendition": rendition["name"],
                "speed": process["speed"] if process else None,
                "cpu_s": process["user_s"] + process["system_s"] if process else None,
                "energy_gross_j": None,
                "video_bitrate_kbps": rendition["output"]["video_bitrate_kbps"],
                "vmaf_mean": rendition["quality"].get("vmaf_mean"),
                "vmaf_neg_mean": _measured(rendition["quality"].get("vmaf_neg_mean")),
            }
        )
    return rows


def _row_of(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row with the medians of `repeats`."""
    members = [row for row in repeats if row["verdict"] != "invalid"]
    currencies = {row["currency"] for row in members} - {None}
    if len(currencies) > 1:
        # Amounts in different currencies have no median.
        members = [{**row, **dict.fromkeys((*_COSTS, "currency"))} for row in members]
    return {
        **{name: repeats[0][name] for name in _IDENTITY},
        "n": len(members),
        "n_degraded": sum(row["verdict"] == "degraded" for row in members),
        "n_invalid": len(repeats) - len(members),
        "degraded_reasons": _reasons(repeats, "degraded"),
        "invalid_reasons": _reasons(repeats, "invalid"),
        "is_estimate": any(row["is_estimate"] for row in members),
        **{name: _median(members, name) for name in (*_MEDIANS, *_COSTS)},
        "vmaf_n": sum(row["vmaf_mean"] is not None for row in members),
        "currency": currencies.pop() if len(currencies) == 1 else None,
        "speed_low": None,
        "speed_high": None,
        "state": None,
        "ranges": {name: _range(members, name) for name in _RANGES},
    }


def _reasons(repeats: list[dict[str, Any]], verdict: str) -> list[str]:
    """Return the codes of the reasons for a verdict, sorted and without duplicates."""
    return sorted({code for row in repeats if row["verdict"] == verdict for code in row["reasons"]})


def _measured(value: Any) -> Any:
    """Return the value, or None if it is unavailable."""
    return None if isinstance(value, dict) else value


def _median(rows: list[dict[str, Any]], column: str) -> float | None:
    values = [row[column] for row in rows if row[column] is not None]
    return float(statistics.median(values)) if values else None


def _range(rows: list[dict[str, Any]], column: str) -> list[float] | None:
    """Return the lowest and the highest value, or None for too few repeats."""
    values = [row[column] for row in rows if row[column] is not None]
    if len(values) < max(RANGE_REPEATS_MIN, len(rows)):
        return None
    return [min(values), max(values)]
