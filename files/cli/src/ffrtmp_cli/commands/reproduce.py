"""The command `ffrtmp reproduce`: repeats the encode of a result."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import click
import msgspec
from ffrtmp_client.api import Master
from ffrtmp_shared.comparison_threads import MAX_THREADS
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError
from rich.markup import escape
from rich.table import Table

from ffrtmp_cli.connection import connectable
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.ffmpeg_origin import FfmpegOrigin, describe_ffmpeg, find_program
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import json_output, print_message
from ffrtmp_cli.reproduction.comparison import Agreement, Comparison, compare
from ffrtmp_cli.reproduction.instructions import (
    Instructions,
    instruction_lines,
    instructions_of,
)
from ffrtmp_cli.reproduction.repetition import LocalPrograms, find_source, repeat_encode
from ffrtmp_cli.reproduction.result_source import (
    FarmResults,
    ResultFile,
    ResultSource,
    repeats_of,
    select_result,
)
from ffrtmp_cli.rich_text import render

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_STYLES = {
    Agreement.AGREES: "green",
    Agreement.DISAGREES: "bold red",
    Agreement.UNAVAILABLE: "dim",
}


class Reproduction(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="ffrtmp/reproduction/1"
):
    """Instructions for an encode, and its comparison with a repetition on this host.

    Attributes:
        instructions: The instructions.
        agrees: Whether no comparison disagrees; null without --check.
        comparisons: The comparisons; empty without --check.
    """

    instructions: Instructions
    agrees: bool | None
    comparisons: tuple[Comparison, ...]


def _failure(found: Reproduction) -> str:
    aspects = [
        comparison.aspect
        for comparison in found.comparisons
        if comparison.agreement is Agreement.DISAGREES
    ]
    return f"the repetition disagrees with the result: {', '.join(aspects)}" if aspects else ""


@click.command(
    help="Print the commands, the build and the source to run the encode of RESULT by hand. RESULT "
    "is the id of a result or of a job, or the name of a scenario. With --check, run the encode on "
    "this host and compare bytes, quality and speed; the exit code is 1 if they disagree."
)
@click.argument("name", metavar="RESULT")
@click.option(
    "--results",
    type=click.Path(exists=True, path_type=Path),
    help="File results.json of a run, its directory or its bundle, instead of the farm.",
)
@click.option(
    "--run",
    shell_complete=complete_runs,
    help="Run of the farm: its id, the end of its id, or last.  [default: run of the job, or last]",
)
@click.option("--node", help="Node, if several have results of the scenario.")
@click.option("--repeat", type=click.IntRange(min=1), help="Repeat, instead of the first.")
@click.option("--check", is_flag=True, help="Run the encode on this host and compare.")
@click.option(
    "--source",
    type=_FILE,
    help="Source of the encode.  [default: the file in the current directory]",
)
@click.option("--ffmpeg", type=_FILE, help="FFmpeg to use.  [default: that of PATH]")
@click.option("--ffprobe", type=_FILE, help="ffprobe to use.  [default: that of PATH]")
@click.option(
    "--quality-ffmpeg",
    type=_FILE,
    help="FFmpeg with libvmaf that measures quality.  [default: that of --ffmpeg]",
)
@connectable
@json_output(Reproduction, _failure)
def command(
    *,
    connect: Callable[[], AbstractContextManager[Master]],
    name: str,
    results: Path | None,
    run: str | None,
    node: str | None,
    repeat: int | None,
    check: bool,
    source: Path | None,
    ffmpeg: Path | None,
    ffprobe: Path | None,
    quality_ffmpeg: Path | None,
) -> tuple[Reproduction, str]:
    """Return the instructions for a result and, with --check, the comparison."""
    places: ResultSource = FarmResults(connect, run) if results is None else ResultFile(results)
    found = places.results_with(name)
    result = select_result(found, name, node=node, repeat=repeat)
    binary = ffmpeg or find_program("ffmpeg")
    instructions = instructions_of(
        result, _origin(binary), "ffmpeg" if ffmpeg is None else str(ffmpeg.absolute())
    )
    lines = instruction_lines(instructions)
    if not check:
        return Reproduction(instructions=instructions, agrees=None, comparisons=()), "\n".join(
            lines
        )
    programs = _programs(binary, ffprobe or find_program("ffprobe"), quality_ffmpeg)
    source = source or find_source(result, (Path.cwd(),))
    measured = repeat_encode(
        result, programs, source, lambda stage: print_message(f"{stage.replace('_', ' ')} ...")
    )
    comparisons = compare(result, repeats_of(result, found), measured)
    document = Reproduction(
        instructions=instructions,
        agrees=all(item.agreement is not Agreement.DISAGREES for item in comparisons),
        comparisons=comparisons,
    )
    return document, "\n".join([*lines, "", _table(comparisons)])


def _origin(binary: Path | None) -> FfmpegOrigin | None:
    """Return the origin of the FFmpeg of this host. Without one, the commands are still useful."""
    if binary is None:
        return None
    try:
        return describe_ffmpeg(binary)
    except (UnusableFfmpegError, OSError):
        return None


def _programs(
    ffmpeg: Path | None, ffprobe: Path | None, quality_ffmpeg: Path | None
) -> LocalPrograms:
    if ffmpeg is None:
        raise CommandError("there is no ffmpeg in PATH; name one with --ffmpeg")
    if ffprobe is None:
        raise CommandError("there is no ffprobe in PATH; name one with --ffprobe")
    return LocalPrograms(
        ffmpeg=ffmpeg,
        ffprobe=ffprobe,
        quality_ffmpeg=quality_ffmpeg or ffmpeg,
        vmaf_threads=min(len(os.sched_getaffinity(0)), MAX_THREADS),
    )


def _table(comparisons: tuple[Comparison, ...]) -> str:
    table = Table(box=None, pad_edge=False)
    for title in ("ASPECT", "STATE", "RESULT", "THIS HOST", "REASON"):
        table.add_column(title, overflow="fold", no_wrap=title in ("ASPECT", "STATE"))
    for item in comparisons:
        style = _STYLES[item.agreement]
        table.add_row(
            item.aspect,
            f"[{style}]{item.agreement}[/]",
            escape(item.expected),
            escape(item.found),
            escape(item.reason),
        )
    return render(table)
