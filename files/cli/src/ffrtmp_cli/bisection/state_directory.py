"""Directory of a bisection, from which an interrupted one continues."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ffrtmp_analysis.bisection.measured_batches import Batch, Measure
from ffrtmp_client.errors import SettingsError
from ffrtmp_client.result_files import RunResults
from ffrtmp_client.saved_results import DOCUMENT_NAME, read_saved_results

from ffrtmp_cli.bisection.builds import Build
from ffrtmp_cli.bisection.measured_results import results_by_build
from ffrtmp_cli.errors import CommandError, ExitCode

_STATE = "bisect.json"
_REQUEST = "request.json"
_SUITE = "suite.yml"
_RESULTS = "results"
_FAILURES = "failures.json"


class BisectedInputs(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="ffrtmp/bisect-state/1"
):
    """The inputs of a bisection, which must not change while it is interrupted.

    Attributes:
        suite_sha256: The SHA-256 of the suite.
        scenario: The only scenario to measure, or None.
        builds: The builds.
    """

    suite_sha256: str
    scenario: str | None
    builds: tuple[Build, ...]


@dataclass(frozen=True)
class StoredBatch:
    """A request with the directories of its measurement.

    Attributes:
        number: The number of the request, from 1.
        folder: The directory of the request.
        request: The request.
    """

    number: int
    folder: Path
    request: Measure

    @property
    def suite(self) -> Path:
        """The suite that measures what the request asks for."""
        return self.folder / _SUITE

    @property
    def results(self) -> Path:
        """The directory of the results."""
        return self.folder / _RESULTS

    @property
    def is_measured(self) -> bool:
        """Return whether the results are complete."""
        return (self.results / "SHA256SUMS").exists()


def inputs_of(suite_text: str, scenario: str | None, builds: tuple[Build, ...]) -> BisectedInputs:
    """Return the inputs of a bisection."""
    digest = hashlib.sha256(suite_text.encode()).hexdigest()
    return BisectedInputs(suite_sha256=digest, scenario=scenario, builds=builds)


class StateDirectory:
    """The directory of a bisection, which is created if it does not exist.

    Args:
        folder: The directory.
        inputs: The inputs of the bisection.

    Raises:
        CommandError: The directory belongs to another bisection, or has other files.
    """

    def __init__(self, folder: Path, inputs: BisectedInputs) -> None:
        self.folder = folder.absolute()
        state = self.folder / _STATE
        if state.exists():
            try:
                stored = msgspec.json.decode(state.read_bytes(), type=BisectedInputs)
            except msgspec.MsgspecError as error:
                raise CommandError(
                    f"{state} cannot be read: {error}. Choose another --output"
                ) from error
            if stored != inputs:
                raise CommandError(
                    f"{folder} belongs to a bisection of another suite, scenario or list of "
                    "builds: choose another --output",
                    ExitCode.USAGE,
                )
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise CommandError(
                f"{folder} has other content: choose a new directory with --output", ExitCode.USAGE
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(state, msgspec.json.encode(inputs))

    def batches(self) -> list[StoredBatch]:
        """Return the requests so far, the last of which may not have been measured."""
        found: list[StoredBatch] = []
        while (file := self._folder(len(found) + 1) / _REQUEST).exists():
            request = msgspec.json.decode(file.read_bytes(), type=Measure)
            found.append(StoredBatch(len(found) + 1, file.parent, request))
        return found

    def add(self, number: int, request: Measure, suite_text: str) -> StoredBatch:
        """Store a request before it is measured.

        Args:
            number: The number of the request, from 1.
            request: The request.
            suite_text: The suite that measures it.
        """
        batch = StoredBatch(number, self._folder(number), request)
        batch.folder.mkdir(exist_ok=True)
        batch.suite.write_text(suite_text, encoding="utf-8")
        _write(batch.folder / _REQUEST, msgspec.json.encode(request))
        return batch

    def _folder(self, number: int) -> Path:
        return self.folder / f"{number:03}"


def read_batch(
    stored: StoredBatch, builds: tuple[Build, ...], *, allow_disturbed: bool
) -> tuple[Batch, dict[int, str]]:
    """Return the results of a request, and why builds have none, by the number of the build.

    Args:
        stored: The request, which has been measured.
        builds: The builds.
        allow_disturbed: Whether results that other load or steal degraded can be compared.

    Raises:
        CommandError: The results cannot be read.
    """
    try:
        read: RunResults = read_saved_results(stored.results / DOCUMENT_NAME)
    except SettingsError as error:
        raise CommandError(f"{error}. Choose another --output to start again") from error
    by_name = results_by_build(read.results, stored.number, allow_disturbed=allow_disturbed)
    results = {number: by_name.get(builds[number].name, ()) for number in stored.request.builds}
    missing = {
        number: _failure(stored, builds[number]) for number, found in results.items() if not found
    }
    return Batch(request=stored.request, results=results), missing


def _failure(stored: StoredBatch, build: Build) -> str:
    failures = json.loads((stored.results / _FAILURES).read_text(encoding="utf-8"))
    for failure in failures:
        if str(failure["scenario"]).endswith(f"/{build.name}"):
            return str(failure["message"])
    return "it has no results"


def _write(file: Path, content: bytes) -> None:
    """Write a file such that it is complete if it exists."""
    temporary = file.with_name(f"{file.name}.new")
    temporary.write_bytes(content)
    temporary.replace(file)
