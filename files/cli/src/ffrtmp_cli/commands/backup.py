"""The command `ffrtmp backup`, which copies all runs and results to a directory."""

from pathlib import Path

import click
import msgspec
from ffrtmp_client.api import Master

from ffrtmp_cli.backup_directory import write_backup
from ffrtmp_cli.connection import connected
from ffrtmp_cli.errors import ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.output import json_output, print_message


class BackupDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/backup/1", kw_only=True):
    """Summary of a backup.

    Attributes:
        directory: The directory.
        written_runs: The number of runs that were written.
        unchanged_runs: The number of runs that an earlier backup has written completely.
        omitted: The documents that the token may not read, that the farm does not have, or that are
            too large.
        missing: The paths of artifacts that the master no longer has or could not provide.
    """

    directory: str
    written_runs: int
    unchanged_runs: int
    omitted: tuple[str, ...]
    missing: tuple[str, ...]


@click.command("backup", epilog=examples("ffrtmp backup farm-backup"))
@click.argument("directory", type=click.Path(file_okay=False))
@json_output(BackupDocument)
@connected
def command(master: Master, directory: str) -> tuple[BackupDocument, str, ExitCode]:
    """Copy all runs, suites, results and artifacts of the farm to DIRECTORY.

    Repeat the command with the same directory to add new runs. Nodes, prices and, for an admin, the
    names of tokens and the audit log are included. Sources, queued jobs and the tokens themselves
    are not, so a master cannot be restored from it: back up its database for that, as
    docs/backup-and-restore.md describes.
    """
    path = Path(directory).absolute()
    summary = write_backup(master, path, print_message)
    document = BackupDocument(
        directory=str(path),
        written_runs=summary.written,
        unchanged_runs=summary.unchanged,
        omitted=tuple(summary.omitted),
        missing=tuple(summary.missing),
    )
    lines = [f"{path}: {summary.written} runs written, {summary.unchanged} unchanged."]
    if summary.omitted:
        lines.append(f"Not included: {', '.join(summary.omitted)}.")
    if summary.missing:
        lines.append(
            f"{len(summary.missing)} artifacts could not be read; missing.json in the directory "
            "of each run lists them."
        )
    return document, "\n".join(lines), ExitCode.OK
