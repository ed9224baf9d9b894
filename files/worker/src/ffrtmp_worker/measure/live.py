"""How a stream to an RTMP server kept up with the clock."""

from collections.abc import Sequence

import numpy as np
from ffrtmp_shared.measurement import LiveMeasurement
from numpy.typing import NDArray

from ffrtmp_worker.ffmpeg.live_pipeline import Broadcast, Packets
from ffrtmp_worker.ffmpeg.progress import ProgressReport

STALL_S = 1.0
"""An encoder that writes nothing for longer stalls: players that buffer little run dry."""

_SETTLING_S = 1.0
"""Left out at the start, in which the feeder is ahead and the encoder fills its queues."""

_WINDOW_S = 2.0
_RESOLUTION_S = 0.1
"""A lag that grows by more than this from one window to the next, or over all of them, is one of a
stream that falls back; reports count whole pictures and come four times a second."""

Numbers = NDArray[np.float64]


def measure_live(stream: Broadcast, frame_rate: float) -> LiveMeasurement:
    """Judge a stream of `frame_rate` pictures a second.

    Raises ValueError, saying what is missing, when feeder, encoder or player were not heard of
    after the first second.
    """
    fed = np.array(stream.fed, dtype=np.float64).reshape(-1, 2)
    reports = np.array([(r.elapsed_s, r.frames) for r in stream.reports], dtype=np.float64)
    if not len(reports):
        raise ValueError("the encoder wrote no picture")
    from_s = reports[0, 0] + _SETTLING_S
    fed, settled = fed[fed[:, 0] >= from_s], reports[reports[:, 0] >= from_s]
    packets = stream.packets
    arrived = np.array(packets.elapsed_s, dtype=np.float64)
    after = arrived >= from_s
    for what, count in (("feeder", len(fed)), ("encoder", len(settled)), ("player", after.sum())):
        if not count:
            raise ValueError(f"nothing was heard of the {what} after the first second")
    # When the feeder's first picture would have been due. The feeder waits for a slow encoder:
    # that makes its later pictures late, not due later.
    start_s = float(np.min(fed[:, 0] - fed[:, 1]))
    lags = np.array(
        [lag_s(r, start_s, frame_rate) for r in stream.reports if r.elapsed_s >= from_s]
    )
    ways = arrived[after] - start_s - np.array(packets.time_s, dtype=np.float64)[after]
    kbps = _kbps_by_second(packets)
    lag_p50_s, lag_p95_s, lag_p99_s = np.percentile(lags, (50, 95, 99))
    way_p50_s, way_p95_s, way_p99_s = np.percentile(ways, (50, 95, 99))
    return LiveMeasurement(
        duration_s=stream.wall_s,
        lag_p50_s=float(lag_p50_s),
        lag_p95_s=float(lag_p95_s),
        lag_p99_s=float(lag_p99_s),
        lag_max_s=float(lags.max()),
        below_real_time_s=below_real_time_s(settled[:, 0], lags),
        stalls=stalls(stream.reports, stream.wall_s),
        reconnects=stream.reconnects,
        frames_lost=_frames_lost(packets, frame_rate),
        end_to_end_p50_s=float(way_p50_s),
        end_to_end_p95_s=float(way_p95_s),
        end_to_end_p99_s=float(way_p99_s),
        end_to_end_max_s=float(ways.max()),
        bitrate_mean_kbps=float(kbps.mean()),
        bitrate_max_kbps=float(kbps.max()),
        bitrate_cv=float(kbps.std() / kbps.mean()) if kbps.mean() else 0.0,
        helpers_cpu_s=sum(
            ending.user_s + ending.system_s for ending in (stream.feeder, *stream.players)
        ),
    )


def lag_s(report: ProgressReport, due_s: float, frame_rate: float) -> float:
    """Return how late the picture was that `report` counts last; the first was due at `due_s`."""
    return report.elapsed_s - due_s - (report.frames - 1) / frame_rate


def below_real_time_s(at_s: Numbers, lags_s: Numbers) -> float:
    """Return for how many seconds a stream fell back, given its lags at these times.

    The median lag of each two seconds is compared with that of the two before. Where none of
    them grows, but the lag does from the first to the last, it was all the time.
    """
    numbers = ((at_s - at_s[0]) // _WINDOW_S).astype(int)
    medians = np.array([np.median(lags_s[numbers == number]) for number in np.unique(numbers)])
    grown = np.diff(medians) > _RESOLUTION_S
    if not grown.any() and medians[-1] - medians[0] > _RESOLUTION_S:
        return float(at_s[-1] - at_s[0])
    return float(grown.sum() * _WINDOW_S)


def stalls(reports: Sequence[ProgressReport], wall_s: float) -> int:
    """Return how often no new picture was written for longer than `STALL_S`."""
    found, frames, since_s = 0, 0, reports[0].elapsed_s
    for report in [*reports, ProgressReport(wall_s, -1)]:
        if report.frames != frames:
            found += report.elapsed_s - since_s > STALL_S
            frames, since_s = report.frames, report.elapsed_s
    return found


def _frames_lost(packets: Packets, frame_rate: float) -> int:
    """Return how many packets are missing among those that the player had."""
    times = np.array(packets.time_s, dtype=np.float64)
    due = round(float(times.max() - times.min()) * frame_rate) + 1
    return max(due - len(np.unique(times)), 0)


def _kbps_by_second(packets: Packets) -> Numbers:
    """Return the bit rate at the player in each whole second since its first packet."""
    arrived = np.array(packets.elapsed_s, dtype=np.float64)
    seconds = np.floor(arrived - arrived[0]).astype(int)
    # The last second is not whole, and in the first comes what the server had kept.
    sums = np.bincount(seconds, weights=np.array(packets.size_bytes, dtype=np.float64))
    whole = sums[1:-1]
    return (whole if whole.size else sums) * 8 / 1000
