"""The command `ffrtmp bisect`."""

from pathlib import Path
from typing import Any

import click
import msgspec

from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.output import DOCUMENT_TYPE, print_output

_QUANTITIES = ("speed", "cpu_time", "bit_rate", "vmaf_neg")
_REPEATS_LEAST = 8


class BisectedBuild(msgspec.Struct, frozen=True, kw_only=True):
    """An FFmpeg build of a bisection.

    Attributes:
        number: The place in the list of builds, from 1.
        place: The path or the URL of the program.
        sha256: The SHA-256 of the program.
    """

    number: int
    place: str
    sha256: str


class BisectDocument(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="ffrtmp/bisect/1"
):
    """The conclusion of a bisection.

    Attributes:
        outcome: `found`, `not_shown`, `undecided`, `not_confirmed` or `not_comparable`.
        before: The last build that is known to lack the change.
        after: The first build that is known to have it.
        scenario: The scenario that became slower or worse; null if none is shown.
        quantity: The quantity that became worse; null if none is shown.
        difference: The difference of the quantity between the two builds, with its interval; null
            if none is shown.
        ends: All differences between the first and the last build.
        encodes: The number of encodes, including those before an interruption.
        directory: The directory with the measurements.
        sentences: The conclusion as sentences.
    """

    outcome: str
    before: BisectedBuild
    after: BisectedBuild
    scenario: str | None
    quantity: str | None
    difference: dict[str, Any] | None
    ends: list[dict[str, Any]]
    encodes: int
    directory: str
    sentences: list[str]


@click.command("bisect")
@click.argument("suite", type=click.Path(path_type=Path))
@click.argument("builds", metavar="BUILD...", nargs=-1, required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="Directory of the bisection. The same command continues an interrupted one in it.",
)
@click.option(
    "--scenario", metavar="SOURCE/ENCODE/RATE", help="Measure only this scenario of the suite."
)
@click.option(
    "--quantity",
    "quantities",
    type=click.Choice(_QUANTITIES),
    multiple=True,
    help="Quantity that became worse; may be repeated, the most important one first.  [default: "
    "speed, bit_rate, vmaf_neg]",
)
@click.option(
    "--max-repeats",
    type=click.IntRange(_REPEATS_LEAST, 1000),
    default=32,
    show_default=True,
    help="Maximum number of repeats of each build in a comparison.",
)
@click.option(
    "--allow-disturbed",
    is_flag=True,
    help="Compare results also if other load or steal has degraded them.",
)
@click.option(
    "--ffmpeg",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="FFmpeg to prepare clips and to measure quality with.",
)
@click.option(
    "--ffprobe", type=click.Path(path_type=Path), metavar="PATH", help="ffprobe to read clips with."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    suite: Path,
    builds: tuple[str, ...],
    *,
    output: Path,
    scenario: str | None,
    quantities: tuple[str, ...],
    max_repeats: int,
    ffmpeg: Path | None,
    ffprobe: Path | None,
    allow_disturbed: bool,
    as_json: bool,
) -> None:
    """Find the FFmpeg build with which a suite became slower or worse.

    The builds are ordered, the oldest one first. A build is a program, or a URL that ends with
    #sha256= and the digest of the program.

    The builds are measured on this computer. Ctrl-C stops the bisection. The same command resumes
    it.
    """
    # Imported here, because the help must not take the time.
    from ffrtmp_analysis.bisection.search import SearchSettings  # noqa: PLC0415
    from ffrtmp_analysis.comparison.quantities import Quantity  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from ffrtmp_cli.bisection.batch_suite import read_bisected_suite  # noqa: PLC0415
    from ffrtmp_cli.bisection.bisection_run import BisectionRequest, run_bisection  # noqa: PLC0415
    from ffrtmp_cli.bisection.builds import read_builds  # noqa: PLC0415
    from ffrtmp_cli.bisection.conclusion_text import conclusion_lines  # noqa: PLC0415
    from ffrtmp_cli.local.paths import find_paths  # noqa: PLC0415

    wanted = quantities or ("speed", "bit_rate", "vmaf_neg")
    request = BisectionRequest(
        suite=read_bisected_suite(suite, scenario),
        builds=read_builds(builds),
        output=output,
        settings=SearchSettings(
            tuple(Quantity(name) for name in dict.fromkeys(wanted)), repeats_max=max_repeats
        ),
        ffmpeg=ffmpeg,
        ffprobe=ffprobe,
        allow_disturbed=allow_disturbed,
    )
    finished = run_bisection(request, find_paths(), Console(stderr=True))
    lines = list(conclusion_lines(finished, request.builds))
    document = _document(finished, request.builds, lines)
    print_output(document, "\n".join([*lines, str(finished.directory)]), as_json=as_json)
    if document.outcome not in ("found", "not_shown"):
        raise CommandError(
            "the build of the change is not known: measure on an idle computer, or set a higher "
            "--max-repeats or --allow-disturbed, which keep the results so far"
        )


def _document(finished: Any, builds: Any, lines: list[str]) -> BisectDocument:
    found = finished.conclusion
    target = found.target

    def build(number: int) -> BisectedBuild:
        return BisectedBuild(**msgspec.structs.asdict(builds[number]))

    return BisectDocument(
        outcome=found.outcome.value,
        before=build(found.before),
        after=build(found.after),
        scenario=None if target is None else f"{target.source}/{target.configuration}",
        quantity=None if target is None else target.quantity.value,
        difference=msgspec.to_builtins(found.difference),
        ends=[msgspec.to_builtins(difference) for difference in found.ends],
        encodes=finished.encodes,
        directory=str(finished.directory),
        sentences=lines,
    )


setattr(command.callback, DOCUMENT_TYPE, BisectDocument)
