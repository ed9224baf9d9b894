"""Check of a bundle, or of a directory of results, against its digests and its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .bundle_archive import is_bundle, open_bundle
from .bundle_manifest import MANIFEST_MAX_BYTES, MANIFEST_NAME, FileEntry, Manifest, parse_manifest
from .errors import CorruptError, SettingsError
from .result_files import EXPORT_MAX_BYTES
from .saved_results import DOCUMENT_NAME
from .stored_files import (
    SUMS_MAX_BYTES,
    SUMS_NAME,
    StoredFiles,
    directory_files,
    parse_sha256sums,
)


class ProblemKind(StrEnum):
    """Kind of a problem with a file."""

    DAMAGED = "damaged"
    MISSING = "missing"
    ADDITIONAL = "additional"


@dataclass(frozen=True)
class Problem:
    """A problem with a file.

    Attributes:
        path: The path of the file.
        kind: The kind of the problem.
        reason: What differs.
    """

    path: str
    kind: ProblemKind
    reason: str


@dataclass(frozen=True)
class Verification:
    """Result of a check.

    Attributes:
        is_bundle: Whether a zip file was checked.
        file_count: The number of files whose digests were computed.
        manifest: The manifest; None if there is none, or if it is damaged.
        problems: The problems, sorted by the path of the file.
    """

    is_bundle: bool
    file_count: int
    manifest: Manifest | None
    problems: tuple[Problem, ...]


def verify(path: Path) -> Verification:
    """Check all digests and the manifest of a bundle or of a directory of results.

    A directory of results has no manifest, unless it is an extracted bundle.

    Args:
        path: The zip file, or the directory.

    Raises:
        SettingsError: It is neither, cannot be read, or is a zip file that is not accepted.
    """
    opened: AbstractContextManager[StoredFiles]
    if path.is_dir():
        opened = directory_files(path)
    elif is_bundle(path):
        opened = open_bundle(path)
    elif path.exists():
        raise SettingsError(
            f"{path} is neither a zip file nor a directory. Name the file that ffrtmp export has "
            "written, or a directory of results"
        )
    else:
        raise SettingsError(f"{path} does not exist. Name a zip file or a directory of results")
    with opened as files:
        return _verify(files, must_have_manifest=not path.is_dir())


def _verify(files: StoredFiles, *, must_have_manifest: bool) -> Verification:
    problems: list[Problem] = []
    digests = _read_digests(files, problems)
    manifest = _read_manifest(files, problems, is_required=must_have_manifest)
    entries = {entry.path: entry for entry in manifest.files} if manifest else {}
    listed = sorted({*digests, *entries})
    damaged = {SUMS_NAME, MANIFEST_NAME} & {problem.path for problem in problems}
    for name in listed:
        if name not in damaged:
            problems += _file_problems(files, name, digests.get(name), entries.get(name))
    is_listed = bool(digests)
    if is_listed and manifest:
        problems += _list_problems(digests, entries)
    if is_listed or manifest:
        problems += [
            Problem(name, ProblemKind.ADDITIONAL, "no list of files contains it")
            for name in files.names - {*listed, SUMS_NAME, MANIFEST_NAME}
        ]
    if DOCUMENT_NAME not in listed and (is_listed or manifest):
        problems.append(Problem(DOCUMENT_NAME, ProblemKind.MISSING, "a run has this file"))
    elif manifest and DOCUMENT_NAME not in {problem.path for problem in problems}:
        problems += _run_problems(files, manifest)
    return Verification(
        is_bundle=must_have_manifest,
        file_count=sum(name in files.names for name in listed),
        manifest=manifest,
        problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.kind))),
    )


def _read_digests(files: StoredFiles, problems: list[Problem]) -> Mapping[str, str]:
    if SUMS_NAME not in files.names:
        problems.append(Problem(SUMS_NAME, ProblemKind.MISSING, "it lists the digests"))
        return {}
    try:
        digests = parse_sha256sums(files.read(SUMS_NAME, SUMS_MAX_BYTES))
    except (CorruptError, SettingsError) as error:
        problems.append(Problem(SUMS_NAME, ProblemKind.DAMAGED, str(error)))
        return {}
    if not digests:
        problems.append(Problem(SUMS_NAME, ProblemKind.DAMAGED, "it is empty"))
    return digests


def _read_manifest(
    files: StoredFiles, problems: list[Problem], *, is_required: bool
) -> Manifest | None:
    if MANIFEST_NAME not in files.names:
        if is_required:
            reason = "it describes the bundle"
            problems.append(Problem(MANIFEST_NAME, ProblemKind.MISSING, reason))
        return None
    try:
        return parse_manifest(files.read(MANIFEST_NAME, MANIFEST_MAX_BYTES))
    except (CorruptError, SettingsError) as error:
        problems.append(Problem(MANIFEST_NAME, ProblemKind.DAMAGED, str(error)))
        return None


def _file_problems(
    files: StoredFiles, name: str, digest: str | None, entry: FileEntry | None
) -> Iterator[Problem]:
    """Yield the problem of a file that is listed, if it has one."""
    if name not in files.names:
        yield Problem(name, ProblemKind.MISSING, "a list of files contains it")
        return
    try:
        sha256, size_bytes = files.measure(name)
    except SettingsError as error:
        yield Problem(name, ProblemKind.DAMAGED, str(error))
        return
    if digest is not None and digest != sha256:
        yield Problem(name, ProblemKind.DAMAGED, f"its SHA-256 is not that in {SUMS_NAME}")
    elif entry is not None and entry.sha256 != sha256:
        yield Problem(name, ProblemKind.DAMAGED, f"its SHA-256 is not that in {MANIFEST_NAME}")
    elif entry is not None and entry.size_bytes != size_bytes:
        yield Problem(name, ProblemKind.DAMAGED, f"its size is not that in {MANIFEST_NAME}")


def _list_problems(
    digests: Mapping[str, str], entries: Mapping[str, FileEntry]
) -> Iterator[Problem]:
    """Yield the differences between the two lists of files."""
    for name in sorted({MANIFEST_NAME, *entries} - set(digests)):
        yield Problem(SUMS_NAME, ProblemKind.DAMAGED, f"it does not list {name}")
    for name in sorted(set(digests) - {MANIFEST_NAME, *entries}):
        yield Problem(name, ProblemKind.ADDITIONAL, f"{MANIFEST_NAME} does not list it")


def _run_problems(files: StoredFiles, manifest: Manifest) -> Iterator[Problem]:
    """Yield a problem if the results are those of another run than the manifest names."""
    try:
        run_id = json.loads(files.read(DOCUMENT_NAME, EXPORT_MAX_BYTES))["run"]["id"]
    except SettingsError as error:
        yield Problem(DOCUMENT_NAME, ProblemKind.DAMAGED, str(error))
        return
    except (ValueError, LookupError, TypeError, RecursionError):
        reason = "it does not contain the results of a run"
        yield Problem(DOCUMENT_NAME, ProblemKind.DAMAGED, reason)
        return
    if run_id != manifest.run["id"]:
        reason = f"it names another run than {DOCUMENT_NAME}"
        yield Problem(MANIFEST_NAME, ProblemKind.DAMAGED, reason)
