"""Results of a run that were saved in a directory."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from . import results
from .api import Json
from .errors import CorruptError, SettingsError
from .result_files import EXPORT_MAX_BYTES, RunResults

DOCUMENT_NAME = "results.json"
"""Name of the file with the run and the documents of its results."""

TABLE_NAME = "results.csv"
"""Name of the file with the exported table of the results."""


def read_saved_results(path: Path) -> RunResults:
    """Read the results of a run from its directory, without a farm.

    Args:
        path: The directory of the results, or the file results.json in it. If the file results.csv
            is not beside it, the results have no costs.

    Raises:
        SettingsError: The files cannot be read, or do not contain the results of a run.
    """
    file = path / DOCUMENT_NAME if path.is_dir() else path
    document = _read_document(file)
    table = file.with_name(TABLE_NAME)
    try:
        columns, exported = results.parse_export(_read(table)) if table.exists() else ((), {})
    except CorruptError as error:
        raise SettingsError(f"{table} cannot be read: {error}") from error
    return RunResults(
        run=document["run"],
        results=document["results"],
        precision=document["precision"],
        columns=columns,
        exported=exported,
    )


def _read_document(file: Path) -> dict[str, Any]:
    try:
        document: Json = json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    found = document if isinstance(document, dict) else {}
    is_complete = (
        isinstance(found.get("run"), dict)
        and isinstance(found["run"].get("id"), str)
        and isinstance(found.get("results"), list)
        and all(isinstance(result, dict) for result in found["results"])
        and isinstance(found.get("precision"), dict)
    )
    if not is_complete:
        raise SettingsError(
            f"{file} does not contain the results of a run. Name the directory of a run's results, "
            f"or the file {DOCUMENT_NAME} in it"
        )
    return found


def _read(file: Path) -> str:
    """Return the text of a regular file, which is bounded in size."""
    try:
        # A named pipe without a writer would block before its type is known.
        if not stat.S_ISREG(file.stat().st_mode):
            raise SettingsError(f"{file} is not a regular file. Name the file {DOCUMENT_NAME}")
        with file.open("rb") as opened:
            content = opened.read(EXPORT_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror or error}") from error
    if len(content) > EXPORT_MAX_BYTES:
        raise SettingsError(f"{file} is larger than {EXPORT_MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8: {error}") from error
