"""Command line of the benchmarks.

It runs the selected cases, prints a table of their results, and writes the record and the page.
"""

import argparse
import resource
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine, page
from bench.context import BenchmarkContext
from bench.figures import Line
from bench.parts import PARTS

_STYLES = {"": "dim", "holds": "green", "undecided": "yellow", "does not hold": "red"}
_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run the benchmarks that the command line selects."""
    arguments = _parser().parse_args()
    _allow_many_connections()
    console = Console(width=None if sys.stdout.isatty() else 140)
    part = PARTS[arguments.part]
    if arguments.only and arguments.only not in part.cases:
        sys.exit(
            f"bench: {arguments.part} has no case {arguments.only}; "
            f"choose one of: {', '.join(part.cases)}"
        )
    keys = [arguments.only] if arguments.only else list(part.cases)
    folder = _ROOT / ("results/bench" if arguments.quick else "docs")
    record = page.read(folder / f"{part.page}.json")
    description = machine.describe(arguments.data, _ROOT)
    if description.is_dirty and not arguments.quick:
        sys.exit(
            "bench: the working tree differs from its commit, so the page could not name what was "
            "measured. Commit the changes first, or add QUICK=1, which writes below results/."
        )
    lines = []
    for key in keys:
        console.print(f"[bold]{key}[/bold]")
        context = BenchmarkContext(
            root=arguments.data,
            quick=arguments.quick,
            peers_python=arguments.peers,
            log=lambda text: console.print(f"  {text}", markup=False, highlight=False),
        )
        line = part.cases[key](context)
        lines.append(line)
        # The record is written after each case, so that no result is lost if the next case fails.
        record = record.with_entry(page.Entry(line=line, machine=description))
        written = page.write(record, folder, arguments.part)
    console.print(_table(f"make bench-{arguments.part}", lines))
    console.print(f"written: {written.relative_to(_ROOT)} and {part.page}.json in the same folder")
    for verdict in ("does not hold", "undecided"):
        labels = [f.label for line in lines for f in line.figures if f.verdict == verdict]
        if labels:
            console.print(f"{verdict}: {'; '.join(labels)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("part", choices=list(PARTS), help="part of the farm to measure")
    parser.add_argument("--only", help="measure one case only")
    parser.add_argument(
        "--quick", action="store_true", help="measure briefly, to test the benchmark"
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path(sys.executable),
        help="Python interpreter with the other queues",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("/var/tmp"),
        help="folder on the disk to measure",
    )
    return parser


def _allow_many_connections() -> None:
    """Raise the limit of open files to its maximum, which masters and loads inherit."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def _table(title: str, lines: list[Line]) -> Table:
    table = Table(title=title, show_lines=False)
    table.add_column("measure")
    for name in ("median", "95 % interval", "lowest to highest", "target"):
        table.add_column(name, justify="right")
    table.add_column("")
    for line in lines:
        table.add_row(f"[bold]{line.title}[/bold]")
        for figure in line.figures:
            style = _STYLES[figure.verdict]
            table.add_row(
                f"  {figure.label}",
                f"{figure.shown} {figure.unit}",
                figure.shown_interval,
                figure.shown_range,
                figure.shown_limit,
                f"[{style}]{figure.verdict}[/{style}]",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    main()
