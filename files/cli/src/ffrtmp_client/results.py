"""Results of a run as files: JSON, CSV, digests and the paths of artifacts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from .api import Json
from .errors import CorruptError
from .value_rules import END

EXPORT_FIELD_BYTES_MAX = 16 * 1024 * 1024
"""Maximum size of a cell of an export, in bytes. The longest are argument lists."""

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,255}" + END)
_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9._-]+")
_SUITE_CHARACTERS_MAX = 60
_SHORT_ID_CHARACTERS = 8


def directory_name(run: Json) -> str:
    """Return the name of the directory for the results of a run: TIME-SUITE-SHORT_ID.

    The time is that of the run's creation, in UTC. The short id is the end of the run's id, because
    its beginning is the time.

    Args:
        run: The run as the API returns it.
    """
    created = _time(run["created_at"])
    suite = _UNSAFE_CHARACTERS.sub("_", run["suite_name"])[:_SUITE_CHARACTERS_MAX].strip("._-")
    name = f"{created:%Y%m%dT%H%M%SZ}-{suite or 'suite'}-{run['id'][-_SHORT_ID_CHARACTERS:]}"
    check_name(name)
    return name


def title(run: Json, farm_name: str) -> str:
    """Return the line that names a run: its suite, its farm, its id and its time in UTC."""
    farm = f", farm {farm_name}" if farm_name else ""
    created = f"{_time(run['created_at']):%Y-%m-%d %H:%M} UTC"
    return f"Suite {run['suite_name']}{farm}, run {run['id']}, {created}"


def end_s(run: Json, results: Iterable[Json]) -> float:
    """Return the end of a run, or else the time of its last result, as Unix time in seconds."""
    if run["finished_at"] is not None:
        return _time(run["finished_at"]).timestamp()
    times = [_time(result["stored_at"]) for result in results]
    return max([*times, _time(run["created_at"])]).timestamp()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def in_order(results: Iterable[Json]) -> list[Json]:
    """Return the results in a fixed order, so that files with them are reproducible."""
    return sorted(results, key=lambda r: (r["node"], r["scenario"]["name"], r["repeat"], r["id"]))


def as_json(document: Any) -> bytes:
    """Return a JSON document as bytes, which are identical for equal documents."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse_export(content: str) -> tuple[Sequence[str], dict[str, dict[str, str]]]:
    """Return the columns of an exported table, and its rows by the id of the result.

    Args:
        content: The table, as the master exports it as CSV.

    Raises:
        CorruptError: The table is not a table of results.
    """
    csv.field_size_limit(EXPORT_FIELD_BYTES_MAX)
    reader = csv.DictReader(io.StringIO(content, newline=""))
    columns = tuple(reader.fieldnames or ())
    if "result_id" not in columns:
        raise CorruptError("the master returned a table of results without the column result_id")
    try:
        rows = {row["result_id"]: row for row in reader}
    except csv.Error as error:
        raise CorruptError(f"the master returned a table that is not CSV: {error}") from error
    if any(None in row or None in row.values() for row in rows.values()):
        raise CorruptError("the master returned a table with incomplete rows")
    return columns, rows


def as_csv(
    columns: Sequence[str], rows: Mapping[str, Mapping[str, str]], results: Iterable[Json]
) -> bytes:
    """Return the rows of the given results as CSV, in the order of the results.

    Args:
        columns: The columns.
        rows: The rows of an export by the id of the result. A result that was stored after
            `results` were read is left out, so that all files contain the same results.
        results: The results.

    Raises:
        CorruptError: The export lacks a result.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = rows.get(result["id"])
        if row is None:
            raise CorruptError(f"the master's table of results lacks the result {result['id']}")
        writer.writerow(row)
    return text.getvalue().encode()


def artifact_path(result: Json, name: str) -> str:
    """Return the path of an artifact relative to the directory of the results."""
    scenario = result["scenario"]["name"].replace("/", "_")
    attempt_folder = f"{scenario}-r{int(result['repeat'])}-a{int(result['attempt'])}"
    for part in (result["node"], attempt_folder, name):
        check_name(part)
    return str(PurePosixPath("logs", result["node"], attempt_folder, name))


def check_name(name: str) -> None:
    """Raise CorruptError unless `name` is safe as a component of a path."""
    if not _SAFE.match(name):
        raise CorruptError(f"the master returned the name {name!r}, which is not a valid file name")


def as_sha256sums(digests: Mapping[str, str]) -> bytes:
    """Return digests by path in the format of `sha256sum --check`."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()
