"""Results to reproduce, from the file of a run or from a farm."""

import json
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import msgspec
from ffrtmp_client.api import Master
from ffrtmp_client.bundle_archive import is_bundle
from ffrtmp_client.errors import RefusedError, SettingsError
from ffrtmp_client.saved_results import read_document
from ffrtmp_shared.models import Result

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.name_rules import is_id
from ffrtmp_cli.run_selection import LAST, select_run

FILE_NAME = "results.json"
"""Name of the file with the results of a run, in the directory of its results."""

_MAX_BYTES = 1024**3
_MAX_NAMES = 20


class ResultSource(Protocol):
    """A place from which results are read."""

    def results_with(self, name: str) -> Sequence[Result]:
        """Return the results of the run that contains `name`.

        Args:
            name: The id of a result or of a job, or the name of a scenario.
        """
        ...


class ResultFile:
    """The file with the results of one run, or its bundle."""

    def __init__(self, path: Path) -> None:
        """Use the file or bundle `path`, or the file results.json in the directory `path`."""
        self._path = path / FILE_NAME if path.is_dir() else path

    def results_with(self, name: str) -> Sequence[Result]:  # noqa: ARG002
        """Return all results of the file. Raises CommandError if it cannot be read."""
        return self._convert(self._read())

    def _read(self) -> object:
        """Return the document of the file. Raises CommandError."""
        if is_bundle(self._path):
            try:
                return read_document(self._path)
            except SettingsError as error:
                raise CommandError(str(error)) from error
        try:
            # A named pipe without a writer would block before its type is known.
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise CommandError(f"{self._path} is not a regular file. Name the file {FILE_NAME}")
            with self._path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise CommandError(f"{self._path} is larger than {_MAX_BYTES} bytes")
            document: object = json.loads(content)
        except (OSError, ValueError, RecursionError) as error:
            raise CommandError(f"{self._path} cannot be read: {error}") from error
        return document

    def _convert(self, document: object) -> tuple[Result, ...]:
        """Return the results of a document. Raises CommandError."""
        try:
            items = document["results"] if isinstance(document, dict) else document
            return msgspec.convert(items, tuple[Result, ...])
        except (KeyError, msgspec.ValidationError) as error:
            raise CommandError(
                f"{self._path} does not contain results of this release: {error}. Name the file "
                f"{FILE_NAME} of a run; for results of a newer release, update ffrtmp"
            ) from error


class FarmResults:
    """The results of one run of a farm."""

    def __init__(
        self, connect: Callable[[], AbstractContextManager[Master]], run: str | None = None
    ) -> None:
        """Use the farm that `connect` connects to.

        Args:
            connect: A function that opens a connection.
            run: The run: its id, the end of its id, or `last`. If it is None, the run is that of
                the job, or the last one if a scenario is named.
        """
        self._connect = connect
        self._run = run

    def results_with(self, name: str) -> Sequence[Result]:
        """Return all results of the run. Raises CommandError if there is no such run."""
        with self._connect() as master:
            run_id = self._run_id(master, name)
            items = list(master.pages("/v1/results", {"run": run_id}))
        try:
            return msgspec.convert(items, tuple[Result, ...])
        except msgspec.ValidationError as error:
            raise CommandError(
                f"the results of run {run_id} are not those of this release: {error}. Update ffrtmp"
            ) from error

    def _run_id(self, master: Master, name: str) -> str:
        if self._run is None and is_id(name):
            try:
                return str(master.get(f"/v1/jobs/{name}")["run_id"])
            except RefusedError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                raise CommandError(
                    f"there is no job {name}. If it is the id of a result, name its run with --run",
                    ExitCode.NOT_FOUND,
                ) from error
        return str(select_run(master, self._run or LAST)["id"])


def select_result(
    results: Sequence[Result], name: str, *, node: str | None = None, repeat: int | None = None
) -> Result:
    """Return the result with an id, or the first repeat of a scenario.

    Args:
        results: The results of a run.
        name: The id of a result or of a job, or the name of a scenario.
        node: The node, if several have results of the scenario.
        repeat: The repeat, instead of the first.

    Raises:
        CommandError: There is no such result, or several nodes have one.
    """
    found = [
        result
        for result in results
        if name in (str(result.id), str(result.job_id), result.scenario.name)
        and node in (None, result.node)
        and repeat in (None, result.repeat)
    ]
    nodes = sorted({result.node for result in found})
    if len(nodes) > 1:
        raise CommandError(
            f"several nodes have results of {name}: {', '.join(nodes)}. Choose one with --node",
            ExitCode.USAGE,
        )
    if not found:
        names = sorted({result.scenario.name for result in results})
        more = ", ..." if len(names) > _MAX_NAMES else ""
        raise CommandError(
            f"there is no result {name!r}; name the id of a result or of a job, or one of these "
            f"scenarios: {', '.join(names[:_MAX_NAMES])}{more}",
            ExitCode.NOT_FOUND,
        )
    return min(found, key=lambda result: (result.repeat, result.attempt))


def repeats_of(result: Result, results: Sequence[Result]) -> list[Result]:
    """Return all results of the same scenario, node and run, including `result`."""
    return [
        other
        for other in results
        if (other.run_id, other.node, other.scenario.name)
        == (result.run_id, result.node, result.scenario.name)
    ]
