"""Comparison of two runs, or of two FFmpeg builds, nodes or encodes of one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ffrtmp_client.phrases import counted
from ffrtmp_client.result_files import RunResults
from ffrtmp_client.runs import job_count

from ffrtmp_cli.comparison.changed_conditions import changed_conditions
from ffrtmp_cli.comparison.document import (
    ComparisonDocument,
    ComparisonSettings,
    compare_sides,
)
from ffrtmp_cli.comparison.sides import (
    Criterion,
    criterion_value,
    results_of,
    sides_of_one_run,
    sides_of_runs,
)
from ffrtmp_cli.errors import CommandError, ExitCode


@contextmanager
def _reporting_other_forms() -> Iterator[None]:
    """Raise CommandError if results do not have the form that the API specifies."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise CommandError(
            f"the results do not have the expected form ({type(error).__name__}: {error}). Use "
            "results of this release"
        ) from error


@_reporting_other_forms()
def compare_runs(
    reads: tuple[RunResults, RunResults], names: tuple[str, str], settings: ComparisonSettings
) -> ComparisonDocument:
    """Return the comparison of two runs.

    Args:
        reads: The runs.
        names: Their names.
        settings: What is compared.

    Raises:
        CommandError: The results do not have the expected form.
    """
    a, b = reads
    return compare_sides(
        *sides_of_runs(a, b, names),
        settings=settings,
        changed=changed_conditions(a.results, b.results),
        has_controls=True,
        remarks=tuple(_remarks(reads, names)),
    )


@_reporting_other_forms()
def compare_within_run(
    read: RunResults,
    criterion: Criterion,
    names: tuple[str, str],
    settings: ComparisonSettings,
) -> ComparisonDocument:
    """Return the comparison of two FFmpeg builds, nodes or encodes of one run.

    Args:
        read: The run.
        criterion: What distinguishes the sides.
        names: The names of the builds, nodes or encodes.
        settings: What is compared.

    Raises:
        CommandError: The run has no results of one of them, both are the same, or the results do
            not have the expected form.
    """
    known = sorted({criterion_value(result, criterion) for result in read.results})
    for name in names:
        if name not in known:
            raise CommandError(
                f"the run has no results of the {criterion} {name!r}. It has: "
                f"{', '.join(known) or 'no results'}",
                ExitCode.NOT_FOUND,
            )
    if names[0] == names[1]:
        raise CommandError(f"both sides are the {criterion} {names[0]!r}", ExitCode.USAGE)
    first, second = (results_of(read, criterion, name) for name in names)
    return compare_sides(
        *sides_of_one_run(read, criterion, names),
        settings=settings,
        changed=changed_conditions(first, second),
        has_controls=False,
        remarks=tuple(_remarks((read,), ("the run",))),
    )


def _remarks(reads: Sequence[RunResults], names: Sequence[str]) -> Iterator[str]:
    """Yield what a reader has to know about the runs."""
    if len(reads) > 1 and reads[0].run["id"] == reads[1].run["id"]:
        yield "Both sides are the same run."
    for read, name in zip(reads, names, strict=True):
        if not read.is_complete:
            total, done = job_count(read.run), len(read.results)
            yield f"Only {done} of the {counted(total, 'job')} of {name} have results."
