"""Copy of what the API provides of a farm, in a directory that a later copy extends.

The directory contains `farm/` with documents about the farm and all results, `runs/` with a
directory of results for each run, and `backup.json` with the runs that are complete. Other users
cannot read it, because it contains the names of tokens and the audit log.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from ffrtmp_client import results, runs
from ffrtmp_client.api import Json, Master
from ffrtmp_client.errors import RefusedError
from ffrtmp_client.folder import Folder, check_belongs_to, replacing
from ffrtmp_client.result_files import EXPORT_MAX_BYTES, read_results, write_results

from ffrtmp_cli.errors import CommandError

_NO_DOCUMENT = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_INDEX = "backup.json"
_EXPORT = "results.jsonl"
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600


@dataclass
class BackupSummary:
    """Summary of a backup.

    Attributes:
        written: The number of runs that were written.
        unchanged: The number of runs that an earlier backup has written completely.
        omitted: The documents that the token may not read, that the farm does not have, or that are
            too large.
        missing: The paths of artifacts that the master could not provide.
    """

    written: int = 0
    unchanged: int = 0
    omitted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def write_backup(master: Master, path: Path, report: Callable[[str], None]) -> BackupSummary:
    """Write everything that the API provides to a directory.

    Args:
        master: Connection to the master.
        path: The directory, which may contain an earlier backup of the same farm.
        report: Function that receives a message for each run that is written, and for an
            omitted export.

    Raises:
        CommandError: The directory contains something else.
        ApiError: The master did not provide a document, or a file cannot be written.
    """
    summary = BackupSummary()
    index = _read_index(path)
    _make_private(path)
    # Without an index, an interrupted backup could not be continued.
    _write_index(path, index)
    farm = path / "farm"
    _make_private(farm)
    _write_documents(master, Folder(farm, is_dry=False, file_mode=_FILE_MODE), summary)
    for run in master.pages("/v1/runs", {"limit": "1000"}):
        name = results.directory_name(run)
        state = {"directory": name, "finished_at": run["finished_at"], "counts": run["counts"]}
        directory = path / "runs" / name
        if index.get(run["id"]) == state and (directory / "SHA256SUMS").is_file():
            summary.unchanged += 1
            continue
        report(f"Run {run['id']} of suite {run['suite_name']}")
        check_belongs_to(directory, run["id"])
        read = read_results(master, run["id"])
        modified_s = results.end_s(read.run, read.results)
        folder = Folder(directory, is_dry=False, modified_s=modified_s, file_mode=_FILE_MODE)
        missing = write_results(master, read, folder)
        summary.written += 1
        summary.missing += [f"runs/{name}/{entry['path']}" for entry in missing]
        # A run that continues, or an artifact that could not be read, is written again next time.
        if runs.is_final(read.run) and all(entry["is_removed"] for entry in missing):
            index[run["id"]] = state
            _write_index(path, index)
    # The export is the largest document, so its failure must not prevent the copy of the runs.
    try:
        _write_export(master, farm / _EXPORT)
    except _ExportTooLargeError:
        summary.omitted.append(_EXPORT)
        report(
            f"The export of all results has more than {EXPORT_MAX_BYTES} bytes and is omitted; "
            "the directories of the runs contain their results"
        )
    return summary


class _ExportTooLargeError(Exception):
    """An export that exceeds EXPORT_MAX_BYTES."""


def _make_private(path: Path) -> None:
    """Create a directory, or restrict an existing one. Raises CommandError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)
        path.chmod(_DIRECTORY_MODE)
    except OSError as error:
        raise CommandError(
            f"{path} cannot be a private directory: {error.strerror}. Choose another directory"
        ) from error


def _write_index(path: Path, index: dict[str, Json]) -> None:
    folder = Folder(path, is_dry=False, file_mode=_FILE_MODE)
    folder.put(_INDEX, results.as_json({"runs": index}))


def _read_index(path: Path) -> dict[str, Json]:
    """Return the runs of an earlier backup. Raises CommandError if it is another directory."""
    try:
        index = json.loads((path / _INDEX).read_bytes())["runs"]
        return dict(index)
    except FileNotFoundError:
        if path.is_dir() and any(path.iterdir()):
            raise CommandError(
                f"{path} is not empty and does not contain a backup. Choose a new directory"
            ) from None
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{path / _INDEX} is not the index of a backup. Choose a new directory"
        ) from error


def _write_documents(master: Master, folder: Folder, summary: BackupSummary) -> None:
    """Write the documents of the farm."""
    documents: dict[str, Callable[[], object]] = {
        "nodes.json": lambda: master.get("/v1/nodes"),
        "prices.json": lambda: master.get("/v1/prices"),
        "tokens.json": lambda: list(master.pages("/v1/tokens", {"limit": "1000"})),
        "audit.json": lambda: list(master.pages("/v1/audit", {"limit": "1000"})),
    }
    for name, read in documents.items():
        try:
            folder.put(name, results.as_json(read()))
        except RefusedError as error:
            if error.status not in _NO_DOCUMENT:
                raise
            summary.omitted.append(name)


def _write_export(master: Master, target: Path) -> None:
    """Write all results, including those of single jobs. Raises _ExportTooLargeError."""
    written = 0
    with replacing(target, _FILE_MODE) as file:
        for part in master.stream("/v1/results/export", {"format": "jsonl"}):
            written += len(part)
            if written > EXPORT_MAX_BYTES:
                raise _ExportTooLargeError
            file.write(part)
