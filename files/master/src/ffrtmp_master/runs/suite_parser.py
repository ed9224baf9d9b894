"""Parsing of suites beside the other requests of a master.

A suite of the maximum size takes many seconds to parse. Only a few suites are parsed at the same
time, large ones in a process of their own, because a thread would delay all other requests: Python
executes only one thread of a process at a time.
"""

import subprocess
import sys
import threading
from uuid import UUID

import msgspec
from ffrtmp_shared.suite import Suite, SuiteError

from ffrtmp_master.runs import interim_looks, suite_program
from ffrtmp_master.runs.compute_pool import ComputePool
from ffrtmp_master.runs.suite_outline import SuiteOutline
from ffrtmp_master.runs.suite_program import ParsedSuite
from ffrtmp_master.store.errors import UnprocessableError

PARSE_TIMEOUT_S = 120.0
"""The maximum duration of parsing a suite, in seconds."""

# Longer texts are parsed in a process of their own, which takes half a second to start.
_LARGE_CHARACTERS = 32 * 1024
_CACHED_RUNS_MAX = 1024

_decode = msgspec.json.Decoder(ParsedSuite).decode


class SuiteParser:
    """Parses suites in a compute pool, and remembers the outlines of the latest runs."""

    def __init__(self, pool: ComputePool) -> None:
        """Create a parser that uses `pool`."""
        self._pool = pool
        self._outlines: dict[UUID, SuiteOutline] = {}
        self._processes = _SuiteProcesses()

    async def parse(self, text: str) -> Suite:
        """Return the suite in `text`.

        Raises UnprocessableError if the suite is not valid (its cause is then the SuiteError) or
        cannot be parsed within the limits, and BusyError if too many suites are being parsed.
        """
        try:
            return await self._pool.run(self._parse, text)
        except SuiteError as error:
            raise UnprocessableError(
                "the suite is not valid", [str(problem) for problem in error.problems]
            ) from error

    async def outline(self, run_id: UUID, text: str) -> SuiteOutline:
        """Return the outline of a run, whose suite is parsed only if it is not remembered.

        Args:
            run_id: The run.
            text: The suite of the run.

        Returns:
            The outline.

        Raises:
            UnprocessableError: The suite is not valid, or cannot be parsed within the limits.
            BusyError: Too many suites are being parsed.
        """
        return self._outlines.get(run_id) or self.remember(run_id, await self.parse(text))

    def remember(self, run_id: UUID, parsed: Suite) -> SuiteOutline:
        """Remember the outline of the suite of a run, and return it."""
        while len(self._outlines) >= _CACHED_RUNS_MAX:
            del self._outlines[next(iter(self._outlines))]
        outline = SuiteOutline.of(parsed)
        self._outlines[run_id] = outline
        return outline

    def is_remembered(self, run_id: UUID) -> bool:
        """Return whether the suite of a run need not be parsed again."""
        return run_id in self._outlines

    def close(self) -> None:
        """End all processes that parse suites."""
        self._processes.close()

    def _parse(self, text: str) -> Suite:
        if len(text) < _LARGE_CHARACTERS:
            parsed = suite_program.parse(text)
        else:
            parsed = self._processes.parse(text)
        if parsed.suite is None:
            raise SuiteError(list(parsed.problems))
        # Planning the looks also takes time. The result is cached.
        interim_looks.looks_of(parsed.suite)
        return parsed.suite


class _SuiteProcesses:
    """The processes that parse large suites. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False

    def parse(self, text: str) -> ParsedSuite:
        """Parse a suite in a new process, and wait for it. Raises UnprocessableError."""
        try:
            content = text.encode()
        except UnicodeEncodeError as error:
            raise _failed(f"it is not valid Unicode: {error.reason}") from error
        command = [sys.executable, "-m", suite_program.__name__]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            with self._lock:
                self._running.add(process)
                if self._is_closed:
                    process.kill()
            try:
                output, _ = process.communicate(content, PARSE_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise _failed(f"parsing it takes more than {PARSE_TIMEOUT_S:g} s") from error
            finally:
                process.kill()
                with self._lock:
                    self._running.discard(process)
        if process.returncode:
            limit_mib = suite_program.MEMORY_MAX_BYTES // 2**20
            raise _failed(f"parsing it needs more than {limit_mib} MiB of memory")
        return _decode(output)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()


def _failed(message: str) -> UnprocessableError:
    return UnprocessableError("the suite cannot be parsed", [message])
