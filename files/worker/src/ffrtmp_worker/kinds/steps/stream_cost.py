"""What streams cost on a host whose operator says what the host and its energy cost."""

from dataclasses import dataclass

from ffrtmp_shared.measurement import StreamCost, Unavailable

_WATTS_PER_KILOWATT = 1000.0


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The operator's prices in `currency`, each None where it was not given.

    `host_per_hour` is the rent, or what the host's price comes to over the hours of its life.
    """

    currency: str | None = None
    host_per_hour: float | None = None
    energy_per_kwh: float | None = None

    def cost_per_stream(
        self, streams: int, watts_per_stream: float | Unavailable
    ) -> StreamCost | Unavailable:
        """Return what each of so many streams costs for an hour.

        Unavailable without the price of the host, which is most of it, and where the energy has
        a price but nobody knows how much there was.
        """
        if self.currency is None or self.host_per_hour is None:
            return Unavailable(reason="no price of this host is set (worker_host_price_per_hour)")
        host_part = self.host_per_hour / streams
        if self.energy_per_kwh is None:
            energy_per_kwh: float | Unavailable = Unavailable(
                reason="energy has no price of its own (worker_energy_price_per_kwh)"
            )
            energy_part, whole = energy_per_kwh, host_part
        elif isinstance(watts_per_stream, Unavailable):
            return Unavailable(reason=f"the power is not known: {watts_per_stream.reason}")
        else:
            energy_per_kwh = self.energy_per_kwh
            energy_part = watts_per_stream / _WATTS_PER_KILOWATT * energy_per_kwh
            whole = host_part + energy_part
        return StreamCost(
            currency=self.currency,
            host_per_hour=self.host_per_hour,
            energy_per_kwh=energy_per_kwh,
            energy_per_stream_hour=energy_part,
            per_stream_hour=whole,
        )
