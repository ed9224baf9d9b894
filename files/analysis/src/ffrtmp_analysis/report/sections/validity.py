"""Validity of the results of each node."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..document import Block, Paragraph, Section, Table, TableColumn
from ..run_data import RunData, verdict_of

_VERDICTS = ("valid", "degraded", "invalid")


def validity_section(data: RunData) -> Section:
    """Return the section with verdicts and their reasons, and the drift of control encodes."""
    blocks: list[Block] = []
    if data.results:
        blocks.append(_verdict_table(data))
        reasons = _reason_rows(data)
        if reasons:
            columns = (
                TableColumn("node", "Node"),
                TableColumn("verdict", "Verdict"),
                TableColumn("code", "Reason"),
                TableColumn("results", "Results", decimals=0),
                TableColumn("detail", "Example"),
            )
            blocks.append(Table("Reasons for verdicts", columns, reasons))
    drifts = _drift_rows(data)
    if drifts:
        columns = (
            TableColumn("node", "Node"),
            TableColumn("first", "First speed (x real time)", digits=3),
            TableColumn("last", "Last speed (x real time)", digits=3),
            TableColumn("change", "Change (%)", decimals=1),
            TableColumn("usual", "Usual speed (x real time)"),
        )
        blocks.append(Table("Control encodes", columns, drifts).varying)
    elif data.results:
        blocks.append(
            Paragraph("The run has no control encodes, so that a drift of the nodes is not known.")
        )
    if not blocks:
        blocks.append(Paragraph(data.empty_reason))
    return Section("validity", "Validity per node", blocks)


def _verdict_table(data: RunData) -> Table:
    counts: dict[str, Counter[str]] = {}
    for result in data.results:
        counts.setdefault(result["node"], Counter())[verdict_of(result)[0]] += 1
    columns = (
        TableColumn("node", "Node"),
        TableColumn("results", "Results", decimals=0),
        *(TableColumn(verdict, verdict.capitalize(), decimals=0) for verdict in _VERDICTS),
    )
    rows = [
        {
            "node": node,
            "results": found.total(),
            **{verdict: found[verdict] for verdict in _VERDICTS},
        }
        for node, found in sorted(counts.items())
    ]
    return Table("Verdicts, with control encodes", columns, rows)


def _reason_rows(data: RunData) -> list[dict[str, Any]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    details: dict[tuple[str, str, str], str] = {}
    for result in data.results:
        verdict, reasons = verdict_of(result)
        for code, detail in {each["code"]: each["detail"] for each in reasons}.items():
            key = (result["node"], verdict, str(code))
            counts[key] += 1
            details.setdefault(key, str(detail))
    return [
        {
            "node": node,
            "verdict": verdict,
            "code": code,
            "results": count,
            "detail": details[node, verdict, code],
        }
        for (node, verdict, code), count in sorted(counts.items())
    ]


def _drift_rows(data: RunData) -> list[dict[str, Any]]:
    return [
        {
            "node": drift["node"],
            "first": drift["first_speed"],
            "last": drift["last_speed"],
            "change": (drift["ratio"] - 1) * 100,
            "usual": (
                f"{drift['low']:.2f} to {drift['high']:.2f}"
                if drift.get("low") is not None and drift.get("high") is not None
                else ""
            ),
        }
        for drift in data.precision.get("drifts", ())
        if drift["ratio"] is not None
    ]
