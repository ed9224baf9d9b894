"""Experience of the viewers of a live stream: delays, stalls, losses and the session score."""

from collections.abc import Sequence
from typing import NamedTuple

from ffrtmp_analysis.session_score import CHUNK_S, SessionChunk, session_score, stall_ratio
from ffrtmp_shared.live_measurement import ReceivedMeasurement
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.unavailable import Unavailable

from ffrtmp_master.exporters.scenario_labels import ScenarioGauge

_QUANTILES = ("0.5", "0.95", "0.99", "1")

ByQuantile = Sequence[tuple[str, float]]
"""Values with their quantiles; the quantile 1 is the maximum."""


class LiveExperience(NamedTuple):
    """Values of a live stream. An unknown value is None, or absent from the quantiles."""

    lag_s: ByQuantile
    end_to_end_s: ByQuantile
    stall_ratio: float | None
    stalls: int
    lost_frames: int
    reconnects: int
    startup_s: float | None
    score: float | None


LAG = ScenarioGauge(
    "ffrtmp_qoe_live_lag_seconds",
    "seconds",
    "Delay of the encoder of a live stream; quantile 1 is the maximum",
)
END_TO_END = ScenarioGauge(
    "ffrtmp_qoe_live_end_to_end_seconds",
    "seconds",
    "Delay from when a picture is due at the encoder until a player on the node receives it from "
    "the RTMP server; quantile 1 is the maximum",
)
LIVE_GAUGES = {
    "stall_ratio": ScenarioGauge(
        "ffrtmp_qoe_live_stall_ratio",
        "ratio",
        "Fraction of the stream in which its encoder was slower than real time",
    ),
    "stalls": ScenarioGauge(
        "ffrtmp_qoe_live_stalls",
        "",
        "Number of times that the encoder wrote no picture for more than a second",
    ),
    "lost_frames": ScenarioGauge(
        "ffrtmp_qoe_live_lost_frames", "", "Encoded frames that the player did not receive"
    ),
    "reconnects": ScenarioGauge(
        "ffrtmp_qoe_live_reconnects",
        "",
        "Number of times that the connection to the RTMP server was established again",
    ),
    "startup_s": ScenarioGauge(
        "ffrtmp_qoe_live_startup_seconds",
        "seconds",
        "Time from the start of the encoder until the player received the first frame",
    ),
}
"""The gauges of each field that has one."""

SCORE = ScenarioGauge(
    "ffrtmp_qoe_session_score",
    "",
    "Score of the session per chunk of 4 s, by the method that the label names: at most 84.69, "
    "negative for long stalls; only if the quality of the received stream was measured",
)


def live_experience(measured: Measurement) -> LiveExperience | None:
    """Return the experience of a live stream, or None if the measurement is not of one.

    Raises:
        ValueError: The measured chunks are not valid.
    """
    live = measured.live
    if live is None:
        return None
    lags = (live.lag_p50_s, live.lag_p95_s, live.lag_p99_s, live.lag_max_s)
    delays = (
        live.end_to_end_p50_s,
        live.end_to_end_p95_s,
        live.end_to_end_p99_s,
        live.end_to_end_max_s,
    )
    return LiveExperience(
        lag_s=_by_quantile(lags),
        end_to_end_s=_by_quantile(delays),
        stall_ratio=stall_ratio(live.below_real_time_s, live.duration_s),
        stalls=live.stalls,
        lost_frames=live.frames_lost,
        reconnects=live.reconnects,
        startup_s=None if isinstance(live.startup_s, Unavailable) else live.startup_s,
        score=_score(measured.received),
    )


def _by_quantile(values: Sequence[float | Unavailable]) -> ByQuantile:
    return [
        (quantile, value)
        for quantile, value in zip(_QUANTILES, values, strict=True)
        if not isinstance(value, Unavailable)
    ]


def _score(received: ReceivedMeasurement | Unavailable | None) -> float | None:
    if not isinstance(received, ReceivedMeasurement) or received.chunk_s != CHUNK_S:
        return None
    return session_score(
        [
            SessionChunk(
                duration_s=chunk.duration_s,
                vmaf=None if isinstance(chunk.vmaf_mean, Unavailable) else chunk.vmaf_mean,
                stall_s=chunk.stall_s,
            )
            for chunk in received.chunks
        ]
    )
