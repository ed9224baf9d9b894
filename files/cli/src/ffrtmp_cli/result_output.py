"""Results of a run as a table for the terminal, and as a directory."""

import shutil
from pathlib import Path

from ffrtmp_client import results, table
from ffrtmp_client.api import Json, Master
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.folder import Folder, check_belongs_to
from ffrtmp_client.result_files import RunResults, missing_text, read_results, write_results

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.output import print_message

_COLUMNS_MIN = 80
_COLUMNS_MAX = 240


def results_text(master: Master, run_id: str, *, is_terminal: bool) -> tuple[RunResults, str]:
    """Return the results of a run with their table as text.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
        is_terminal: Whether the table is as wide as the terminal.
    """
    read = read_results(master, run_id)
    columns = table.COLUMNS
    if is_terminal:
        columns = min(max(shutil.get_terminal_size().columns, _COLUMNS_MIN), _COLUMNS_MAX)
    return read, read.table(columns=columns)


def check_unused(directory: str) -> None:
    """Raise CommandError if a directory contains the results of a run.

    It is called before a run is queued, because the run may take hours.
    """
    if (Path(directory) / "results.json").exists():
        raise CommandError(
            f"{directory} contains the results of another run: choose another directory",
            ExitCode.USAGE,
        )


def write_directory(master: Master, read: RunResults, directory: str) -> list[Json]:
    """Write the results of a run to a directory, and warn of artifacts that no longer exist.

    Args:
        master: Connection to the master.
        read: The results.
        directory: Path of the directory, which may contain earlier results of the same run.

    Returns:
        The artifacts that are missing, which missing.json lists.

    Raises:
        CommandError: The directory belongs to another run, or artifacts could not be read.
    """
    path = Path(directory).absolute()
    try:
        check_belongs_to(path, read.run["id"])
    except SettingsError as error:
        raise CommandError(str(error).removesuffix("dest") + "directory") from error
    folder = Folder(path, is_dry=False, modified_s=results.end_s(read.run, read.results))
    missing = write_results(master, read, folder)
    removed = [entry for entry in missing if entry["is_removed"]]
    failed = [entry for entry in missing if not entry["is_removed"]]
    if removed:
        print_message(
            f"The master no longer has {len(removed)} artifacts of run {read.run['id']}: "
            f"{missing_text(removed)}. The rest was written; missing.json lists all of them."
        )
    if failed:
        raise CommandError(
            f"{len(failed)} artifacts of run {read.run['id']} could not be read: "
            f"{missing_text(failed)}. The rest is in {path}; run the command again"
        )
    return missing
