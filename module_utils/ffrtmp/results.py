"""Results of a run as JSON, CSV and a table of medians."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from ansible.module_utils.ffrtmp.api import Json
from ansible.module_utils.ffrtmp.errors import CorruptError
from ansible.module_utils.ffrtmp.value_rules import END, csv_cell

COLUMNS = (
    "run_id",
    "job_id",
    "node",
    "scenario",
    "source",
    "encoder",
    "preset",
    "rate_point",
    "repeat",
    "attempt",
    "wall_s",
    "cpu_s",
    "user_s",
    "system_s",
    "max_rss_kib",
    "fps",
    "speed",
    "video_bitrate_kbps",
    "vmaf_mean",
    "vmaf_harmonic_mean",
    "vmaf_min",
    "vmaf_p1",
    "vmaf_p5",
    "vmaf_model",
    "ffmpeg",
    "ffmpeg_version",
    "ffmpeg_sha256",
    "verdict",
    "verdict_reasons",
    "energy_gross_j",
    "energy_net_j",
    "streams",
    "lag_p95_s",
    "end_to_end_p95_s",
    "cost_per_stream_hour",
    "currency",
)
"""The columns of results.csv."""

_QUALITY = (
    "vmaf_mean",
    "vmaf_harmonic_mean",
    "vmaf_min",
    "vmaf_p1",
    "vmaf_p5",
    "vmaf_model",
)
_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,255}" + END)


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


def flat(result: Json) -> dict[str, Any]:
    """Return one result as a row of the CSV, by column. Unavailable values are None, never 0."""
    scenario = result["scenario"]
    measurement = result["measurement"]
    encode = measurement["encode"]
    output = measurement["output"]
    settings = scenario.get("encode")
    quality = measurement["quality"]
    build = measurement["provenance"]["ffmpeg"]
    verdict = measurement.get("verdict")
    energy = measurement.get("energy", {})
    live = measurement.get("live") or {}
    cost = (measurement.get("density") or {}).get("cost", {})
    is_measured = quality.get("status") == "measured"
    return {
        "run_id": result["run_id"],
        "job_id": result["job_id"],
        "node": result["node"],
        "scenario": scenario["name"],
        "source": scenario["source"]["name"],
        "encoder": _encoder(scenario),
        "preset": settings["preset"] if settings else None,
        "rate_point": rate_label(settings["rate"]) if settings else None,
        "repeat": result["repeat"],
        "attempt": result["attempt"],
        "wall_s": encode["wall_s"],
        "cpu_s": encode["user_s"] + encode["system_s"],
        "user_s": encode["user_s"],
        "system_s": encode["system_s"],
        "max_rss_kib": encode["max_rss_kib"],
        "fps": encode["fps"],
        "speed": encode["speed"],
        "video_bitrate_kbps": output["video_bitrate_kbps"] if output else None,
        **{name: quality[name] if is_measured else None for name in _QUALITY},
        "ffmpeg": (scenario.get("ffmpeg") or {}).get("name"),
        "ffmpeg_version": build["version"],
        "ffmpeg_sha256": build["sha256"],
        "verdict": verdict["state"] if verdict else None,
        "verdict_reasons": _codes(verdict),
        "energy_gross_j": _measured(energy.get("gross_j")),
        "energy_net_j": _measured(energy.get("net_j")),
        "streams": (measurement.get("density") or {}).get("streams"),
        "lag_p95_s": live.get("lag_p95_s"),
        "end_to_end_p95_s": _measured(live.get("end_to_end_p95_s")),
        "cost_per_stream_hour": cost.get("per_stream_hour"),
        "currency": cost.get("currency"),
    }


def _codes(verdict: Json | None) -> str | None:
    """Return the codes of a verdict's reasons as the text of one cell."""
    return " ".join(reason["code"] for reason in verdict["reasons"]) if verdict else None


def _measured(value: Any) -> Any:
    """Return the value, or None if it is unavailable."""
    return None if isinstance(value, dict) else value


