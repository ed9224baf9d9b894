"""Runs and jobs as text for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ffrtmp_client.api import Json
from ffrtmp_client.progress import count_text, run_notes, waiting_text

from ffrtmp_cli.run_documents import JobEntry, RunEntry, Transition
from ffrtmp_cli.text_table import text_list, text_table


def time_text(moment: str | None) -> str:
    """Return a time of the API in UTC as text, or an empty text if there is none."""
    if moment is None:
        return ""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def runs_text(entries: Sequence[RunEntry]) -> str:
    """Return runs as a table."""
    rows = [
        (
            entry.id,
            entry.suite,
            entry.state,
            _share(entry.counts),
            time_text(entry.created_at),
            entry.created_by,
        )
        for entry in entries
    ]
    if not rows:
        return "There are no runs."
    return text_table(("run", "suite", "state", "succeeded", "queued at", "by"), rows)


def _share(counts: dict[str, int]) -> str:
    return f"{counts.get('succeeded', 0)}/{sum(counts.values())}"


def run_text(run: Json, entries: Sequence[JobEntry]) -> str:
    """Return a run with some of its jobs as text.

    Args:
        run: The run as the API returns it.
        entries: The jobs to show.
    """
    pairs = [
        ("run", run["id"]),
        ("suite", run["suite_name"]),
        ("state", f"{run['state']} ({count_text(run)})"),
        ("nodes", ", ".join(run["nodes"])),
        ("queued at", f"{time_text(run['created_at'])} by {run['created_by']}"),
        ("finished at", time_text(run["finished_at"])),
    ]
    notes = list(run_notes(run))
    notes += [
        text for item in run.get("pending") or () if (text := waiting_text(item)) not in notes
    ]
    parts = [text_list(pairs), *notes]
    if entries:
        parts += ["", jobs_text(entries)]
    return "\n".join(parts)


def jobs_text(entries: Sequence[JobEntry]) -> str:
    """Return jobs as a table."""
    rows = [
        (
            entry.id,
            entry.scenario,
            str(entry.repeat),
            entry.state,
            entry.node or "",
            str(entry.attempt),
            _note(entry),
        )
        for entry in entries
    ]
    if not rows:
        return "There are no jobs."
    return text_table(("job", "scenario", "repeat", "state", "node", "attempt", "note"), rows)


def _note(entry: JobEntry) -> str:
    """Return the last failure of a job, the reason why it waits, or its stage."""
    if entry.failure is not None and entry.state != "succeeded":
        return entry.failure.message.splitlines()[0] if entry.failure.message else ""
    if entry.waiting:
        return entry.waiting
    if entry.stage is None:
        return ""
    percent = f" {int(100 * entry.ratio)} %" if entry.ratio else ""
    return f"{entry.stage.replace('_', ' ')}{percent}"


def job_text(entry: JobEntry, transitions: Sequence[Transition]) -> str:
    """Return a job with its history as text."""
    pairs = [
        ("job", entry.id),
        ("run", entry.run_id or ""),
        ("scenario", f"{entry.scenario}, repeat {entry.repeat}"),
        ("state", entry.state),
        ("waits", entry.waiting or ""),
        ("node", entry.node or ""),
        ("attempt", f"{entry.attempt} of {entry.max_attempts}"),
        ("priority", entry.priority),
    ]
    if entry.stage is not None:
        pairs.append(("stage", _note(entry)))
    if entry.failure is not None:
        pairs.append(("failure", f"{entry.failure.failure_class}: {entry.failure.message}"))
    rows = [
        (time_text(step.at), step.before or "", step.after, str(step.attempt), step.reason)
        for step in transitions
    ]
    parts = [text_list(pairs), "", text_table(("time", "from", "to", "attempt", "reason"), rows)]
    if entry.failure is not None and entry.failure.log_tail:
        parts += ["", "The last lines of FFmpeg's log:", entry.failure.log_tail]
    return "\n".join(parts)
