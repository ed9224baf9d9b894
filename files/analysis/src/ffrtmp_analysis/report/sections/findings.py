"""Findings: what the run shows, as sentences."""

from __future__ import annotations

from collections import Counter

from ..document import Block, Paragraph, Section, Statements
from ..run_data import RunData, verdict_of


def findings_section(data: RunData) -> Section:
    """Return the section with the findings, preceded by what limits them."""
    limits = [*_unusual_texts(data), *_job_texts(data), *_verdict_texts(data)]
    blocks: list[Block] = []
    if data.statements:
        blocks.append(Statements(data.statements))
    else:
        reason = data.empty_reason or (
            "The intervals of the run do not support a statement about which encode, FFmpeg build "
            "or node is better."
        )
        blocks.append(Paragraph(reason))
    if data.remarks:
        blocks.append(Statements(data.remarks))
    if limits:
        # A shift of the control encodes affects everything below, so it is stated first.
        position = 0 if _unusual_texts(data) else len(blocks)
        blocks.insert(position, Statements(limits))
    return Section("findings", "Findings", blocks)


def _unusual_texts(data: RunData) -> list[str]:
    return [
        f"The control encodes of {drift['node']} left the usual range of the node "
        f"({drift['low']:.2f} to {drift['high']:.2f} x real time), so its results are degraded."
        for drift in data.precision.get("drifts", ())
        if drift.get("is_unusual")
    ]


def _job_texts(data: RunData) -> list[str]:
    counts = data.run["counts"]
    total = sum(counts.values())
    missing = total - counts.get("succeeded", 0)
    if not missing:
        return []
    states = ", ".join(
        f"{count} {state}"
        for state, count in sorted(counts.items())
        if count and state != "succeeded"
    )
    return [f"{missing} of {total} jobs have not succeeded: {states}."]


def _verdict_texts(data: RunData) -> list[str]:
    texts = []
    for verdict, effect in (
        ("degraded", "their values are included"),
        ("invalid", "their values are excluded"),
    ):
        found = [
            reasons
            for result in data.scenario_results
            for state, reasons in [verdict_of(result)]
            if state == verdict
        ]
        if found:
            codes = Counter(
                code for reasons in found for code in {each["code"] for each in reasons}
            )
            names = ", ".join(f"{code} in {count}" for code, count in sorted(codes.items()))
            texts.append(
                f"{len(found)} of {len(data.scenario_results)} results are {verdict} "
                f"({names}); {effect}."
            )
    return texts
