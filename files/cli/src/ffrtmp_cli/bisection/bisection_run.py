"""A bisection on this computer: measurements until the search has a conclusion."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ffrtmp_analysis.bisection.measured_batches import Batch, Measure
from ffrtmp_analysis.bisection.search import BisectionConclusion, SearchSettings, continue_search
from rich.console import Console

from ffrtmp_cli.bisection.batch_suite import BisectedSuite
from ffrtmp_cli.bisection.builds import Build
from ffrtmp_cli.bisection.state_directory import StateDirectory, inputs_of, read_batch
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local.benchmark import Request, run_benchmark
from ffrtmp_cli.local.paths import LocalPaths


@dataclass(frozen=True)
class BisectionRequest:
    """A request of the user.

    Attributes:
        suite: The suite.
        builds: The builds, the oldest one first.
        output: The directory of the bisection.
        settings: The settings of the search.
        ffmpeg: The FFmpeg that measures quality, or None.
        ffprobe: The ffprobe, or None.
        allow_disturbed: Whether results that other load or steal degraded can be compared.
    """

    suite: BisectedSuite
    builds: tuple[Build, ...]
    output: Path
    settings: SearchSettings
    ffmpeg: Path | None
    ffprobe: Path | None
    allow_disturbed: bool


@dataclass(frozen=True)
class FinishedBisection:
    """A finished bisection.

    Attributes:
        conclusion: The conclusion, in which the builds have their numbers from 0.
        unusable: Why builds could not be measured, by their number.
        encodes: The number of results.
        directory: The directory of the bisection.
    """

    conclusion: BisectionConclusion
    unusable: dict[int, str]
    encodes: int
    directory: Path


def run_bisection(
    request: BisectionRequest, paths: LocalPaths, console: Console
) -> FinishedBisection:
    """Measure until the search has a conclusion. An interrupted bisection is continued.

    Args:
        request: The request.
        paths: The user's directories.
        console: The console for progress, on standard error.

    Raises:
        CommandError: The bisection cannot be completed. The message says what to do.
    """

    def report(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    builds, suite = request.builds, request.suite
    directory = StateDirectory(request.output, inputs_of(suite.text, suite.scenario, builds))
    batches: list[Batch] = []
    unusable: dict[int, str] = {}
    while True:
        stored = directory.batches()
        if len(batches) < len(stored):
            batch = stored[len(batches)]
            if not batch.is_measured:
                report(_request_text(batch.request, builds))
                run_benchmark(_local_request(request, batch.suite, batch.results), paths, console)
            measured, missing = read_batch(batch, builds, allow_disturbed=request.allow_disturbed)
            batches.append(measured)
            _note_unusable(missing, builds, unusable, report)
            continue
        usable = [number for number in range(len(builds)) if number not in unusable]
        found = continue_search(len(usable), _numbered(batches, usable), request.settings)
        if isinstance(found, BisectionConclusion):
            conclusion = msgspec.structs.replace(
                found, before=usable[found.before], after=usable[found.after]
            )
            encodes = sum(
                len(results.repeats)
                for batch in batches
                for side in batch.results.values()
                for results in side
            )
            return FinishedBisection(conclusion, unusable, encodes, directory.folder)
        wanted = msgspec.structs.replace(
            found,
            before=usable[found.before],
            after=usable[found.after],
            builds=tuple(usable[number] for number in found.builds),
        )
        text = suite.batch_text(wanted, [builds[number] for number in wanted.builds])
        directory.add(len(batches) + 1, wanted, text)


def _numbered(batches: list[Batch], usable: list[int]) -> list[Batch]:
    """Return the batches of usable builds, with the numbers that these have among each other."""
    places = {number: place for place, number in enumerate(usable)}
    return [
        Batch(
            request=msgspec.structs.replace(
                batch.request,
                before=places[batch.request.before],
                after=places[batch.request.after],
                builds=tuple(places[number] for number in batch.request.builds),
            ),
            results={places[number]: results for number, results in batch.results.items()},
        )
        for batch in batches
        if batch.request.before in places and batch.request.after in places
    ]


def _note_unusable(
    missing: dict[int, str],
    builds: tuple[Build, ...],
    unusable: dict[int, str],
    report: Callable[[str], None],
) -> None:
    for number, reason in missing.items():
        text = f"{builds[number].label} cannot be measured: {reason}"
        if number in (0, len(builds) - 1):
            raise CommandError(f"{text}. Leave it out, and choose another --output")
        if number not in unusable:
            report(f"{text}. It is left out")
            unusable[number] = reason


def _local_request(request: BisectionRequest, suite: Path, results: Path) -> Request:
    return Request(
        path=suite,
        output=results,
        ffmpeg=request.ffmpeg,
        ffprobe=request.ffprobe,
        # The user has named the builds.
        allow_builds=True,
        is_new=False,
    )


def _request_text(request: Measure, builds: tuple[Build, ...]) -> str:
    names = " and ".join(builds[number].label for number in request.builds)
    return f"Measuring {names}, {request.repeats} repeats"
