"""Registry of scenario kinds. A kind is a function from an attempt to its measurement."""

from collections.abc import Callable

from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.measurement import Measurement

from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.kinds import decode, density, ladder, live, transcode
from ffrtmp_worker.kinds.steps.attempt import Attempt
from ffrtmp_worker.verdict import with_verdict

KINDS: dict[str, Callable[[Attempt], Measurement]] = {
    "transcode": transcode.run_transcode,
    "ladder": ladder.run_ladder,
    "decode": decode.run_decode,
    "density": density.run_density,
    "live": live.run_live,
}
"""Every kind by its name in scenarios."""


def run_attempt(attempt: Attempt) -> Measurement:
    """Run the attempt's kind and add the verdict. Raises AttemptFailedError."""
    attempt.check_stop()
    kind = KINDS.get(attempt.scenario.kind)
    if kind is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS,
            f"unknown kind {attempt.scenario.kind!r}; use one of {', '.join(sorted(KINDS))}",
        )
    return with_verdict(kind(attempt))
