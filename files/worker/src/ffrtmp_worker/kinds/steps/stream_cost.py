"""Cost of a stream, computed from the operator's prices for the host and for energy."""

from dataclasses import dataclass

from ffrtmp_shared.density_measurement import StreamCost
from ffrtmp_shared.unavailable import Unavailable

_WATTS_PER_KILOWATT = 1000.0


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The operator's prices in `currency`. A price that is not configured is None.

    `host_per_hour` is the rent of the host per hour, or its purchase price divided by the number of
    hours in its service life.
    """

    currency: str | None = None
    host_per_hour: float | None = None
    energy_per_kwh: float | None = None

    def cost_per_stream(
        self, streams: int, watts_per_stream: float | Unavailable
    ) -> StreamCost | Unavailable:
        """Return the hourly cost of one stream if the host runs `streams` streams.

        The cost is unavailable if the host, which is the largest part of the cost, has no price. It
        is also unavailable if energy has a price but its consumption is unknown.
        """
        if self.currency is None or self.host_per_hour is None:
            return Unavailable(reason="this host has no price; set worker_host_price_per_hour")
        host_part = self.host_per_hour / streams
        if self.energy_per_kwh is None:
            energy_per_kwh: float | Unavailable = Unavailable(
                reason="energy has no separate price (worker_energy_price_per_kwh is not set)"
            )
            energy_part, total = energy_per_kwh, host_part
        elif isinstance(watts_per_stream, Unavailable):
            return Unavailable(reason=f"the power is unknown: {watts_per_stream.reason}")
        else:
            energy_per_kwh = self.energy_per_kwh
            energy_part = watts_per_stream / _WATTS_PER_KILOWATT * energy_per_kwh
            total = host_part + energy_part
        return StreamCost(
            currency=self.currency,
            host_per_hour=self.host_per_hour,
            energy_per_kwh=energy_per_kwh,
            energy_per_stream_hour=energy_part,
            per_stream_hour=total,
        )
