"""Program that parses a suite in a process of its own.

It reads the text of the suite from standard input, and writes the parsed suite or the problems as
JSON to standard output.
"""

import os
import resource
import sys
from contextlib import suppress

import msgspec
from ffrtmp_shared import suite
from ffrtmp_shared.suite import Suite, SuiteProblem

MEMORY_MAX_BYTES = 2**30
"""The maximum size of the address space of the program, in bytes."""

_NICENESS = 10


class ParsedSuite(msgspec.Struct, frozen=True):
    """The output: the suite, or the problems if it is not valid."""

    suite: Suite | None = None
    problems: tuple[SuiteProblem, ...] = ()


def main() -> None:
    """Parse the suite."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    # The master answers other requests in the meantime. Its sandbox may forbid the change.
    with suppress(PermissionError):
        os.nice(_NICENESS)
    sys.stdout.buffer.write(msgspec.json.encode(parse(sys.stdin.buffer.read().decode())))


def parse(text: str) -> ParsedSuite:
    """Return the suite in `text`, or its problems."""
    try:
        return ParsedSuite(suite=suite.parse_suite(text))
    except suite.SuiteError as error:
        return ParsedSuite(problems=tuple(error.problems))


if __name__ == "__main__":
    main()
