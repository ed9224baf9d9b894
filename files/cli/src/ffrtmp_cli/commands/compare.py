"""The command `ffrtmp compare`, which compares two runs, or two sides of one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import click
from ffrtmp_analysis.comparison.conclusion import Conclusion
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.side_comparison import Margins
from ffrtmp_client.api import Master
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.result_files import RunResults, read_results
from ffrtmp_client.saved_results import read_saved_results

from ffrtmp_cli.comparison.document import ComparisonDocument, ComparisonSettings
from ffrtmp_cli.comparison.junit import junit_xml
from ffrtmp_cli.comparison.run_comparison import compare_runs, compare_within_run
from ffrtmp_cli.comparison.sides import Criterion
from ffrtmp_cli.comparison.texts import markdown_text, terminal_text
from ffrtmp_cli.connection import connectable
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import DOCUMENT_TYPE, print_message, print_output
from ffrtmp_cli.output_file import open_output
from ffrtmp_cli.run_selection import select_run

Connect = Callable[[], AbstractContextManager[Master]]

_EXIT_CODES = {
    Conclusion.REGRESSION: ExitCode.REGRESSION,
    Conclusion.UNDECIDED: ExitCode.UNDECIDED,
}
_STANDARD_OUTPUT = "-"


@click.command(
    "compare",
    epilog=examples(
        "ffrtmp compare demo-results last",
        "ffrtmp compare last --encodes x264 svtav1",
        "ffrtmp compare demo-results last --markdown comparison.md --junit comparison.xml",
    ),
)
@click.argument("a", metavar="A", shell_complete=complete_runs)
@click.argument("b", metavar="[B]", required=False, shell_complete=complete_runs)
@click.option("--ffmpegs", nargs=2, metavar="A B", help="Compare two FFmpeg builds of one run.")
@click.option("--nodes", nargs=2, metavar="A B", help="Compare two nodes of one run.")
@click.option("--encodes", nargs=2, metavar="A B", help="Compare two encodes of one run.")
@click.option(
    "--quantity",
    "quantities",
    multiple=True,
    type=click.Choice([quantity.value for quantity in Quantity]),
    help="Quantity to compare; may be repeated.  [default: all]",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100, min_open=True),
    default=1.0,
    show_default=True,
    metavar="PERCENT",
    help="Relative difference that does not matter.",
)
@click.option(
    "--vmaf-margin",
    type=click.FloatRange(0, 100, min_open=True),
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="Difference of VMAF NEG that does not matter.",
)
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write Markdown for a pull request; - is standard output.",
)
@click.option(
    "--junit",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write JUnit XML, in which regressions are failures.",
)
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="End with 5 for a regression, and with 6 if the comparison is undecided.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@connectable
def command(
    *,
    connect: Connect,
    a: str,
    b: str | None,
    ffmpegs: tuple[str, str] | None,
    nodes: tuple[str, str] | None,
    encodes: tuple[str, str] | None,
    quantities: tuple[str, ...],
    margin: float,
    vmaf_margin: float,
    markdown: str | None,
    junit: str | None,
    fail_on_regression: bool,
    as_json: bool,
) -> None:
    """Compare two runs, or two FFmpeg builds, nodes or encodes of one run.

    A and B are each a run of the farm (its id, at least the last four characters of the id, or
    last), a directory with results, a file results.json, or a bundle that ffrtmp export has
    written. Directories and files need no farm. Changes are those from A to B. With --ffmpegs,
    --nodes or --encodes, A is the run, and the two names are compared.

    Each scenario of each node is compared separately, and the false discovery rate is controlled
    for each quantity. A regression is a difference for the worse whose whole interval lies beyond
    the margin.
    """
    if as_json and markdown == _STANDARD_OUTPUT:
        raise CommandError(
            "--json and --markdown - both print to standard output: name a file for --markdown",
            ExitCode.USAGE,
        )
    criteria = {Criterion.FFMPEG: ffmpegs, Criterion.NODE: nodes, Criterion.ENCODE: encodes}
    chosen = [(criterion, pair) for criterion, pair in criteria.items() if pair]
    if len(chosen) + (b is not None) != 1:
        raise CommandError(
            "name either two runs, or one run and one of --ffmpegs, --nodes and --encodes: "
            "ffrtmp compare A B, or ffrtmp compare A --ffmpegs OLD NEW",
            ExitCode.USAGE,
        )
    settings = ComparisonSettings(
        quantities=tuple(Quantity(name) for name in quantities) or tuple(Quantity),
        margins=Margins(relative=margin / 100, vmaf=vmaf_margin),
    )
    with ExitStack() as stack:
        reader = _Reader(connect, stack)
        if b is None:
            document = compare_within_run(reader.read(a), *chosen[0], settings)
        else:
            document = compare_runs((reader.read(a), reader.read(b)), (a, b), settings)
    if junit is not None:
        _write(junit, junit_xml(document))
    if markdown not in (None, _STANDARD_OUTPUT):
        _write(str(markdown), markdown_text(document).encode())
    text = markdown_text(document) if markdown == _STANDARD_OUTPUT else terminal_text(document)
    print_output(document, text, as_json=as_json)
    if fail_on_regression and document.conclusion is not Conclusion.NO_REGRESSION:
        raise CommandError(document.summary[0], _EXIT_CODES[document.conclusion])


setattr(command.callback, DOCUMENT_TYPE, ComparisonDocument)


class _Reader:
    """Reader of results, which connects to the farm only when a run of the farm is named."""

    def __init__(self, connect: Connect, stack: ExitStack) -> None:
        self._connect = connect
        self._stack = stack
        self._master: Master | None = None

    def read(self, text: str) -> RunResults:
        """Return the results of a run of the farm, a directory, a file or a bundle."""
        if Path(text).exists() or "/" in text:
            try:
                return read_saved_results(Path(text))
            except SettingsError as error:
                raise CommandError(str(error)) from error
        if self._master is None:
            self._master = self._stack.enter_context(self._connect())
        return read_results(self._master, select_run(self._master, text)["id"])


def _write(path: str, content: bytes) -> None:
    with open_output(path) as file:
        file.write(content)
    print_message(f"Comparison: {path}")
