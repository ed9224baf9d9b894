"""Plan of a run as text for the operator: what would be queued, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

from .api import Json
from .phrases import counted, listed
from .progress import duration_text, omission_texts

_MAX_SCENARIOS = 20
_MAX_NODES = 20
_MAX_FILES = 10


def plan_lines(plan: Json) -> list[str]:
    """Return the jobs, nodes and expected duration of a plan as lines of text.

    Args:
        plan: Plan of a run that does not exist yet.

    Returns:
        The lines.
    """
    nodes = plan["nodes"]
    on_nodes = (
        f"{counted(len(nodes), 'node')} ({listed(nodes, _MAX_NODES)})" if nodes else "no node"
    )
    least = "" if plan["max_repeats"] is None else "at least "
    return [
        f"{least}{counted(plan['total_jobs'], 'job')} on {on_nodes}: {_composition(plan)}",
        f"Scenarios: {listed(plan['scenarios'], _MAX_SCENARIOS)}",
        *_control_lines(plan),
        _duration_line(plan["expected"]),
        *_file_lines(plan["files"]),
        *omission_texts(plan),
        *waiting_lines(plan),
    ]


def waiting_lines(plan: Json) -> Iterator[str]:
    """Yield the scenarios of a plan that no active node can run, each group with its reason."""
    for group in plan["waiting"]:
        yield f"{listed(group['scenarios'], _MAX_SCENARIOS)}: {group['reason']}"


def waiting_refusal(plan: Json, permission: str) -> str:
    """Return the message for a run that would wait for a node.

    Args:
        plan: Plan of the run.
        permission: Option with which the operator permits the wait.
    """
    waiting = sum(len(group["scenarios"]) for group in plan["waiting"])
    share = f"{waiting} of {counted(len(plan['scenarios']), 'scenario')}"
    lines = [
        f"No active node can run {share}, so the run would wait:",
        *waiting_lines(plan),
        "Deploy, start or resume a node that can run them, or remove them from the suite. To queue "
        f"the run anyway, so that these jobs wait for such a node, use {permission}",
    ]
    return "\n".join(lines)


def _composition(plan: Json) -> str:
    scenarios, repeats = counted(len(plan["scenarios"]), "scenario"), plan["repeats"]
    most = plan["max_repeats"]
    if most is None:
        text = f"{scenarios}, each measured {_times(repeats)}"
    else:
        text = f"{scenarios}, each measured {repeats} to {_times(most)}, until it is precise"
    measured = plan["total_jobs"] - plan["control_jobs"]
    if measured > len(plan["scenarios"]) * repeats:
        text += ", on each node that can run it"
    if plan["control_jobs"]:
        text += f"; {counted(plan['control_jobs'], 'control encode')} (the first and the last job "
        text += "of each node; there are more if the run takes over six hours)"
    return text


def _control_lines(plan: Json) -> Iterator[str]:
    """Yield why a run has control encodes and what they cost, unless it has none."""
    reason = plan.get("control_reason")
    if not plan["control_jobs"] or not reason:
        return
    duration_s = plan.get("control_s")
    cost = (
        "their duration is not known yet"
        if duration_s is None
        else f"they take about {duration_text(duration_s)} on each node"
    )
    yield f"Control encodes: added because {reason}; {cost}"


def _file_lines(files: list[Json]) -> Iterator[str]:
    """Yield a line about the files of the suite, unless it lists none."""
    missing = [file["path"] for file in files if not file["is_stored"]]
    parts = []
    if len(files) > len(missing):
        parts.append(f"{counted(len(files) - len(missing), 'file')} on the master")
    if missing:
        parts.append(
            f"{counted(len(missing), 'file')} to be copied ({listed(missing, _MAX_FILES)})"
        )
    if parts:
        yield f"Files: {', '.join(parts)}"


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"  # noqa: PLR2004


def _duration_line(expected: Json) -> str:
    if expected["duration_s"] is None:
        return f"Expected duration: unknown, because {expected['reason']}"
    least = "at least " if expected["is_minimum"] else "about "
    return (
        f"Expected duration: {least}{duration_text(expected['duration_s'])} if no other jobs run, "
        "according to earlier runs"
    )
