"""The error that ends an attempt without a measurement, with its failure class."""

from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.value_rules import clean_text

_MAX_MESSAGE = 4096
_MAX_LOG_TAIL = 16384


class AttemptFailedError(Exception):
    """The attempt ended without a measurement."""

    def __init__(self, failure_class: FailureClass, message: str, log_tail: str = "") -> None:
        """Create the error.

        Args:
            failure_class: the class of the failure, which identifies the kind of cause.
            message: a description of the cause.
            log_tail: the last lines of FFmpeg's log, or an empty string if there are none.
        """
        super().__init__(message)
        self.failure_class = failure_class
        self.log_tail = log_tail

    @property
    def failure(self) -> Failure:
        """The failure to report. If the log is too long, only its end is included."""
        return Failure(
            failure_class=self.failure_class,
            message=clean_text(str(self), _MAX_MESSAGE),
            # FFmpeg also logs control characters, for example those in the tags of a source.
            log_tail=clean_text(self.log_tail[-_MAX_LOG_TAIL:]),
        )
