"""The command `ffrtmp local`."""

from pathlib import Path
from typing import Any

import click
import msgspec

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.output import DOCUMENT_TYPE, print_output


class LocalDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/local/1"):
    """The outcome of a benchmark on this computer.

    Attributes:
        run_id: The ID of the run.
        suite: The name of the suite.
        state: The state of the run: `succeeded`, `failed` or `canceled`.
        directory: The directory with the results.
        report: The report in this directory, or null if it could not be written; the remarks then
            contain the reason.
        complete: Whether every job has succeeded and all results are in the directory.
        counts: The number of jobs by state.
        rows: The medians, as in the module `ffrtmp_results`.
        remarks: What the user needs to know about the results.
    """

    run_id: str
    suite: str
    state: str
    directory: str
    report: str | None
    complete: bool
    counts: dict[str, int]
    rows: list[dict[str, Any]]
    remarks: list[str]


@click.command("local")
@click.argument("path", metavar="CLIP|SUITE", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory for the results; by default, a new one in ffrtmp-results.",
)
@click.option(
    "--ffmpeg",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="FFmpeg to measure; by default, that in PATH or that of the extra `ffmpeg`.",
)
@click.option(
    "--ffprobe", type=click.Path(path_type=Path), metavar="PATH", help="ffprobe to read clips with."
)
@click.option(
    "--allow-ffmpeg-builds", is_flag=True, help="Run the FFmpeg builds that the suite lists."
)
@click.option("--new", "is_new", is_flag=True, help="Discard an interrupted run and start again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    path: Path,
    output: Path | None,
    ffmpeg: Path | None,
    ffprobe: Path | None,
    *,
    allow_ffmpeg_builds: bool,
    is_new: bool,
    as_json: bool,
) -> None:
    """Benchmark a clip or a suite on this computer.

    With a clip, two encoders are measured at four bit rates with an excerpt of it, which takes
    about three minutes. A suite is a file whose name ends with .yml.

    Ctrl-C stops the run. The same command resumes it.
    """
    # Imported here, because the help must not take the time.
    from rich.console import Console  # noqa: PLC0415

    from ffrtmp_cli.local import benchmark  # noqa: PLC0415
    from ffrtmp_cli.local.paths import find_paths  # noqa: PLC0415

    request = benchmark.Request(
        path=path,
        output=output,
        ffmpeg=ffmpeg,
        ffprobe=ffprobe,
        allow_builds=allow_ffmpeg_builds,
        is_new=is_new,
    )
    finished = benchmark.run_benchmark(request, find_paths(), Console(stderr=True))
    document = msgspec.convert(
        {"schema": "ffrtmp/local/1", **benchmark.document_values(finished)}, LocalDocument
    )
    print_output(document, _text(finished), as_json=as_json)
    if not document.complete:
        raise CommandError(
            f"not all jobs have succeeded; their errors are in {finished.directory}/failures.json",
            ExitCode.JOBS_FAILED,
        )


def _text(finished: Any) -> str:
    place = finished.directory if finished.report is None else finished.report
    return "\n".join([finished.table, *finished.remarks, str(place)])


setattr(command.callback, DOCUMENT_TYPE, LocalDocument)
