"""Legend of the table of results: a line for each mark that the table contains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .api import Json
from .table_columns import Row, missing_figures

Reasons = Mapping[str, Mapping[str, set[str]]]
"""Nodes by reason, by the name of a figure."""

_LABELS = {
    "energy_gross_j": "Energy",
    "vmaf_mean": "VMAF",
    "vmaf_neg_mean": "VMAF NEG",
    "cost_per_video_hour": "Cost",
    "cost_per_stream_hour": "Cost",
}
_COST_GAPS = {
    "no_entry": "the price book has no entry for the time of the measurement",
    "no_node": "the price book does not contain the node",
    "no_host_price": "the price book has no price for the node",
    "no_energy_price": "the price book has no price for energy in the region of the node",
    "no_energy": "the price book has a price for energy, but the energy is unknown",
}
"""Reasons for missing costs. A farm without a price book, or a job without video, has none."""

_NODES_SHOWN_MAX = 4
_REASONS_SHOWN_MAX = 3


def figure_reasons(results: Iterable[Json], exported: Mapping[str, Mapping[str, str]]) -> Reasons:
    """Return why figures are unavailable.

    Args:
        results: Results as the API returns them.
        exported: Rows of the master's table of results by the id of the result.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for result in results:
        measurement = result["measurement"]
        energy, quality = measurement.get("energy") or {}, measurement["quality"]
        cost = (measurement.get("density") or {}).get("cost")
        gap = _COST_GAPS.get(exported.get(result["id"], {}).get("book_cost_unavailable", ""))
        for name, value in (
            ("energy_gross_j", energy if "reason" in energy else energy.get("gross_j")),
            ("vmaf_mean", quality),
            ("vmaf_neg_mean", quality if "reason" in quality else quality.get("vmaf_neg_mean")),
            ("cost_per_stream_hour", {"reason": gap} if gap else cost),
            ("cost_per_video_hour", {"reason": gap}),
        ):
            if isinstance(value, dict) and value.get("reason"):
                reasons = found.setdefault(name, {})
                reasons.setdefault(str(value["reason"]), set()).add(result["node"])
    return found


def cache_lines(results: Iterable[Json]) -> list[str]:
    """Return a line for each node whose cache of measurements had entries that it could not use."""
    faults: dict[str, int] = {}
    for result in results:
        count = len(result["measurement"].get("cache_faults") or ())
        if count:
            faults[result["node"]] = faults.get(result["node"], 0) + count
    return [
        f"{node}: {count} cached measurements could not be used and were repeated; check its disk"
        for node, count in sorted(faults.items())
    ]


def verdict_details(results: Iterable[Json]) -> dict[str, str]:
    """Return the first description of each reason for a verdict, by the code of the reason."""
    found: dict[str, str] = {}
    for result in results:
        for reason in (result["measurement"].get("verdict") or {}).get("reasons", ()):
            found.setdefault(reason["code"], str(reason["detail"]))
    return found


def legend_lines(
    rows: Sequence[Row], reasons: Reasons, details: Mapping[str, str], figures: Iterable[str]
) -> list[str]:
    """Return the lines of the legend.

    Args:
        rows: The rows of the table.
        reasons: Why figures are unavailable, as `figure_reasons` returns it.
        details: Descriptions of the reasons for verdicts, as `verdict_details` returns them.
        figures: Names of the figures of interest.
    """
    codes = {
        code
        for row in rows
        for code in (*row["degraded_reasons"], *row["invalid_reasons"])
        if row["rendition"] is None and code in details
    }
    lines = [f"{code}: for example, {details[code]}" for code in sorted(codes)]
    if any(row["state"] == "unstable" for row in rows):
        lines.append("wide interval: it is wider than the suite requests")
    if any(row["is_estimate"] for row in rows):
        lines.append(
            "estimate: other jobs could run on the node, so energy and cost include theirs"
        )
    missing = missing_figures(rows)
    for name in figures:
        lacking, known = missing.get(name, []), reasons.get(name, {})
        if lacking and known:
            is_general = all(row[name] is None for row in rows)
            lines.append(_missing_line(_LABELS[name], lacking, known, is_general=is_general))
    return list(dict.fromkeys(lines))


def _missing_line(
    label: str, lacking: Sequence[Row], known: Mapping[str, set[str]], *, is_general: bool
) -> str:
    nodes = {row["node"] for row in lacking}
    parts = []
    for reason, affected in sorted(known.items())[:_REASONS_SHOWN_MAX]:
        on = sorted(affected & nodes)
        if not on:
            continue
        more = f" and {len(on) - _NODES_SHOWN_MAX} more" if len(on) > _NODES_SHOWN_MAX else ""
        names = ", ".join(on[:_NODES_SHOWN_MAX]) + more
        parts.append(reason if is_general and len(on) == len(nodes) else f"{reason} ({names})")
    return f"{label} is unavailable" + (f": {'; '.join(parts)}" if parts else "")
