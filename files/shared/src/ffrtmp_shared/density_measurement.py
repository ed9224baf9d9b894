"""Measurement of the number of live streams that a node encodes in real time."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ffrtmp_shared.constrained_types import Amount, Count, Currency, Real, Text
from ffrtmp_shared.unavailable import UNKNOWN, Unavailable


class DensityStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a density search, in which `streams` streams ran together for `window_s` seconds.

    `held` indicates whether all streams kept up with real time. `slowest_speed` is the speed of
    the slowest stream in multiples of real time, without its startup. `lag_max_s` is the largest
    lag of any stream. `cpu_busy_ratio` is the fraction of time in which the CPUs that the slot may
    use were busy. `power_w` is the power of the host's processor packages and their memory, and
    `gpu_power_w` is the power of all its NVIDIA GPUs. `limit` names the exhausted resource. It is
    empty if all streams kept up.
    """

    streams: Count
    window_s: Amount
    held: bool
    slowest_speed: Amount | Unavailable
    lag_max_s: Real | Unavailable
    cpu_busy_ratio: Amount
    power_w: Amount | Unavailable
    limit: Text
    gpu_power_w: Amount | Unavailable = UNKNOWN


class StreamCost(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="computed",
    tag_field="status",
):
    """Cost per hour of each stream that a node can encode in real time, in `currency` (ISO 4217).

    `host_per_hour` and `energy_per_kwh` are the prices that the operator configured. If
    `energy_per_kwh` is unavailable, `host_per_hour` includes the price of energy.
    `energy_per_stream_hour` is watts_per_stream / 1000 * energy_per_kwh. `per_stream_hour` is
    energy_per_stream_hour + host_per_hour / streams.
    """

    currency: Currency
    host_per_hour: Amount
    energy_per_kwh: Amount | Unavailable
    energy_per_stream_hour: Amount | Unavailable
    per_stream_hour: Amount


class DensityMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of streams that the node can encode in real time.

    `streams` is the number of streams that kept up with real time in a window of `verify_s`
    seconds; it is 0 if not even one stream did. `steps` contains all steps of the search in their
    order. `limit` names the resource that would be exhausted by more streams; it is empty if the
    search reached its configured maximum. `power_w` and `gpu_power_w` were measured in the verified
    window. `watts_per_stream` is their sum divided by `streams`. On hosts without an NVIDIA GPU,
    the sum is `power_w` alone.
    """

    streams: Count
    limit: Text
    steps: Annotated[tuple[DensityStep, ...], Meta(max_length=256)]
    power_w: Amount | Unavailable
    watts_per_stream: Amount | Unavailable
    gpu_power_w: Amount | Unavailable = UNKNOWN
    cost: StreamCost | Unavailable = UNKNOWN