def _encoder(scenario: Json) -> Any:
    """Return the encoder of the scenario, or None if the scenario does not encode."""
    if scenario.get("ladder"):
        return scenario["ladder"]["renditions"][0]["encode"]["encoder"]
    return scenario["encode"]["encoder"] if scenario.get("encode") else None


def encode_name(scenario: str) -> str:
    """Return the name of the encode in the name of a scenario, which is SOURCE/ENCODE/RATE."""
    parts = scenario.split("/")
    return parts[1] if len(parts) > 1 else scenario


def table(results: Iterable[Json], medians: Iterable[Json] = ()) -> list[dict[str, Any]]:
    """Return medians over repeats, one row for each node, source, encode, rate point and FFmpeg.

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

    Returns:
        The rows, sorted by node, source, encode and rate point.
    """
    known = {(median["node"], median["scenario"]): median for median in medians}
    groups: dict[tuple[str, ...], list[Json]] = {}
    for result in results:
        row = flat(result)
        key = (
            row["node"],
            row["source"],
            encode_name(row["scenario"]),
            row["rate_point"] or "",
            row["ffmpeg"] or "",
            row["ffmpeg_sha256"],
        )
        groups.setdefault(key, []).append(result)
    rows = []
    for _, repeats in sorted(groups.items(), key=_in_order):
        row = _medians([_whole(result) for result in repeats])
        median = known.get((row["node"], repeats[0]["scenario"]["name"]), {})
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
        rows += [_medians(group) for group in renditions.values()]
    return rows


def _whole(result: Json) -> dict[str, Any]:
    """Return the values of one result for the table.

    The bit rate of a live stream is that of its packets, because it has no output file.
    """
    row = flat(result)
    live = result["measurement"].get("live") or {}
    for rate in (live.get("bitrate_mean_kbps"), live.get("server_bitrate_mean_kbps")):
        if row["video_bitrate_kbps"] is None:
            row["video_bitrate_kbps"] = _measured(rate)
    return {**row, "rendition": None}


def _renditions(result: Json) -> list[dict[str, Any]]:
    """Return the values of each rendition of a ladder.

    A rendition that was not encoded by a separate process has neither a speed nor a CPU time.
    """
    settings = {
        rendition["name"]: rendition["encode"]
        for rendition in (result["scenario"].get("ladder") or {}).get("renditions", ())
    }
    rows = []
    for rendition in result["measurement"].get("renditions", ()):
        encode, cost = settings[rendition["name"]], rendition.get("encode")
        rows.append(
            {
                **flat(result),
                "rendition": rendition["name"],
                "encoder": encode["encoder"],
                "preset": encode["preset"],
                "rate_point": rate_label(encode["rate"]),
                "speed": cost["speed"] if cost else None,
                "cpu_s": cost["user_s"] + cost["system_s"] if cost else None,
                "energy_gross_j": None,
                "video_bitrate_kbps": rendition["output"]["video_bitrate_kbps"],
                "vmaf_mean": rendition["quality"].get("vmaf_mean"),
            }
        )
    return rows


