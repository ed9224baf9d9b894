"""Results of a run: their table, and a directory with them and their artifacts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from . import encoder_differences, legend, medians, rate_remarks, results, runs, table
from .api import Json, Master
from .encode_curves import RunCurves, read_curves
from .errors import CorruptError, RefusedError
from .folder import Folder
from .phrases import listed

EXPORT_MAX_BYTES = 1024**3
"""Maximum size of an export, in bytes."""

EXPORT_TIMEOUT_S = 1800.0
"""Maximum duration of the response with an export, in seconds."""

_REMOVED = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_NO_ACCESS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_NAMED_MAX = 5


@dataclass(frozen=True)
class RunResults:
    """A run with all its results.

    Attributes:
        run: The run as the API returns it.
        results: The results in a fixed order, as the API returns them.
        precision: The precision of the medians, as the API returns it.
        columns: The columns of the exported table.
        exported: The rows of the exported table by the id of the result.
        farm_name: The name of the farm, if it was saved with the results.
    """

    run: Json
    results: Sequence[Json]
    precision: Json
    columns: Sequence[str]
    exported: Mapping[str, Mapping[str, str]]
    farm_name: str = ""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The medians over repeats, one row for each node, scenario and FFmpeg build."""
        return medians.median_rows(self.results, self.precision["medians"], self.exported)

    @cached_property
    def curves(self) -> RunCurves:
        """The rate-distortion curves of the encodes."""
        return read_curves(self.results, self.exported)

    @property
    def is_complete(self) -> bool:
        """Return whether the run has jobs, and every job has succeeded and has a result."""
        total = runs.job_count(self.run)
        return total > 0 and self.run["counts"]["succeeded"] == total == len(self.results)

    def table(self, farm_name: str = "", columns: int = table.COLUMNS) -> str:
        """Return the table of the medians as text.

        Args:
            farm_name: Name of the farm, which may be empty.
            columns: Maximum length of a line.
        """
        remarks = table.Remarks(
            title=results.title(self.run, farm_name),
            drifts=self.precision["drifts"],
            reasons=legend.figure_reasons(self.results, self.exported),
            details=legend.verdict_details(self.results),
        )
        lines = [
            table.render(self.rows, remarks, columns),
            *encoder_differences.difference_lines(self.curves, columns),
            *rate_remarks.remark_lines(self.results, columns),
            *(
                line
                for text in legend.cache_lines(self.results)
                for line in textwrap.wrap(text, columns)
            ),
        ]
        return "\n".join(lines)


def read_results(master: Master, run_id: str) -> RunResults:
    """Read a run with all its results from the master.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
    """
    run = master.get(f"/v1/runs/{run_id}")
    found = results.in_order(master.pages("/v1/results", {"run": run_id}))
    precision = master.get(f"/v1/runs/{run_id}/precision")
    text = master.text(
        "/v1/results/export",
        {"format": "csv", "run": run_id},
        EXPORT_MAX_BYTES,
        EXPORT_TIMEOUT_S,
    )
    columns, exported = results.parse_export(text)
    return RunResults(run, found, precision, columns, exported)


def write_results(
    master: Master,
    read: RunResults,
    folder: Folder,
    farm_name: str = "",
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> list[Json]:
    """Write the results of a run, its suite, failures and artifacts to a directory.

    Args:
        master: Connection to the master.
        read: The results.
        folder: The directory.
        farm_name: Name of the farm, which may be empty.
        more: Further files by name, with their contents.

    Returns:
        The artifacts that the master could not provide, which missing.json also lists.
    """
    failures = runs.failures(runs.jobs_of(master, read.run["id"]))
    document = {
        "farm": farm_name,
        "run": read.run,
        "results": read.results,
        "precision": read.precision,
    }
    folder.put("results.json", results.as_json(document))
    folder.put("results.csv", results.as_csv(read.columns, read.exported, read.results))
    folder.put("table.txt", f"{read.table(farm_name)}\n".encode())
    suite = read_suite(master, read.run["id"])
    if suite is not None:
        folder.put("suite.yml", suite.encode())
    missing = [
        absent
        for result in read.results
        for artifact in result["artifacts"]
        if (absent := _fetch_artifact(master, folder, result, artifact)) is not None
    ]
    for name, entries in (("failures.json", failures), ("missing.json", missing)):
        if entries:
            folder.put(name, results.as_json(entries))
        else:
            folder.remove(name)
    for name, content in more.items():
        folder.put(name, content)
    folder.put("SHA256SUMS", results.as_sha256sums(dict(folder.digests)))
    return missing


def read_suite(master: Master, run_id: str) -> str | None:
    """Return the suite of a run as submitted, or None if the master is an earlier release."""
    try:
        return master.text(f"/v1/runs/{run_id}/suite", {}, runs.SUITE_MAX_BYTES, EXPORT_TIMEOUT_S)
    except RefusedError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def _fetch_artifact(master: Master, folder: Folder, result: Json, artifact: Json) -> Json | None:
    """Write an artifact. If the master cannot provide it, return its entry for missing.json."""
    name, sha256 = artifact["name"], artifact["sha256"]
    path = results.artifact_path(result, name)
    source = f"/v1/jobs/{result['job_id']}/attempts/{result['attempt']}/artifacts/{name}"
    try:
        if folder.is_dry and not folder.has(path, sha256):
            master.head(source)
        folder.put_by(
            path,
            sha256,
            lambda file: master.download(source, file, sha256, artifact["size_bytes"]),
        )
    except (RefusedError, CorruptError) as error:
        if getattr(error, "status", None) in _NO_ACCESS:
            raise
        return {
            "path": path,
            "job_id": result["job_id"],
            "attempt": result["attempt"],
            "name": name,
            "is_removed": getattr(error, "status", None) in _REMOVED,
            "reason": str(error),
        }
    return None


def missing_text(missing: Sequence[Json]) -> str:
    """Return the paths of missing artifacts with the reason for the first, for a message."""
    names = [entry["path"] for entry in missing]
    return f"{listed(names, _NAMED_MAX)} ({missing[0]['reason']})"
