"""Times of measurements."""

from ffrtmp_shared.models import Result
from ffrtmp_shared.unavailable import Unavailable


def measurement_time_s(result: Result) -> float:
    """Return the Unix time of a measurement, or that of its storage if it is unknown.

    Earlier releases of the agent did not report the former. If it is after the time of storage, the
    clock of the worker is wrong.
    """
    measured_at = result.measurement.environment.measured_at
    if isinstance(measured_at, Unavailable):
        return result.stored_at.timestamp()
    return min(measured_at, result.stored_at).timestamp()
