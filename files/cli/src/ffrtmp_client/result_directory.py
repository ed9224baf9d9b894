"""Directory with the results of a run: its table, its exports and its artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from . import legend, medians, rate_remarks, results, runs, table
from .api import Json, Master
from .errors import CorruptError, RefusedError
from .folder import Folder, check_belongs_to

_REMOVED = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_NO_ACCESS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_NAMED_MAX = 5
_EXPORT_MAX_BYTES = 1024**3
_EXPORT_TIMEOUT_S = 1800.0


def fetch_results(
    master: Master,
    run_id: str,
    dest: Path,
    farm_name: str,
    *,
    is_check: bool = False,
    is_packed: bool = True,
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> Json:
    """Write the results of a run to a directory.

    Args:
        master: Connection to the master.
        run_id: Id of the run.
        dest: Directory for the results.
        farm_name: Name of the farm.
        is_check: Whether nothing is written.
        is_packed: Whether the files are also packed into an archive next to the directory.
        more: Further files by name, with their contents.

    Returns:
        The values that the module ffrtmp_results returns, with the table as text in `table`.

    Raises:
        SettingsError: The directory cannot be written, or contains the results of another run.
        ApiError: The master cannot provide the results.
    """
    run = master.get(f"/v1/runs/{run_id}")
    check_belongs_to(dest, run["id"])
    found = results.in_order(master.pages("/v1/results", {"run": run_id}))
    precision = master.get(f"/v1/runs/{run_id}/precision")
    failures = runs.failures(runs.jobs_of(master, run_id))
    columns, exported = results.parse_export(
        master.text(
            "/v1/results/export",
            {"format": "csv", "run": run_id},
            _EXPORT_MAX_BYTES,
            _EXPORT_TIMEOUT_S,
        )
    )
    rows = medians.median_rows(found, precision["medians"], exported)
    remarks = table.Remarks(
        title=results.title(run, farm_name),
        drifts=precision["drifts"],
        reasons=legend.figure_reasons(found, exported),
        details=legend.verdict_details(found),
    )
    text = "\n".join(
        [table.render(rows, remarks), *rate_remarks.remark_lines(found, table.COLUMNS)]
    )
    folder = Folder(dest, is_dry=is_check, modified_s=results.end_s(run, found))
    document = {"farm": farm_name, "run": run, "results": found, "precision": precision}
    folder.put("results.json", results.as_json(document))
    folder.put("results.csv", results.as_csv(columns, exported, found))
    folder.put("table.txt", f"{text}\n".encode())
    suite = _suite(master, run["id"])
    if suite is not None:
        folder.put("suite.yml", suite.encode())
    missing = [
        absent
        for result in found
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
    archive = dest.with_name(f"{dest.name}.tar.gz")
    sha256 = folder.pack(archive) if is_packed else None
    total = runs.job_count(run)
    return {
        "changed": bool(folder.changes),
        "diff": {
            "before": "",
            "after": "".join(f"{name}\n" for name in sorted(folder.changes)),
        },
        "name": results.directory_name(run),
        "archive": str(archive),
        "sha256": sha256,
        "files": sorted(folder.digests),
        "run": run,
        "missing": missing,
        "count": len(found),
        "complete": total > 0 and run["counts"]["succeeded"] == total == len(found),
        "rows": rows,
        "table": text,
        "drifts": precision["drifts"],
    }


def _suite(master: Master, run_id: str) -> str | None:
    """Return the suite of a run as submitted, or None if the master is an earlier release."""
    try:
        return master.text(f"/v1/runs/{run_id}/suite", {}, runs.SUITE_MAX_BYTES, _EXPORT_TIMEOUT_S)
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


def missing_text(missing: list[Json]) -> str:
    """Return the paths of missing artifacts with the reason for the first, for a message."""
    names = ", ".join(entry["path"] for entry in missing[:_NAMED_MAX])
    others = f" and {len(missing) - _NAMED_MAX} others" if len(missing) > _NAMED_MAX else ""
    return f"{names}{others} ({missing[0]['reason']})"
