"""The commands `ffrtmp suite`, which write, check and plan suites."""

from pathlib import Path

import click
import msgspec
from ffrtmp_client import runs
from ffrtmp_client.api import Master, file_sha256
from ffrtmp_client.errors import ApiError
from ffrtmp_client.phrases import counted
from ffrtmp_client.plan_text import plan_lines
from ffrtmp_client.suite_files import SuiteText, file_problems
from ffrtmp_shared.atomic_file import write_atomically

from ffrtmp_cli.byte_text import byte_text
from ffrtmp_cli.connection import connected
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.new_suite import EncodeChoice, SuiteClip, suite_text
from ffrtmp_cli.output import json_output
from ffrtmp_cli.submission import plan_suite

_FILE_MODE = 0o644


class WaitingScenarios(msgspec.Struct, frozen=True, kw_only=True):
    """Scenarios that no active node can run.

    Attributes:
        scenarios: The names of the scenarios.
        reason: The reason that they have in common.
    """

    scenarios: tuple[str, ...]
    reason: str


class OmittedNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that gets no jobs of a run.

    Attributes:
        node: The name of the node.
        state: `draining` or `offline`.
    """

    node: str
    state: str


class CheckedSuiteDocument(
    msgspec.Struct, tag_field="schema", tag="ffrtmp/checked-suite/1", kw_only=True
):
    """A suite that is valid.

    Attributes:
        file: The path of its file.
        name: The name of the suite.
        scenarios: The names of the scenarios: each source with each encode and rate point.
        repeats: The number of times that each scenario is measured on a node, or the minimum.
        files: The paths of the files that the suite lists.
    """

    file: str
    name: str
    scenarios: tuple[str, ...]
    repeats: int
    files: tuple[str, ...]


class PlanDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/suite-plan/1", kw_only=True):
    """Plan of a run, which is not queued.

    Attributes:
        suite: The name of the suite.
        encodes: The number of jobs that are certain, each with a timed encode.
        control_encodes: The number of control encodes among them.
        scenarios: The names of the scenarios.
        nodes: The active nodes that can run at least one scenario.
        repeats: The number of repeats of each scenario; with a precision, the minimum.
        max_repeats: The maximum number of repeats; null without a precision.
        duration_s: The expected duration if no other jobs run, in seconds; null if it is unknown.
        duration_reason: Why the duration is unknown; otherwise empty.
        is_minimum: Whether more jobs may be added, so that the duration is a minimum.
        upload_files: The paths of the files that would be uploaded.
        upload_bytes: Their size, in bytes.
        waiting: The scenarios that no active node can run, with the reasons.
        omitted_nodes: The nodes that get no jobs because they are draining or offline.
    """

    suite: str
    encodes: int
    control_encodes: int
    scenarios: tuple[str, ...]
    nodes: tuple[str, ...]
    repeats: int
    max_repeats: int | None
    duration_s: float | None
    duration_reason: str
    is_minimum: bool
    upload_files: tuple[str, ...]
    upload_bytes: int
    waiting: tuple[WaitingScenarios, ...]
    omitted_nodes: tuple[OmittedNode, ...]


class NewSuiteDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/new-suite/1", kw_only=True):
    """A suite that was written.

    Attributes:
        file: The path of its file.
        name: The name of the suite.
        scenarios: The number of scenarios.
        repeats: The number of times that each scenario is measured on a node.
    """

    file: str
    name: str
    scenarios: int
    repeats: int


@click.group("suite")
def command() -> None:
    """Write, check and plan suites."""


@command.command("new", epilog=examples("ffrtmp suite new $CLIP --output new.yml"))
@click.argument("clips", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--output", "-o", required=True, type=click.Path(dir_okay=False), help="File of the suite."
)
@click.option("--name", help="Name of the suite.  [default: that of the file]")
@click.option(
    "--encode",
    "encodes",
    multiple=True,
    default=("libx264:medium", "libsvtav1:8"),
    show_default=True,
    metavar="ENCODER[:PRESET]",
    help="Encoder with a preset; can be repeated.",
)
@click.option(
    "--bitrate-kbps",
    "bitrates_kbps",
    multiple=True,
    type=click.IntRange(1, 1_000_000),
    default=(500, 1000, 2000, 4000),
    show_default=True,
    help="Bit rate; can be repeated.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=6,
    show_default=True,
    help="Number of times that each encode is measured.",
)
@json_output(NewSuiteDocument)
def new(
    clips: tuple[str, ...],
    *,
    output: str,
    name: str | None,
    encodes: tuple[str, ...],
    bitrates_kbps: tuple[int, ...],
    repeats: int,
) -> tuple[NewSuiteDocument, str]:
    """Write a suite that encodes CLIPS with some encoders at some bit rates.

    Six repeats are the smallest number with which medians have intervals of 95 %.
    """
    file = Path(output)
    if file.exists():
        raise CommandError(f"{output} exists: choose another file", ExitCode.USAGE)
    if not file.absolute().parent.is_dir():
        raise CommandError(
            f"the directory {file.parent} does not exist: create it, or choose another file",
            ExitCode.USAGE,
        )
    text = suite_text(
        name or file.stem,
        [SuiteClip(Path(clip).absolute(), file_sha256(Path(clip))) for clip in clips],
        [EncodeChoice.of(encode) for encode in encodes],
        bitrates_kbps,
        repeats=repeats,
        directory=file.absolute().parent,
    )
    suite = _parse(SuiteText(file, text))
    write_atomically(file, text.encode(), is_durable=False, mode=_FILE_MODE)
    document = NewSuiteDocument(
        file=output, name=suite.name, scenarios=len(suite.scenarios), repeats=repeats
    )
    scenarios = counted(len(suite.scenarios), "scenario")
    text = f"{output}: {scenarios}, each measured {counted(repeats, 'time')} on each node"
    return document, f"{text}.\nNext: ffrtmp suite plan {output}"


@command.command("check", epilog=examples("ffrtmp suite check files/suites/demo.yml"))
@click.argument("file", type=click.Path())
@json_output(CheckedSuiteDocument)
def check(file: str) -> tuple[CheckedSuiteDocument, str]:
    """Check a suite and the files that it lists, without a master.

    All problems are reported with their positions.
    """
    if not Path(file).exists():
        raise CommandError(f"{file} does not exist: name the file of a suite", ExitCode.NOT_FOUND)
    try:
        suite = SuiteText(Path(file), runs.read_suite(file))
    except ApiError as error:
        raise CommandError(str(error)) from error
    document = _parse(suite)
    scenarios = counted(len(document.scenarios), "scenario")
    return document, f"{file}: {scenarios}; the suite is valid."


@command.command("plan", epilog=examples("ffrtmp suite plan files/suites/demo.yml"))
@click.argument("file", type=click.Path())
@json_output(PlanDocument)
@connected
def plan(master: Master, file: str) -> tuple[PlanDocument, str]:
    """Show what a run of a suite would do: encodes, minutes and bytes. Nothing is queued."""
    submission = plan_suite(master, file, key=None, seed=None)
    found, expected = submission.plan, submission.plan["expected"]
    size = submission.upload_bytes
    lines = plan_lines(found)
    if submission.uploads:
        lines.append(f"To upload: {byte_text(size)}")
    document = PlanDocument(
        suite=found["suite_name"],
        encodes=found["total_jobs"],
        control_encodes=found["control_jobs"],
        scenarios=tuple(found["scenarios"]),
        nodes=tuple(found["nodes"]),
        repeats=found["repeats"],
        max_repeats=found["max_repeats"],
        duration_s=expected["duration_s"],
        duration_reason=expected["reason"],
        is_minimum=expected["is_minimum"],
        upload_files=tuple(str(path) for path in submission.uploads.values()),
        upload_bytes=size,
        waiting=msgspec.convert(found["waiting"], tuple[WaitingScenarios, ...]),
        omitted_nodes=msgspec.convert(found["omitted_nodes"], tuple[OmittedNode, ...]),
    )
    return document, "\n".join(lines)


def _parse(suite: SuiteText) -> CheckedSuiteDocument:
    """Return a suite that is valid. Raises CommandError with all problems that were found."""
    # The validation of suites takes a while to import.
    from ffrtmp_shared.suite import SuiteError, parse_suite  # noqa: PLC0415

    try:
        parsed = parse_suite(suite.text)
    except SuiteError as error:
        problems = [
            f"{suite.path}:{found.line}:{found.column}: {found.message}" for found in error.problems
        ]
        raise CommandError(
            f"the suite {suite.path} is not valid", ExitCode.USAGE, details=tuple(problems)
        ) from error
    wrong = file_problems(
        suite,
        [{"name": file.label, "path": file.path, "sha256": file.sha256} for file in parsed.files],
    )
    if wrong:
        raise CommandError(
            "the files of the suite cannot be used", ExitCode.USAGE, details=tuple(wrong)
        )
    return CheckedSuiteDocument(
        file=str(suite.path),
        name=parsed.name,
        scenarios=tuple(scenario.name for scenario in parsed.scenarios()),
        repeats=parsed.repeats,
        files=tuple(file.path for file in parsed.files),
    )
