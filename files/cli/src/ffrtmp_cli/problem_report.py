"""Report of the error that ended a command, as text or as a problem document (RFC 9457)."""

import json
from http import HTTPStatus

import click

from ffrtmp_cli.errors import CommandError, ExitCode


def report_error(
    error: CommandError | click.ClickException | OSError, *, as_json: bool
) -> ExitCode | int:
    """Print an error to standard error, and return the exit code of the command.

    With `as_json`, it is printed as a problem document: `type`, `title`, `detail`, `errors` with
    the individual errors, the HTTP `status` if the master refused the request, and `exit_code`.

    Args:
        error: The error.
        as_json: Whether to print a problem document instead of text.
    """
    if isinstance(error, OSError):
        error = _file_error(error)
    if isinstance(error, click.ClickException):
        if not as_json:
            error.show()
            return error.exit_code
        error = CommandError(error.format_message(), ExitCode(error.exit_code))
    if as_json:
        click.echo(json.dumps(_problem(error)), err=True)
    else:
        click.echo(f"ffrtmp: {error}", err=True)
    return error.code


def _file_error(error: OSError) -> CommandError:
    place = error.filename or "a file or a connection"
    return CommandError(f"{place} cannot be used: {error.strerror or error}")


def _problem(error: CommandError) -> dict[str, object]:
    status = {} if error.status is None else {"status": error.status}
    title = error.code.name.lower().replace("_", " ")
    if error.status is not None and error.status in set(HTTPStatus):
        title = HTTPStatus(error.status).phrase
    return {
        "type": "about:blank",
        "title": title,
        **status,
        "detail": error.message,
        "errors": list(error.details),
        "exit_code": int(error.code),
    }
