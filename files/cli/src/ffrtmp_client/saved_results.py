"""Results of a run that were saved in a directory or in a bundle."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import results
from .api import Json
from .bundle_archive import BundleArchive, is_bundle, open_bundle
from .bundle_manifest import MANIFEST_MAX_BYTES, MANIFEST_NAME, parse_manifest
from .errors import CorruptError, SettingsError
from .result_files import EXPORT_MAX_BYTES, RunResults

DOCUMENT_NAME = "results.json"
"""Name of the file with the run and the documents of its results."""

TABLE_NAME = "results.csv"
"""Name of the file with the exported table of the results."""


def read_saved_results(path: Path) -> RunResults:
    """Read the results of a run from its directory or its bundle, without a farm.

    Args:
        path: The directory of the results, the file results.json in it, or the zip file that
            `ffrtmp export` has written. If the file results.csv is not beside results.json, the
            results have no costs.

    Raises:
        SettingsError: The files cannot be read, are damaged, or do not contain the results of a
            run.
    """
    if is_bundle(path):
        document, table = _read_bundle(path)
        table_name = f"{TABLE_NAME} in {path}"
    else:
        file = path / DOCUMENT_NAME if path.is_dir() else path
        document = read_document(file)
        beside = file.with_name(TABLE_NAME)
        table = _read(beside) if beside.exists() else None
        table_name = str(beside)
    try:
        columns, exported = ((), {}) if table is None else results.parse_export(table)
    except CorruptError as error:
        raise SettingsError(f"{table_name} cannot be read: {error}") from error
    return RunResults(
        run=document["run"],
        results=document["results"],
        precision=document["precision"],
        columns=columns,
        exported=exported,
        farm_name=str(document.get("farm") or ""),
    )


def read_document(path: Path) -> dict[str, Any]:
    """Return the document of the results of a run.

    Args:
        path: The directory of the results, the file results.json in it, or a bundle.

    Raises:
        SettingsError: It cannot be read, is damaged, or does not contain the results of a run.
    """
    file = path / DOCUMENT_NAME if path.is_dir() else path
    if is_bundle(file):
        return _read_bundle(file)[0]
    return _parse_document(file, _read(file))


def _read_bundle(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the document of the results in a bundle, and their table if it has one."""
    with open_bundle(path) as files:
        try:
            manifest = parse_manifest(files.read(MANIFEST_NAME, MANIFEST_MAX_BYTES))
        except CorruptError as error:
            raise SettingsError(
                f"{path} is not a bundle: {error}. Name a file that ffrtmp export has written"
            ) from error
        digests = {entry.path: entry.sha256 for entry in manifest.files}
        document = _parse_document(path, _read_entry(path, files, DOCUMENT_NAME, digests))
        if document["run"]["id"] != manifest.run["id"]:
            raise SettingsError(
                f"the manifest of {path} names another run than its results. Check it with ffrtmp "
                "verify, and export the run again"
            )
        if TABLE_NAME not in digests:
            return document, None
        return document, _read_entry(path, files, TABLE_NAME, digests)


def _read_entry(path: Path, files: BundleArchive, name: str, digests: Mapping[str, str]) -> str:
    """Return the text of a file in a bundle. Its digest must be that of the manifest."""
    content = files.read(name, EXPORT_MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != digests.get(name):
        raise SettingsError(
            f"{name} in {path} is damaged: its SHA-256 is not that in {MANIFEST_NAME}. Check the "
            "file with ffrtmp verify, and copy or export it again"
        )
    return _decode(f"{name} in {path}", content)


def _parse_document(file: Path, text: str) -> dict[str, Any]:
    try:
        document: Json = json.loads(text)
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
            f"the file {DOCUMENT_NAME} in it, or a bundle"
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
    return _decode(str(file), content)


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name} is not UTF-8: {error}") from error
