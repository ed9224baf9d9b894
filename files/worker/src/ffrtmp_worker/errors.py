"""How an attempt that cannot be measured ends: with a class that says whose fault it was."""

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.models import Failure

_MAX_MESSAGE = 4096
_MAX_LOG_TAIL = 16384


class AttemptFailedError(Exception):
    """The attempt is over and there is no measurement."""

    def __init__(self, failure_class: FailureClass, message: str, log_tail: str = "") -> None:
        """Keep the verdict; `log_tail` has FFmpeg's last lines where it said any."""
        super().__init__(message)
        self.failure_class = failure_class
        self.log_tail = log_tail

    @property
    def failure(self) -> Failure:
        """The verdict as it is reported: the end of the log matters most, so that stays."""
        return Failure(
            failure_class=self.failure_class,
            message=str(self)[:_MAX_MESSAGE],
            log_tail=self.log_tail[-_MAX_LOG_TAIL:],
        )
