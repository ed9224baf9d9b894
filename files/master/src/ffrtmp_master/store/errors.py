"""What the rules of the farm refuse, in words for the caller."""

from collections.abc import Sequence


class RequestError(Exception):
    """The request is understood and against the rules."""


class NotFoundError(RequestError):
    """What the request names does not exist."""


class ConflictError(RequestError):
    """The request does not fit the present state of what it names."""


class UnprocessableError(RequestError):
    """The request can never be done as it is; `errors` lists what is wrong with it."""

    def __init__(self, message: str, errors: Sequence[str] = ()) -> None:
        """Keep the list beside the message."""
        super().__init__(message)
        self.errors = tuple(errors)


class TooLargeError(RequestError):
    """What was sent is larger than the settings allow."""
