"""Distribution of the speeds of repeats."""

from __future__ import annotations

from statistics import median
from typing import Any

from ..chart import Axis, draw_dots
from ..document import Block, Paragraph, Section, Table, TableColumn
from ..run_data import (
    Document,
    Place,
    RunData,
    encode_labels,
    place_text,
    series_label,
    verdict_of,
)
from .rate_distortion import PLOTS_MAX, left_out

_REPEATS_MAX = 400
_KINDS = frozenset({"transcode", "ladder", "decode"})
_SCENARIO = TableColumn("scenario", "Scenario")
_VERDICT = TableColumn("verdict", "Verdict", names=("valid", "degraded", "invalid"))
_DEVIATION = TableColumn("deviation", "Speed relative to the median (%)", decimals=1)


def repeats_section(data: RunData) -> Section:
    """Return the section with the speed of each repeat relative to the median of its scenario."""
    title = "Distribution of repeats"
    places = _results_by_place(data)
    blocks: list[Block] = []
    for place, groups in list(places.items())[:PLOTS_MAX]:
        where = place_text(place, places)
        rows = [row for results in groups.values() for row in _rows(results, data)]
        if len(rows) > _REPEATS_MAX:
            blocks.append(
                Paragraph(
                    f"{where}: {len(rows)} repeats are too many for a plot; results.csv contains "
                    "them."
                )
            )
        elif rows:
            columns = (
                _SCENARIO,
                TableColumn("repeat", "Repeat", decimals=0),
                TableColumn("speed", "Speed (x real time)", digits=4),
                _DEVIATION,
                _VERDICT,
                TableColumn("reasons", "Reasons"),
            )
            caption = (
                f"Speed of each repeat relative to the median of its scenario, {where}. Repeats "
                "that scatter less compare more precisely."
            )
            table = Table(f"Repeats, {where}", columns, rows).varying
            blocks.append(draw_dots(caption, table, _SCENARIO, Axis(_DEVIATION), _VERDICT))
    blocks += left_out(len(places))
    blocks += _precision_blocks(data)
    if not blocks:
        reason = data.empty_reason or "No scenario with a speed has two repeats or more."
        blocks.append(Paragraph(reason))
    return Section("repeats", title, blocks)


def _results_by_place(data: RunData) -> dict[Place, dict[str, list[Document]]]:
    """Return the results of scenarios with at least two repeats."""
    found: dict[Place, dict[str, list[Document]]] = {}
    for result in data.scenario_results:
        scenario, build = result["scenario"], result["measurement"]["provenance"]["ffmpeg"]
        if scenario["kind"] not in _KINDS:
            continue
        name = (scenario.get("ffmpeg") or {}).get("name") or build["version"]
        place = Place(scenario["source"]["name"], result["node"], name, build["sha256"])
        found.setdefault(place, {}).setdefault(scenario["name"], []).append(result)
    several = {
        place: {name: group for name, group in groups.items() if len(group) > 1}
        for place, groups in found.items()
    }
    return {place: groups for place, groups in several.items() if groups}


def _rows(results: list[Document], data: RunData) -> list[dict[str, Any]]:
    labels = encode_labels(data.measured_rows)
    counted = [each for each in results if verdict_of(each)[0] != "invalid"] or results
    middle = median(result["measurement"]["encode"]["speed"] for result in counted)
    if middle <= 0:
        return []
    rows = []
    for result in results:
        _, _, rest = result["scenario"]["name"].partition("/")
        encode, _, rate = rest.partition("/")
        speed = result["measurement"]["encode"]["speed"]
        verdict, reasons = verdict_of(result)
        rows.append(
            {
                "scenario": f"{series_label({'encode': encode}, labels)} {rate}".strip(),
                "repeat": result["repeat"],
                "speed": speed,
                "deviation": (speed / middle - 1) * 100,
                "verdict": verdict,
                "reasons": ", ".join(sorted({reason["code"] for reason in reasons})),
            }
        )
    return rows


def _precision_blocks(data: RunData) -> list[Block]:
    """Return a paragraph with the number of medians in each state of precision."""
    states: dict[str, int] = {}
    for row in data.measured_rows:
        if row["state"] is not None and row["rendition"] is None:
            states[row["state"]] = states.get(row["state"], 0) + 1
    if not states:
        return []
    texts = {
        "precise": "as precise as requested",
        "unstable": "unstable, because their intervals are wider than requested",
        "few_repeats": "without an interval, because fewer than six repeats count",
        "open": "open, because more repeats will follow",
    }
    parts = [f"{count} {texts.get(state, state)}" for state, count in sorted(states.items())]
    return [Paragraph(f"Of {sum(states.values())} median speeds: {'; '.join(parts)}.")]
