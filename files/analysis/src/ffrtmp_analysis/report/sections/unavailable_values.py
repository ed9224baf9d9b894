"""Unavailable values of a run, with the reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..document import Block, Paragraph, Preformatted, Section, Table, TableColumn
from ..run_data import Document, RunData

_NAMED_MAX = 12
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_FAILURES_MAX = 50
_LOGS_MAX = 3
_MAIN = frozenset({"energy", "gpu_energy", "quality", "received", "renditions", "density", "live"})
_FIGURES = {
    "cost_per_video_hour": "cost per hour of video",
    "cost_per_stream_hour": "cost per hour of stream",
}


def unavailable_section(data: RunData) -> Section:
    """Return the section with unavailable values, failed jobs and files that were not stored."""
    blocks: list[Block] = []
    rows = _value_rows(data)
    if rows:
        columns = (
            TableColumn("reason", "Reason"),
            TableColumn("values", "Values"),
            TableColumn("results", "Results", decimals=0),
            TableColumn("nodes", "Nodes"),
        )
        blocks.append(Table("Values that were not measured", columns, rows))
    blocks += _failure_blocks(data)
    omitted = _omitted_rows(data)
    if omitted:
        file_columns = (
            TableColumn("name", "File"),
            TableColumn("reason", "Reason"),
            TableColumn("results", "Results", decimals=0),
        )
        blocks.append(Table("Files that were not stored", file_columns, omitted))
    if not blocks:
        blocks.append(Paragraph(data.empty_reason or "All values were measured."))
    return Section("unavailable", "What was not measured", blocks)


def _value_rows(data: RunData) -> list[dict[str, Any]]:
    """Return one row for each reason. Reasons that differ only in numbers have a common row."""
    found: dict[str, tuple[dict[str, None], set[str], set[str]]] = {}
    examples: dict[str, str] = {}
    for result in data.scenario_results:
        for path, text in _unavailable(result["measurement"], ""):
            reason = examples.setdefault(_NUMBER.sub("#", text), text)
            names, ids, nodes = found.setdefault(reason, ({}, set(), set()))
            names[path] = None
            ids.add(result["id"])
            nodes.add(result["node"])
    for name, text in _FIGURES.items():
        for reason, nodes_of_reason in data.figure_reasons.get(name, {}).items():
            names, ids, nodes = found.setdefault(reason, ({}, set(), set()))
            names[text] = None
            known = set(nodes_of_reason)
            ids |= {each["id"] for each in data.scenario_results if each["node"] in known}
            nodes |= known
    return [
        {
            "reason": reason,
            "values": _listed(list(names)),
            "results": len(ids),
            "nodes": _listed(sorted(nodes)),
        }
        for reason, (names, ids, nodes) in sorted(
            found.items(), key=lambda each: (_is_detail(each[1][0]), -len(each[1][1]), each[0])
        )
    ]


def _is_detail(names: Mapping[str, None]) -> bool:
    """Return whether none of the values is one of the figures that a run is made for."""
    return not any(name.split(".")[0] in _MAIN or name in _FIGURES.values() for name in names)


def _unavailable(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of each unavailable value in a document."""
    if isinstance(value, Mapping):
        if value.get("status") == "unavailable":
            yield path, str(value.get("reason") or "no reason was recorded")
            return
        for name, member in value.items():
            yield from _unavailable(member, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from _unavailable(member, path)


def _failure_blocks(data: RunData) -> list[Block]:
    if not data.failures:
        return []
    columns = (
        TableColumn("scenario", "Scenario"),
        TableColumn("repeat", "Repeat", decimals=0),
        TableColumn("node", "Node"),
        TableColumn("state", "State"),
        TableColumn("failure_class", "Class"),
        TableColumn("message", "Message"),
    )
    rows: list[Document] = [
        {column.name: failure.get(column.name) for column in columns} for failure in data.failures
    ]
    blocks: list[Block] = [Table("Jobs that failed", columns, rows[:_FAILURES_MAX])]
    if len(rows) > _FAILURES_MAX:
        blocks.append(
            Paragraph(f"{len(rows) - _FAILURES_MAX} more jobs failed; failures.json lists them.")
        )
    logs: dict[str, str] = {}
    for failure in data.failures:
        if failure.get("log_tail"):
            title = f"Last lines of FFmpeg's log: {failure['scenario']}, repeat {failure['repeat']}"
            logs.setdefault(str(failure["log_tail"]), title)
    blocks += [Preformatted(title, text) for text, title in list(logs.items())[:_LOGS_MAX]]
    return blocks


def _omitted_rows(data: RunData) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], int] = {}
    for result in data.results:
        for artifact in result["measurement"].get("omitted_artifacts", ()):
            key = (str(artifact["name"]), str(artifact["reason"]))
            counts[key] = counts.get(key, 0) + 1
    return [
        {"name": name, "reason": reason, "results": count}
        for (name, reason), count in sorted(counts.items())
    ]


def _listed(names: list[str]) -> str:
    if len(names) > _NAMED_MAX:
        return f"{', '.join(names[:_NAMED_MAX])} and {len(names) - _NAMED_MAX} more"
    return ", ".join(names)
