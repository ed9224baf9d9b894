"""Manifest of a bundle: the run, the release that wrote it, and all files with their digests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .api import Json
from .errors import CorruptError
from .results import as_json
from .stored_files import is_safe_path
from .value_rules import SHA256

MANIFEST_NAME = "manifest.json"
"""Name of the file with the manifest."""

MANIFEST_MAX_BYTES = 512 * 1024**2
"""Maximum size of the manifest, in bytes."""

SCHEMA = "ffrtmp/bundle"
"""Name of the schema of manifests."""

SCHEMA_VERSION = 1
"""Version of the schema. A higher version only adds fields and files, which readers ignore."""

_SHA256 = re.compile(SHA256)


@dataclass(frozen=True)
class FileEntry:
    """A file of a bundle.

    Attributes:
        path: Its path in the bundle.
        sha256: Its SHA-256.
        size_bytes: Its size, in bytes.
    """

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class MissingFile:
    """A file of the run that the bundle does not contain.

    Attributes:
        path: The path that it would have.
        reason: Why it is missing.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """The manifest of a bundle.

    Attributes:
        release: The release of ffrtmp that wrote the bundle.
        created_at: The time of the contents: the end of the run, or else its last result.
        farm: The name of the farm; None if it is unknown.
        run: The id, suite_name, state, created_at and finished_at of the run.
        is_complete: Whether the run has ended, each of its jobs has a result and no file is
            missing.
        job_count: The number of jobs of the run.
        result_count: The number of results.
        files: All files except the manifest and SHA256SUMS, sorted by path.
        missing: The files of the run that the bundle does not contain, sorted by path.
        schema_version: The version of the schema.
    """

    release: str
    created_at: str
    farm: str | None
    run: Mapping[str, Any]
    is_complete: bool
    job_count: int
    result_count: int
    files: Sequence[FileEntry]
    missing: Sequence[MissingFile]
    schema_version: int = SCHEMA_VERSION

    @property
    def is_newer(self) -> bool:
        """Return whether a later release has written it, with more than this release knows."""
        return self.schema_version > SCHEMA_VERSION


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return a manifest as JSON."""
    return as_json(
        {
            "schema": SCHEMA,
            "schema_version": manifest.schema_version,
            "producer": {"name": "ffrtmp", "release": manifest.release},
            "created_at": manifest.created_at,
            "farm": manifest.farm,
            "run": dict(manifest.run),
            "is_complete": manifest.is_complete,
            "job_count": manifest.job_count,
            "result_count": manifest.result_count,
            "files": [asdict(entry) for entry in manifest.files],
            "missing": [asdict(entry) for entry in manifest.missing],
        }
    )


def parse_manifest(content: bytes) -> Manifest:
    """Return a manifest. Fields and versions of later releases are permitted.

    Args:
        content: The content of the file.

    Raises:
        CorruptError: It is not a manifest.
    """
    try:
        document: Json = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{MANIFEST_NAME} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise CorruptError(f"{MANIFEST_NAME} is not the manifest of a bundle ({SCHEMA})")
    run = _field(document, "run", dict)
    _field(run, "id", str)
    farm = document.get("farm")
    if not isinstance(farm, str | None):
        raise CorruptError(f"{MANIFEST_NAME} has no valid field farm")
    version = _field(document, "schema_version", int)
    if version < 1:
        raise CorruptError(f"{MANIFEST_NAME} has no valid field schema_version")
    manifest = Manifest(
        release=_field(_field(document, "producer", dict), "release", str),
        created_at=_field(document, "created_at", str),
        farm=farm,
        run=run,
        is_complete=_field(document, "is_complete", bool),
        job_count=_field(document, "job_count", int),
        result_count=_field(document, "result_count", int),
        files=[_file_entry(entry) for entry in _field(document, "files", list)],
        missing=[_missing_file(entry) for entry in _field(document, "missing", list)],
        schema_version=version,
    )
    paths = [entry.path for entry in manifest.files]
    if len(set(paths)) != len(paths):
        raise CorruptError(f"{MANIFEST_NAME} lists a file twice")
    return manifest


def _field(document: Any, name: str, kind: type) -> Any:
    """Return a field of an object. Raises CorruptError unless it has the type `kind`."""
    value = document.get(name) if isinstance(document, dict) else None
    # True is an integer for Python, but not for JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CorruptError(f"{MANIFEST_NAME} has no valid field {name}")
    return value


def _file_entry(entry: Any) -> FileEntry:
    path, sha256 = _field(entry, "path", str), _field(entry, "sha256", str)
    size_bytes = _field(entry, "size_bytes", int)
    if not is_safe_path(path) or not _SHA256.match(sha256) or size_bytes < 0:
        raise CorruptError(f"{MANIFEST_NAME} lists a file with an invalid path, digest or size")
    return FileEntry(path, sha256, size_bytes)


def _missing_file(entry: Any) -> MissingFile:
    return MissingFile(_field(entry, "path", str), _field(entry, "reason", str))
