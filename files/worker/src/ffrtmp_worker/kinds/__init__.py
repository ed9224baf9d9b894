"""Registry of scenario kinds. A kind is a function that runs an attempt and measures it."""

from collections.abc import Callable

import msgspec
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import MAX_CACHE_NOTES, Measurement

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
"""The function of each kind, by the name of the kind in scenarios."""


def run_attempt(attempt: Attempt) -> Measurement:
    """Run an attempt and add the verdict to its measurement. Raises AttemptFailedError."""
    attempt.check_stop()
    kind = KINDS.get(attempt.scenario.kind)
    if kind is None:
        raise AttemptFailedError(
            FailureClass.INVALID_SETTINGS,
            f"unknown kind {attempt.scenario.kind!r}; use one of {', '.join(sorted(KINDS))}",
        )
    return with_verdict(_with_cache_record(kind(attempt), attempt))


def _with_cache_record(measured: Measurement, attempt: Attempt) -> Measurement:
    record = attempt.cache_record
    return msgspec.structs.replace(
        measured,
        cached_values=tuple(record.values[:MAX_CACHE_NOTES]),
        cache_faults=tuple(record.faults[:MAX_CACHE_NOTES]),
    )
