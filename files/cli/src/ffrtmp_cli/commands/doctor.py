"""The command `ffrtmp doctor`: checks whether this host can measure."""

import os
import tempfile
from pathlib import Path

import click
from ffrtmp_worker.measure.host_files import HostFiles
from rich.markup import escape
from rich.table import Table

from ffrtmp_cli.diagnosis import redaction
from ffrtmp_cli.diagnosis.diagnosed_host import DiagnosedHost
from ffrtmp_cli.diagnosis.diagnosis import CheckedPrograms, Diagnosis, diagnose
from ffrtmp_cli.diagnosis.findings import Status
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.ffmpeg_origin import find_program
from ffrtmp_cli.output import json_output, print_message
from ffrtmp_cli.rich_text import render

_STYLES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAULT: "bold red",
    Status.UNAVAILABLE: "dim",
}

_WORKER_DIRECTORY = Path("/var/lib/ffmpeg-rtmp/worker")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


def _failure(diagnosis: Diagnosis) -> str:
    if not diagnosis.faults:
        return ""
    faults = [finding.id for finding in diagnosis.findings if finding.status is Status.FAULT]
    return f"this host has faults that make measurements wrong or impossible: {', '.join(faults)}"


@click.command(
    help="Check whether this host can measure: energy counters under load, CPU frequency, clock, "
    "disk, memory, other load, FFmpeg and the encoders of GPUs. This takes about 15 seconds; all "
    "CPUs are busy for 5 of them. The exit code is 1 if a fault is found."
)
@click.option("--ffmpeg", type=_FILE, help="FFmpeg to check.  [default: that of PATH]")
@click.option("--ffprobe", type=_FILE, help="ffprobe to check.  [default: that of PATH]")
@click.option(
    "--directory",
    type=_DIRECTORY,
    help="Directory whose disk is checked.  [default: that of the worker, or the current one]",
)
@click.option("--redact", is_flag=True, help="Replace the names of the host and of the user.")
@click.option(
    "--root",
    type=_DIRECTORY,
    default=Path("/"),
    hidden=True,
    help="Directory with the folders proc, sys and dev, for tests.",
)
@json_output(Diagnosis, _failure)
def command(
    *,
    ffmpeg: Path | None,
    ffprobe: Path | None,
    directory: Path | None,
    redact: bool,
    root: Path,
) -> tuple[Diagnosis, str]:
    """Check this host, and return the diagnosis and its table."""
    host = DiagnosedHost(files=HostFiles(proc=root / "proc", sys=root / "sys"), dev=root / "dev")
    programs = CheckedPrograms(
        ffmpeg=ffmpeg or find_program("ffmpeg"), ffprobe=ffprobe or find_program("ffprobe")
    )
    try:
        found = diagnose(
            host,
            programs,
            directory or _default_directory(),
            lambda step: print_message(f"Checking {step} ..."),
        )
    except OSError as error:
        raise CommandError(f"this host cannot be checked: {error}") from error
    if redact:
        found = _redacted(found)
    return found, _table(found)


def _default_directory() -> Path:
    """Return the directory of the worker's data, or the current one, or that of temporary files."""
    candidates = (_WORKER_DIRECTORY, Path.cwd())
    writable = (path for path in candidates if os.access(path, os.W_OK | os.X_OK))
    return next(writable, Path(tempfile.gettempdir()))


def _redacted(found: Diagnosis) -> Diagnosis:
    return redaction.redact(found, redaction.names_to_redact())


def _table(found: Diagnosis) -> str:
    table = Table(box=None, pad_edge=False)
    for title in ("CHECK", "STATE", "FOUND"):
        table.add_column(title, overflow="fold", no_wrap=title != "FOUND")
    for finding in found.findings:
        style = _STYLES[finding.status]
        text = escape(finding.found)
        if finding.remedy:
            text += f"\n-> {escape(finding.remedy)}"
        table.add_row(finding.id, f"[{style}]{finding.status}[/]", text)
    host = found.host
    title = f"{host.cpu_model}, {host.cpu_count} CPUs, {host.os}, Linux {host.kernel}"
    summary = f"Faults: {found.faults}, warnings: {found.warnings}"
    return f"{title}\n\n{render(table)}\n{summary}"
