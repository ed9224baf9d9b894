"""The report on a run, from its results and the artifacts of one of them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import encoder_differences, legend, rate_remarks, results, runs, table
from .api import Json, Master
from .bundle_archive import is_bundle, open_bundle
from .chart_image import render_plots
from .errors import ApiError, SettingsError
from .folder import Folder
from .medians import encode_name
from .rate_distortion_summary import summarize_rate_distortion
from .report.document import Report
from .report.html_page import html_page
from .report.run_data import CONTROL, RunData, TimeSeries
from .report.run_report import make_report
from .report.sections.conditions import frame_rate_hz
from .report.sections.time_series import select_result
from .report_rates import rate_tables
from .result_files import RunResults
from .stored_files import REPORT_NAME, StoredFiles, directory_files

ReadArtifact = Callable[[Json, str], bytes]
"""A function that returns the content of an artifact of a result by its name.

It raises ApiError or OSError if the artifact cannot be read.
"""

_SAMPLES, _SCORES = "series.parquet", "scores.parquet"
_FAILURES = "failures.json"
_FILE_MAX_BYTES = 256 * 1024**2
_COLUMNS = 1_000_000
"""Maximum length of a line of text, which no sentence reaches."""


@dataclass(frozen=True)
class WrittenReport:
    """A report in the directory of the results of a run.

    Attributes:
        path: The file.
        plots: The number of its charts.
        is_changed: Whether the file was, or would be, written or replaced.
    """

    path: Path
    plots: int
    is_changed: bool


def report_of(
    read: RunResults,
    farm_name: str,
    failures: Sequence[Json],
    read_artifact: ReadArtifact,
) -> Report:
    """Return the report on a run.

    Args:
        read: The run with its results.
        farm_name: Name of the farm, which may be empty.
        failures: The jobs that failed, as `runs.failures` returns them.
        read_artifact: A function that reads the artifacts of a result.
    """
    rows = read.rows
    return make_report(
        RunData(
            run=read.run,
            farm_name=farm_name,
            results=read.results,
            rows=rows,
            precision=read.precision,
            statements=[
                *table.find_findings(rows),
                *encoder_differences.difference_lines(read.curves, _COLUMNS),
            ],
            remarks=[
                *rate_remarks.remark_lines(read.results, _COLUMNS),
                *(f"{line}." for line in legend.cache_lines(read.results)),
            ],
            failures=failures,
            figure_reasons=legend.figure_reasons(read.results, read.exported),
            rates=rate_tables(
                summarize_rate_distortion(read.curves),
                read.curves,
            ),
            series=_time_series(read.results, read_artifact),
        )
    )


def report_page(report: Report) -> bytes:
    """Return a report as a file in HTML.

    Args:
        report: The report.

    Raises:
        SettingsError: The package that draws the charts is not installed.
    """
    return html_page(report, render_plots(report.plots)).encode()


def saved_report(path: Path, read: RunResults) -> Report:
    """Return the report on a run whose results were saved.

    Args:
        path: The directory, the file results.json in it, or a bundle.
        read: The results that were read from it.

    Raises:
        SettingsError: A file of the directory or of the bundle is damaged.
    """
    opened: AbstractContextManager[StoredFiles] = (
        open_bundle(path)
        if path.is_file() and is_bundle(path)
        else directory_files(path if path.is_dir() else path.parent)
    )
    try:
        with opened as files:
            failures = (
                json.loads(files.read(_FAILURES, _FILE_MAX_BYTES))
                if _FAILURES in files.names
                else []
            )
            return report_of(
                read,
                read.farm_name,
                failures,
                lambda result, name: files.read(
                    results.artifact_path(result, name), _FILE_MAX_BYTES
                ),
            )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        # The files come from anywhere, and the report reads most of their fields.
        raise SettingsError(
            f"{path} does not contain results of this release: {error!r}. For results of a newer "
            "release, update ffrtmp"
        ) from error


def write_report(path: Path, read: RunResults, *, is_dry: bool = False) -> WrittenReport:
    """Write the report on a run to the directory of its results.

    The file is replaced only if its content differs. Its time is the end of the run, as that of
    the other files.

    Args:
        path: The directory.
        read: The results in this directory.
        is_dry: Whether nothing is written.

    Raises:
        SettingsError: The report cannot be drawn, read or written.
    """
    report = saved_report(path, read)
    folder, file = Folder(path, is_dry=is_dry), path / REPORT_NAME
    folder.put(REPORT_NAME, report_page(report))
    if folder.changes and not is_dry:
        modified_s = int(results.end_s(read.run, read.results))
        os.utime(file, (modified_s, modified_s))
    return WrittenReport(file, len(report.plots), is_changed=bool(folder.changes))


def farm_report(master: Master, read: RunResults, farm_name: str = "") -> Report:
    """Return the report on a run of a farm.

    Args:
        master: Connection to the master.
        read: The results that were read from it.
        farm_name: Name of the farm, which may be empty.
    """

    def read_artifact(result: Json, name: str) -> bytes:
        known = {artifact["name"]: artifact for artifact in result["artifacts"]}
        if name not in known:
            raise FileNotFoundError(f"the result has no file {name}")
        artifact, content = known[name], io.BytesIO()
        source = f"/v1/jobs/{result['job_id']}/attempts/{result['attempt']}/artifacts/{name}"
        master.download(source, content, artifact["sha256"], artifact["size_bytes"])
        return content.getvalue()

    failures = runs.failures(runs.jobs_of(master, read.run["id"]))
    return report_of(read, farm_name, failures, read_artifact)


def _time_series(found: Sequence[Json], read_artifact: ReadArtifact) -> TimeSeries:
    """Return the time series of one result, or the reason why there is none."""
    counted = [result for result in found if result["scenario"]["source"]["name"] != CONTROL]
    result = select_result(counted)
    if result is None:
        return TimeSeries()
    source = result["measurement"].get("source") or {}
    columns: dict[str, dict[str, Sequence[float | None]]] = {}
    reasons = []
    stored = {artifact["name"] for artifact in result["artifacts"]}
    for name in (_SAMPLES, _SCORES):
        if name not in stored:
            continue
        try:
            columns[name] = _read_columns(read_artifact(dict(result), name))
        except (ApiError, OSError, ValueError, ImportError) as error:
            reasons.append(f"{name} of the encode cannot be read: {error}.")
    if not stored & {_SAMPLES, _SCORES}:
        reasons.append("The result has no time series.")
    encode = encode_name(result["scenario"]["name"])
    repeat = f"repeat {result['repeat']} on {result['node']}"
    return TimeSeries(
        title=f"{result['scenario']['name']}, {repeat}" if encode else repeat,
        samples=columns.get(_SAMPLES, {}),
        scores=columns.get(_SCORES, {}),
        frame_rate=frame_rate_hz(source.get("frame_rate")),
        reason=" ".join(reasons),
    )


def _read_columns(content: bytes) -> dict[str, Sequence[float | None]]:
    """Return the columns of numbers of a Parquet file.

    Raises:
        ImportError: The package pyarrow is not installed.
        ValueError: The content is not a Parquet file.
    """
    from pyarrow import (  # type: ignore[import-untyped] # noqa: PLC0415
        ArrowException,
        BufferReader,
        parquet,
        types,
    )

    try:
        found = parquet.read_table(BufferReader(content))
    except ArrowException as error:
        raise ValueError(str(error)) from error
    columns: Mapping[str, Any] = dict(zip(found.column_names, found.columns, strict=True))
    return {
        name: column.to_pylist()
        for name, column in columns.items()
        if types.is_floating(column.type) or types.is_integer(column.type)
    }
