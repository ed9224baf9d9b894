"""Results of control encodes, which are compared with the history of their node."""

import statistics
from collections.abc import Iterable
from uuid import UUID

import msgspec
from ffrtmp_analysis.speed_range import MAX_HISTORY, Side, confirms, usual_range
from ffrtmp_shared import control_encode
from ffrtmp_shared.host_environment import NODE_SHARED
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.scenario import Scenario
from ffrtmp_shared.verdict import VerdictState

from ffrtmp_master.store.rows import ControlSpeed, JobRow, NewControlSpeed
from ffrtmp_master.store.unit_of_work import UnitOfWork

# Almost no job is a control encode, so that other scenarios are not decoded.
_BEGINNING = f'{{"name":"{control_encode.SCENARIO.name}"'

# The speeds that are read include those of the same run and of other FFmpeg builds, and a run of
# several days has many.
_EARLIER_MAX = 20 * MAX_HISTORY


def record_control(work: UnitOfWork, job: JobRow, node: str, measurement: str) -> None:
    """Compare the speed of a control encode with the history of its node, and store both.

    Nothing is stored for other jobs. The speed of an invalid result, or of one that shared its node
    with other jobs, does not describe the node, and is not stored either.

    Args:
        work: The transaction, which also stores the result.
        job: The job of the result.
        node: The node that measured it.
        measurement: The measurement as JSON text.
    """
    if job.run_id is None or not _is_control(job):
        return
    measured = msgspec.json.decode(measurement, type=Measurement)
    is_invalid = measured.verdict is not None and measured.verdict.state is VerdictState.INVALID
    if is_invalid or measured.encode.speed <= 0 or measured.environment.node_use == NODE_SHARED:
        return
    speed = NewControlSpeed(
        run_id=job.run_id,
        node=node,
        job_id=job.id,
        version=control_encode.VERSION,
        ffmpeg_sha256=measured.provenance.ffmpeg.sha256,
        speed=measured.encode.speed,
        duration_s=(
            None if job.started_at is None else (work.now - job.started_at).total_seconds()
        ),
        stored_at=work.now,
    )
    work.statements.insert_control_speed(_compare(work, speed))


def _is_control(job: JobRow) -> bool:
    return job.scenario.startswith(_BEGINNING) and (
        msgspec.json.decode(job.scenario, type=Scenario) == control_encode.SCENARIO
    )


def _compare(work: UnitOfWork, speed: NewControlSpeed) -> NewControlSpeed:
    """Return a speed with its usual range and with what it says about the node."""
    earlier = work.statements.control_speeds(speed.node, _EARLIER_MAX)
    comparable = [
        other
        for other in earlier
        if other.run_id != speed.run_id
        and (other.version, other.ffmpeg_sha256) == (speed.version, speed.ffmpeg_sha256)
    ]
    usual = usual_range(_medians_of_runs(comparable)[::-1])
    if usual is None:
        return speed
    side = usual.side_of(speed.speed)
    in_run = next((other.side for other in earlier if other.run_id == speed.run_id), None)
    is_drift = confirms(None if in_run is None else Side(in_run), side)
    last = earlier[0]
    since, run_id = last.suspect_since, last.suspect_run_id
    if side is Side.INSIDE:
        since, run_id = None, None
    elif since is None and is_drift:
        since, run_id = speed.stored_at, speed.run_id
    return speed._replace(
        low=usual.low,
        usual=usual.center,
        high=usual.high,
        side=side.value,
        is_drift=is_drift,
        suspect_since=since,
        suspect_run_id=run_id,
    )


def _medians_of_runs(speeds: Iterable[ControlSpeed]) -> list[float]:
    """Return the median speed of each run, in the order in which the runs are found first."""
    by_run: dict[UUID, list[float]] = {}
    for speed in speeds:
        by_run.setdefault(speed.run_id, []).append(speed.speed)
    return [statistics.median(found) for found in by_run.values()]
