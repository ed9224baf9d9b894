"""The command `ffrtmp report`, which writes the report on a run as one HTML file."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import click
import msgspec
from ffrtmp_client.api import Master
from ffrtmp_client.errors import ApiError
from ffrtmp_client.result_files import read_results
from ffrtmp_client.saved_results import read_saved_results
from ffrtmp_client.stored_files import REPORT_NAME

from ffrtmp_cli.connection import connectable
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import json_output
from ffrtmp_cli.output_file import open_output
from ffrtmp_cli.run_selection import LAST, select_run


class ReportDocument(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="ffrtmp/report/1"
):
    """A report that was written.

    Attributes:
        run_id: The id of the run.
        file: The report as HTML.
        markdown: The report as Markdown, or null.
        plots: The number of charts in the report.
    """

    run_id: str
    file: str
    markdown: str | None
    plots: int


@click.command(
    epilog=examples(
        "ffrtmp report demo-results",
        "ffrtmp report last --output report.html --markdown report.md",
    ),
)
@click.argument("run", metavar="RUN|DIRECTORY", default=LAST, shell_complete=complete_runs)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="File to write.  [default: report.html in DIRECTORY, or in the current directory]",
)
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Also write the report as Markdown, with tables in place of charts.",
)
@connectable
@json_output(ReportDocument)
def command(
    *,
    connect: Callable[[], AbstractContextManager[Master]],
    run: str,
    output: str | None,
    markdown: str | None,
) -> tuple[ReportDocument, str]:
    """Write the report on a run as one HTML file.

    DIRECTORY is that of the results of a run, or a bundle of ffrtmp export; it is read without a
    farm. RUN is the id of a run of the farm, the end of the id, or last.

    The file needs no network and no scripts. It begins with the findings, and it names what was
    not measured, with the reasons.
    """
    # Imported here, because other commands do not need it.
    from ffrtmp_client.report.markdown import markdown_text  # noqa: PLC0415
    from ffrtmp_client.report_files import (  # noqa: PLC0415
        farm_report,
        report_page,
        saved_report,
    )

    path = Path(run)
    if "/" in run and not path.exists():
        raise CommandError(f"{run} does not exist", ExitCode.NOT_FOUND)
    if path.exists():
        try:
            read = read_saved_results(path)
            report = saved_report(path, read)
        except ApiError as error:
            raise CommandError(str(error)) from error
        folder = path if path.is_dir() else path.parent
    else:
        with connect() as master:
            read = read_results(master, select_run(master, run)["id"])
            report = farm_report(master, read)
        folder = Path()
    try:
        page = report_page(report)
    except ApiError as error:
        raise CommandError(str(error)) from error
    file = output or str(folder / REPORT_NAME)
    _write(file, page)
    if markdown is not None:
        _write(markdown, markdown_text(report).encode())
    document = ReportDocument(
        run_id=read.run["id"], file=file, markdown=markdown, plots=len(report.plots)
    )
    return document, "\n".join(filter(None, (file, markdown)))


def _write(path: str, content: bytes) -> None:
    try:
        with open_output(path) as file:
            file.write(content)
    except ApiError as error:
        raise CommandError(str(error)) from error
