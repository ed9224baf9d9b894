"""Export of the results of a run, from their directory to one reproducible zip file."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from . import results, runs
from .api import Json
from .bundle_archive import MAX_BYTES, MAX_FILES
from .bundle_manifest import MANIFEST_NAME, FileEntry, Manifest, MissingFile, manifest_bytes
from .errors import CorruptError, SettingsError
from .node_environments import NODES_NAME, node_environments
from .saved_results import DOCUMENT_NAME, TABLE_NAME, read_document
from .stored_files import (
    SUMS_MAX_BYTES,
    SUMS_NAME,
    DirectoryFiles,
    is_safe_path,
    parse_sha256sums,
)

_SUITE_NAME = "suite.yml"
_MISSING_NAME = "missing.json"
_MISSING_MAX_BYTES = 256 * 1024**2
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
_FILE_MODE = 0o644
_UNIX = 3
_BLOCK_BYTES = 1024**2


@dataclass(frozen=True)
class BundleContent:
    """Contents of the bundle of a directory.

    Attributes:
        files: The files of the directory.
        manifest: The manifest.
        generated: The contents of files that are not in the directory, by path.
        omitted: The files of the directory that SHA256SUMS does not list, sorted by path.
        modified_s: The time of the entries, as Unix time in seconds.
    """

    files: DirectoryFiles
    manifest: Manifest
    generated: Mapping[str, bytes]
    omitted: Sequence[str]
    modified_s: float


def bundle_content(directory: Path, release: str, farm: str = "") -> BundleContent:
    """Return the contents of the bundle of a directory of results.

    Args:
        directory: The directory, which `ffrtmp results` or run-benchmark.yml has written.
        release: The release of ffrtmp.
        farm: The name of the farm. If it is empty, the name in the results is used.

    Raises:
        SettingsError: The directory does not contain the results of a run.
    """
    files = DirectoryFiles(directory)
    digests = _digests(directory, files)
    document = read_document(directory / DOCUMENT_NAME)
    run, found = document["run"], document["results"]
    generated: dict[str, bytes] = {}
    if NODES_NAME not in digests:
        nodes = node_environments(run, found, None)
        generated[NODES_NAME] = results.as_json({"nodes": nodes})
    entries = [
        FileEntry(name, digest, _size_bytes(directory / name))
        for name, digest in digests.items()
        if name in files.names
    ]
    entries += [
        FileEntry(name, hashlib.sha256(content).hexdigest(), len(content))
        for name, content in generated.items()
    ]
    _check_limits(directory, entries)
    try:
        # The name of the zip file is made of the run's time, suite and id.
        results.directory_name(run)
        expected = _expected(found)
        modified_s = results.end_s(run, found)
        job_count = runs.job_count(run)
        is_final = runs.is_final(run)
    except (LookupError, TypeError, ValueError, AttributeError, CorruptError) as error:
        raise SettingsError(
            f"{directory / DOCUMENT_NAME} does not have the form of this release "
            f"({type(error).__name__}: {error}). Write the directory again: "
            "ffrtmp results RUN --directory DIR"
        ) from error
    missing = _missing(files, digests, expected)
    name = farm or document.get("farm")
    manifest = Manifest(
        release=release,
        created_at=datetime.fromtimestamp(modified_s, UTC).isoformat().replace("+00:00", "Z"),
        farm=name if isinstance(name, str) and name else None,
        run={
            key: run.get(key) for key in ("id", "suite_name", "state", "created_at", "finished_at")
        },
        is_complete=is_final and 0 < job_count == len(found) and not missing,
        job_count=job_count,
        result_count=len(found),
        files=sorted(entries, key=lambda entry: entry.path),
        missing=missing,
    )
    listed = {SUMS_NAME, MANIFEST_NAME, *digests}
    return BundleContent(
        files=files,
        manifest=manifest,
        generated=generated,
        omitted=sorted(files.names - listed),
        modified_s=modified_s,
    )


def write_bundle(content: BundleContent, file: IO[bytes]) -> None:
    """Write a bundle. Equal contents give equal bytes, with the same release and zlib.

    Args:
        content: Its contents.
        file: The file, which is open for writing.

    Raises:
        SettingsError: A file of the directory does not have the digest in SHA256SUMS.
    """
    manifest = manifest_bytes(content.manifest)
    digests = {entry.path: entry.sha256 for entry in content.manifest.files}
    digests[MANIFEST_NAME] = hashlib.sha256(manifest).hexdigest()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(content, MANIFEST_NAME, len(manifest)), manifest)
        for entry in content.manifest.files:
            if entry.path in content.generated:
                archive.writestr(
                    _entry(content, entry.path, entry.size_bytes), content.generated[entry.path]
                )
            else:
                _copy(content, entry, archive)
        sums = results.as_sha256sums(digests)
        archive.writestr(_entry(content, SUMS_NAME, len(sums)), sums)


def _copy(content: BundleContent, entry: FileEntry, archive: zipfile.ZipFile) -> None:
    digest, size = hashlib.sha256(), 0
    with (
        content.files.open(entry.path) as source,
        archive.open(_entry(content, entry.path, entry.size_bytes), "w") as target,
    ):
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            if size > entry.size_bytes:
                break
            target.write(block)
    if digest.hexdigest() != entry.sha256 or size != entry.size_bytes:
        raise SettingsError(
            f"{entry.path} is damaged: it does not have the digest in {SUMS_NAME}. List all "
            "damaged files with ffrtmp verify DIRECTORY, and write them again: "
            "ffrtmp results RUN --directory DIR"
        )


def _entry(content: BundleContent, name: str, size_bytes: int) -> zipfile.ZipInfo:
    """Return an entry that does not depend on the host or on the time of the export."""
    modified = max(datetime.fromtimestamp(content.modified_s, UTC), _EARLIEST)
    entry = zipfile.ZipInfo(name, modified.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = _UNIX
    entry.external_attr = (stat.S_IFREG | _FILE_MODE) << 16
    entry.file_size = size_bytes
    return entry


def _digests(directory: Path, files: DirectoryFiles) -> dict[str, str]:
    """Return the digests of the files of a run, without those of an earlier bundle."""
    if SUMS_NAME not in files.names:
        raise SettingsError(
            f"{directory} has no {SUMS_NAME}. Name the directory of a run's results, or write it: "
            "ffrtmp results RUN --directory DIR"
        )
    try:
        digests = dict(parse_sha256sums(files.read(SUMS_NAME, SUMS_MAX_BYTES)))
    except CorruptError as error:
        raise SettingsError(
            f"{directory}: {error}. Write the directory again: ffrtmp results RUN --directory DIR"
        ) from error
    # An extracted bundle contains its manifest, which the export replaces.
    digests.pop(MANIFEST_NAME, None)
    return digests


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_limits(directory: Path, entries: Sequence[FileEntry]) -> None:
    total_bytes = sum(entry.size_bytes for entry in entries)
    if len(entries) + 2 > MAX_FILES or total_bytes > MAX_BYTES:
        raise SettingsError(
            f"{directory} has {len(entries)} files with {total_bytes} bytes; a bundle has at most "
            f"{MAX_FILES} files with {MAX_BYTES} bytes. Archive the directory in another way, such "
            "as with tar"
        )


def _expected(found: Sequence[Json]) -> list[str]:
    """Return the paths of the files that a complete directory has."""
    return [
        DOCUMENT_NAME,
        TABLE_NAME,
        _SUITE_NAME,
        *(
            results.artifact_path(result, artifact["name"])
            for result in found
            for artifact in result["artifacts"]
        ),
    ]


def _missing(
    files: DirectoryFiles, digests: Mapping[str, str], expected: Sequence[str]
) -> list[MissingFile]:
    reasons = _reasons(files)
    absent = {name for name in {*expected, *digests} if not _is_present(files, digests, name)}
    return [
        MissingFile(name, reasons.get(name, "the directory does not contain it"))
        for name in sorted(absent)
    ]


def _is_present(files: DirectoryFiles, digests: Mapping[str, str], name: str) -> bool:
    return name in digests and name in files.names


def _reasons(files: DirectoryFiles) -> dict[str, str]:
    """Return why artifacts are missing, as far as missing.json states it."""
    if _MISSING_NAME not in files.names:
        return {}
    try:
        entries: Any = json.loads(files.read(_MISSING_NAME, _MISSING_MAX_BYTES))
    except (ValueError, RecursionError):
        return {}
    return {
        entry["path"]: str(entry["reason"])
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        and isinstance(entry.get("path"), str)
        and is_safe_path(entry["path"])
        and "reason" in entry
    }
