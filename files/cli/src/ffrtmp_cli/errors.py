"""Errors that end a command, and the exit codes of all commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command. Shells, scripts and CI systems depend on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    JOBS_FAILED = 4
    REGRESSION = 5
    UNDECIDED = 6
    INTERRUPTED = 130


class CommandError(Exception):
    """An error that the user can fix. The message says what to do.

    Args:
        message: The reason, and what to do.
        code: The exit code of the command.
        details: Further errors, such as those of the fields of a suite.
        status: The HTTP status, if the master refused a request.
    """

    def __init__(
        self,
        message: str,
        code: ExitCode = ExitCode.FAILED,
        details: tuple[str, ...] = (),
        status: int | None = None,
    ) -> None:
        super().__init__("\n".join([message, *details]))
        self.message = message
        self.code = code
        self.details = details
        self.status = status
