"""Errors with which the master refuses a request. Their messages are meant for the client."""

from collections.abc import Sequence


class RequestError(Exception):
    """A valid request cannot be fulfilled."""


class NotFoundError(RequestError):
    """The object of the request does not exist."""


class ConflictError(RequestError):
    """The current state of the object does not permit the request."""


class UnprocessableError(RequestError):
    """The request can never be fulfilled as it is; `errors` lists the problems."""

    def __init__(self, message: str, errors: Sequence[str] = ()) -> None:
        """Create an error with a message and a list of problems."""
        super().__init__(message)
        self.errors = tuple(errors)


def invalid_cursor(name: str, text: str) -> UnprocessableError:
    """Return the error for a text that is not a cursor.

    Args:
        name: The parameter that contains the text.
        text: The text.
    """
    return UnprocessableError(
        f"{name}: {text!r} is not a cursor of this list; send one that the master returned"
    )


class BusyError(RequestError):
    """The master already performs as many such requests as it may. A later request may succeed."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        """Create an error with a message and the time to wait in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLargeError(RequestError):
    """The transmitted data is larger than the settings allow."""


class InsufficientSpaceError(RequestError):
    """The data cannot be stored, because the remaining space is reserved for results."""
