"""Analysis of a stream to an RTMP server: lag, stalls, losses and bit rate."""

from collections.abc import Sequence

import numpy as np
from ffrtmp_shared.live_measurement import LiveMeasurement
from ffrtmp_shared.unavailable import Unavailable
from numpy.typing import NDArray

from ffrtmp_worker.ffmpeg.live_pipeline import SILENT_END_S, SILENT_S, Broadcast, Packets
from ffrtmp_worker.ffmpeg.progress import ProgressReport

STALL_S = 1.0
"""Time without a new frame, in seconds, above which a stream stalls.

Players with small buffers pause during a stall.
"""

_SETTLING_S = 1.0
"""Duration of the start that is ignored, in seconds.

At the start, the feeder is ahead and the encoder fills its queues.
"""

_IN_FLIGHT_S = 1.0
"""Least time for which a frame may be on its way from the encoder to the player, in seconds."""

_CLOCK_SLACK_S = 0.1
"""Time by which a packet may seem to arrive too early, in seconds: the times at which frames were
due are derived from the feeder's reports, which count whole frames."""

_REPORT_PERIOD_S = 0.25
_WINDOW_S = 2.0
_RESOLUTION_S = 0.1
"""Growth of the lag from one window to the next, or over all windows, above which a stream falls
behind, in seconds. Reports count whole frames, four times a second, so smaller changes are not
significant."""

Numbers = NDArray[np.float64]


class MissingDataError(Exception):
    """A process of the stream provided no data after the first second."""

    def __init__(self, role: str) -> None:
        """Create the error; `role` is feeder, encoder or player."""
        super().__init__(f"there is no data from the {role} after the first second")
        self.role = role


def measure_live(stream: Broadcast, frame_rate: float) -> LiveMeasurement:
    """Analyze a stream of `frame_rate` frames per second.

    Raises MissingDataError if the feeder, the encoder or the player provided no data after the
    first second.
    """
    fed = np.array(stream.fed, dtype=np.float64).reshape(-1, 2)
    if not stream.reports:
        raise MissingDataError("encoder")
    known = _until_end(stream.reports, stream.wall_s)
    reports = np.array([(r.elapsed_s, r.frames) for r in known], dtype=np.float64)
    from_s = reports[0, 0] + _SETTLING_S
    fed, settled = fed[fed[:, 0] >= from_s], reports[reports[:, 0] >= from_s]
    packets = stream.packets
    arrived = np.array(packets.elapsed_s, dtype=np.float64)
    after = arrived >= from_s
    for role, count in (("feeder", len(fed)), ("encoder", len(settled)), ("player", after.sum())):
        if not count:
            raise MissingDataError(role)
    # The time at which the feeder's first frame was due. If the encoder is slow, the feeder waits.
    # This delays its later frames, but does not change when they are due.
    start_s = float(np.min(fed[:, 0] - fed[:, 1]))
    lags = np.array([lag_s(r, start_s, frame_rate) for r in known if r.elapsed_s >= from_s])
    delays = arrived[after] - start_s - np.array(packets.time_s, dtype=np.float64)[after]
    kbps = _kbps_by_second(packets)
    lag_p50_s, lag_p95_s, lag_p99_s = np.percentile(lags, (50, 95, 99))
    silence_max_s, silence_end_s = silences_s(arrived, stream.wall_s)
    delay_p50_s, delay_p95_s, delay_p99_s, delay_max_s = _latencies_s(
        delays, silence_max_s, silence_end_s
    )
    return LiveMeasurement(
        duration_s=stream.wall_s,
        lag_p50_s=float(lag_p50_s),
        lag_p95_s=float(lag_p95_s),
        lag_p99_s=float(lag_p99_s),
        lag_max_s=float(lags.max()),
        below_real_time_s=below_real_time_s(settled[:, 0], lags),
        stalls=stalls(stream.reports, stream.wall_s),
        reconnects=stream.reconnects,
        frames_lost=_frames_lost(stream, frame_rate, float(delays.max())),
        end_to_end_p50_s=delay_p50_s,
        end_to_end_p95_s=delay_p95_s,
        end_to_end_p99_s=delay_p99_s,
        end_to_end_max_s=delay_max_s,
        bitrate_mean_kbps=float(kbps.mean()),
        bitrate_max_kbps=float(kbps.max()),
        bitrate_cv=float(kbps.std() / kbps.mean()) if kbps.mean() else 0.0,
        helpers_cpu_s=sum(
            ending.user_s + ending.system_s for ending in (stream.feeder, *stream.players)
        ),
        silence_max_s=silence_max_s,
        silence_end_s=silence_end_s,
        startup_s=float(arrived[0]),
    )