def _medians(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row with the medians of `repeats`."""
    first = repeats[0]
    members = [row for row in repeats if row["verdict"] != "invalid"]
    return {
        "node": first["node"],
        "source": first["source"],
        "encode": encode_name(first["scenario"]),
        "rendition": first["rendition"],
        "encoder": first["encoder"],
        "preset": first["preset"],
        "rate_point": first["rate_point"] or "",
        "ffmpeg": first["ffmpeg"],
        "ffmpeg_version": first["ffmpeg_version"],
        "ffmpeg_sha256": first["ffmpeg_sha256"],
        "n": len(members),
        "n_degraded": sum(row["verdict"] == "degraded" for row in members),
        "n_invalid": len(repeats) - len(members),
        "degraded_reasons": _reasons(repeats, "degraded"),
        "invalid_reasons": _reasons(repeats, "invalid"),
        "speed": _median(members, "speed"),
        "video_bitrate_kbps": _median(members, "video_bitrate_kbps"),
        "cpu_s": _median(members, "cpu_s"),
        "energy_gross_j": _median(members, "energy_gross_j"),
        "vmaf_mean": _median(members, "vmaf_mean"),
        "vmaf_n": sum(row["vmaf_mean"] is not None for row in members),
        "streams": _median(members, "streams"),
        "lag_p95_s": _median(members, "lag_p95_s"),
        "end_to_end_p95_s": _median(members, "end_to_end_p95_s"),
        **_cost_per_stream_hour(members),
        "speed_low": None,
        "speed_high": None,
        "state": None,
    }


def _reasons(repeats: list[dict[str, Any]], verdict: str) -> list[str]:
    """Return the codes of the reasons for a verdict, sorted and without duplicates."""
    judged = [row["verdict_reasons"] or "" for row in repeats if row["verdict"] == verdict]
    return sorted({code for codes in judged for code in codes.split()})


def unavailable_reasons(results: Iterable[Json]) -> dict[str, list[str]]:
    """Return the reasons why figures are unavailable, by name of the figure."""
    found: dict[str, set[str]] = {}
    for result in results:
        measurement = result["measurement"]
        energy = measurement.get("energy") or {}
        for name, value in (
            ("energy_gross_j", energy if "reason" in energy else energy.get("gross_j")),
            ("vmaf_mean", measurement["quality"]),
            ("cost_per_stream_hour", (measurement.get("density") or {}).get("cost")),
        ):
            if isinstance(value, dict) and value.get("reason"):
                found.setdefault(name, set()).add(str(value["reason"]))
    return {name: sorted(reasons) for name, reasons in found.items()}


def _cost_per_stream_hour(members: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median cost and its currency. Both are None unless there is a single currency."""
    currencies = {row["currency"] for row in members} - {None}
    if len(currencies) != 1:
        return {"cost_per_stream_hour": None, "currency": None}
    return {
        "cost_per_stream_hour": _median(members, "cost_per_stream_hour"),
        "currency": currencies.pop(),
    }


def _in_order(group: tuple[tuple[str, ...], Any]) -> tuple[Any, ...]:
    """Return a sort key that orders rate points by number, so that 800k precedes 2000k."""
    node, source, encode, rate_point, *build = group[0]
    number = re.search(r"[\d.]+", rate_point)
    return node, source, encode, float(number.group()) if number else 0.0, rate_point, build


def _median(rows: list[dict[str, Any]], column: str) -> float | None:
    values = [row[column] for row in rows if row[column] is not None]
    return float(statistics.median(values)) if values else None


def in_order(results: Iterable[Json]) -> list[Json]:
    """Return the results in a fixed order, so that files with them are reproducible."""
    return sorted(results, key=lambda r: (r["node"], r["scenario"]["name"], r["repeat"], r["id"]))


def as_json(document: Any) -> bytes:
    """Return a JSON document as bytes, which are identical for equal documents."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def as_csv(results: Iterable[Json]) -> bytes:
    """Return the results as CSV with empty cells for unavailable values."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerow({name: csv_cell(value) for name, value in flat(result).items()})
    return text.getvalue().encode()


def artifact_path(result: Json, name: str) -> str:
    """Return the path of an artifact relative to the directory of the results."""
    scenario = result["scenario"]["name"].replace("/", "_")
    attempt_folder = f"{scenario}-r{int(result['repeat'])}-a{int(result['attempt'])}"
    for part in (result["node"], attempt_folder, name):
        check_name(part)
    return str(PurePosixPath("logs", result["node"], attempt_folder, name))


def check_name(name: str) -> None:
    """Raise CorruptError unless `name` is safe as a component of a path."""
    if not _SAFE.match(name):
        raise CorruptError(f"the master returned the name {name!r}, which is not a valid file name")


def as_sha256sums(digests: Mapping[str, str]) -> bytes:
    """Return digests by path in the format of `sha256sum --check`."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()
