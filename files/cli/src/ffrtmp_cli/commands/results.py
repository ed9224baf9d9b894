"""The command `ffrtmp results`, which shows, exports or stores the results of a run."""

import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

import click
import msgspec
from ffrtmp_client import results
from ffrtmp_client.api import Master
from ffrtmp_client.result_files import EXPORT_MAX_BYTES, RunResults

from ffrtmp_cli.connection import connected
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import DOCUMENT_TYPE, print_message, print_output
from ffrtmp_cli.output_file import open_output
from ffrtmp_cli.result_output import results_text, write_directory
from ffrtmp_cli.run_documents import RunEntry, run_entry
from ffrtmp_cli.run_selection import LAST, select_run


class MissingArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact that the master could not provide.

    Attributes:
        path: The path that it would have in the directory.
        job_id: The id of its job.
        attempt: The number of the attempt.
        name: The name of the artifact.
        is_removed: Whether the master has removed it.
        reason: The reason.
    """

    path: str
    job_id: str
    attempt: int
    name: str
    is_removed: bool
    reason: str


class ResultsDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/results/1", kw_only=True):
    """The medians over the repeats of a run.

    Attributes:
        run: The run.
        is_complete: Whether all jobs of the run have succeeded and have a result.
        count: The number of results.
        rows: A row for each node, scenario and FFmpeg build. Its keys are those of the rows that
            the Ansible module ffrtmp_results returns, such as `node`, `encode`, `rate_point`, `n`,
            `speed`, `video_bitrate_kbps`, `vmaf_mean`, `cpu_s` and `energy_gross_j`. Values that
            are unavailable are null.
        drifts: The change of the speed of the control encodes of each node.
        file: The file or directory to which the results were written, if any.
        missing: The artifacts that could not be written to the directory.
    """

    run: RunEntry
    is_complete: bool
    count: int
    rows: tuple[dict[str, Any], ...]
    drifts: tuple[dict[str, Any], ...]
    file: str | None = None
    missing: tuple[MissingArtifact, ...] = ()


@click.command(
    "results",
    epilog=examples(
        "ffrtmp results",
        "ffrtmp results last --format csv",
        "ffrtmp results last --format parquet -o results.parquet",
        "ffrtmp results last --directory demo-results",
    ),
)
@click.argument("run", default=LAST, shell_complete=complete_runs)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(("table", "csv", "json", "parquet")),
    default="table",
    show_default=True,
    help="Format: the table of medians, or all results.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write to this file instead of standard output.",
)
@click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write results, table, suite, logs and digests to this directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@connected
def command(
    master: Master,
    run: str,
    *,
    file_format: str,
    output: str | None,
    directory: str | None,
    as_json: bool,
) -> None:
    """Show the results of a run as a table of medians, or export all results.

    RUN is the id of a run, at least the last four characters of the id, or last, the default. CSV
    and Parquet have a row for each result and a column for each value; JSON has the complete
    results. A directory has the same content as the one that run-benchmark.yml writes.
    """
    if file_format != "table" and as_json and output is None:
        raise CommandError(
            "--json prints a document to standard output: add --output FILE for the export",
            ExitCode.USAGE,
        )
    if file_format == "parquet" and output is None and sys.stdout.isatty():
        raise CommandError("Parquet is not text: add --output FILE", ExitCode.USAGE)
    run_id = select_run(master, run)["id"]
    is_wide = output is None and sys.stdout.isatty()
    read, text = results_text(master, run_id, is_terminal=is_wide)
    missing = [] if directory is None else write_directory(master, read, directory)
    if directory is not None:
        print_message(f"Results: {directory}")
    if file_format != "table" or output is not None:
        content = _export(master, read, file_format, text)
        if output is None:
            _write(sys.stdout.buffer, content)
            return
        with open_output(output) as file:
            _write(file, content)
        print_message(f"Results: {output}")
        text = ""
    document = ResultsDocument(
        run=run_entry(read.run),
        is_complete=read.is_complete,
        count=len(read.results),
        rows=tuple(read.rows),
        drifts=tuple(read.precision["drifts"]),
        file=directory or output,
        missing=tuple(msgspec.convert(entry, MissingArtifact) for entry in missing),
    )
    if as_json or text:
        print_output(document, text, as_json=as_json)


setattr(command.callback, DOCUMENT_TYPE, ResultsDocument)


def _export(master: Master, read: RunResults, file_format: str, table: str) -> Iterator[bytes]:
    """Yield the parts of the results in a format.

    Args:
        master: Connection to the master.
        read: The results.
        file_format: The format.
        table: The table of the medians.
    """
    if file_format == "table":
        yield f"{table}\n".encode()
    elif file_format == "json":
        yield results.as_json(
            {"run": read.run, "results": read.results, "precision": read.precision}
        )
    elif file_format == "csv":
        yield results.as_csv(read.columns, read.exported, read.results)
    else:
        params = {"format": file_format, "run": read.run["id"]}
        yield from master.stream("/v1/results/export", params)


def _write(file: IO[bytes], content: Iterable[bytes]) -> None:
    """Write an export, whose size is limited."""
    written = 0
    for part in content:
        written += len(part)
        if written > EXPORT_MAX_BYTES:
            raise CommandError(f"the export has more than {EXPORT_MAX_BYTES} bytes")
        file.write(part)
    file.flush()