def _until_end(reports: Sequence[ProgressReport], wall_s: float) -> list[ProgressReport]:
    """Return the reports of the encoder, continued to the end if it stopped writing them.

    The lag of an encoder that is silent grows, although no report shows this.
    """
    last = reports[-1]
    if wall_s - last.elapsed_s <= STALL_S:
        return list(reports)
    missing = np.arange(last.elapsed_s + _REPORT_PERIOD_S, wall_s, _REPORT_PERIOD_S)
    return [*reports, *(ProgressReport(float(at_s), last.frames) for at_s in missing)]


def lag_s(report: ProgressReport, due_s: float, frame_rate: float) -> float:
    """Return the lag of the latest frame of a report, in seconds.

    Args:
        report: The report of the encoder.
        due_s: The time at which the first frame was due, in seconds on the clock of the report.
        frame_rate: The frames per second of the stream.
    """
    return report.elapsed_s - due_s - (report.frames - 1) / frame_rate


def below_real_time_s(at_s: Numbers, lags_s: Numbers) -> float:
    """Return for how many seconds a stream fell behind, given its lags at the times `at_s`.

    The median lag of each window of two seconds is compared with the median lag of the previous
    window. If it does not grow significantly from any window to the next, but does from the first
    window to the last, the stream fell behind all the time.
    """
    numbers = ((at_s - at_s[0]) // _WINDOW_S).astype(int)
    medians = np.array([np.median(lags_s[numbers == number]) for number in np.unique(numbers)])
    grown = np.diff(medians) > _RESOLUTION_S
    if not grown.any() and medians[-1] - medians[0] > _RESOLUTION_S:
        return float(at_s[-1] - at_s[0])
    return float(grown.sum() * _WINDOW_S)


def stalls(reports: Sequence[ProgressReport], wall_s: float) -> int:
    """Return how often no new frame was written for longer than `STALL_S`."""
    found, frames, since_s = 0, 0, reports[0].elapsed_s
    for report in [*reports, ProgressReport(wall_s, -1)]:
        if report.frames != frames:
            found += report.elapsed_s - since_s > STALL_S
            frames, since_s = report.frames, report.elapsed_s
    return found


def silences_s(arrived_s: Numbers, wall_s: float) -> tuple[float, float]:
    """Return the longest time without a packet at the player, and the time after the last one.

    Args:
        arrived_s: The arrival times of all packets, in seconds since the start.
        wall_s: The end of the stream, in seconds since the start.
    """
    # The player reads what had arrived before the end a moment later.
    end_s = max(wall_s - float(arrived_s[-1]), 0.0)
    return max(float(np.diff(arrived_s).max(initial=0.0)), end_s), end_s


def _latencies_s(
    delays_s: Numbers, silence_max_s: float, silence_end_s: float
) -> list[float | Unavailable]:
    """Return the 50th, 95th and 99th percentile and the maximum of the delays of packets.

    After a long silence, they would be those of the time before it. No packet arrives before it was
    sent: if one seems to, the time stamps of the stream are not those of the source.
    """
    if silence_end_s > SILENT_END_S or silence_max_s > SILENT_S:
        reason = f"the player received nothing for {silence_max_s:.1f} s"
        return [Unavailable(reason=reason)] * 4
    if float(delays_s.min()) < -_CLOCK_SLACK_S:
        reason = f"a packet seems to have arrived {-delays_s.min():.2f} s before it was sent"
        return [Unavailable(reason=reason)] * 4
    return [float(value) for value in np.percentile(np.maximum(delays_s, 0.0), (50, 95, 99, 100))]


def _frames_lost(stream: Broadcast, frame_rate: float, delay_max_s: float) -> int:
    """Return the number of frames that the encoder wrote and the player did not receive.

    They are counted from the player's first packet to the end. Frames that the encoder wrote so
    late that they may still have been on their way are not expected.
    """
    places = np.round(np.array(stream.packets.time_s, dtype=np.float64) * frame_rate).astype(int)
    until_s = stream.wall_s - max(_IN_FLIGHT_S, delay_max_s)
    written = max((r.frames for r in stream.reports if r.elapsed_s <= until_s), default=0)
    end = max(written, int(places.max()) + 1)
    return max(end - int(places.min()) - len(np.unique(places)), 0)


def _kbps_by_second(packets: Packets) -> Numbers:
    """Return the bit rate at the player in each whole second after its first packet."""
    arrived = np.array(packets.elapsed_s, dtype=np.float64)
    seconds = np.floor(arrived - arrived[0]).astype(int)
    # The last second is incomplete, and the first contains packets that the server had buffered.
    sums = np.bincount(seconds, weights=np.array(packets.size_bytes, dtype=np.float64))
    whole = sums[1:-1]
    return (whole if whole.size else sums) * 8 / 1000
