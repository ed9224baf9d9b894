"""Prices of a node at a time, from a price book.

The types and rules of books are in `ffrtmp_shared.prices` and `ffrtmp_shared.price_rules`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ffrtmp_shared.prices import NodePrices, PriceBook, PriceEntry, RegionPrices

HOURS_PER_YEAR = 8760.0
"""The hours of a year of 365 days, by which purchase prices and embodied carbon are divided."""

_G_PER_KG = 1000.0
_S_PER_HOUR = 3600.0


class CostGap(StrEnum):
    """The reasons why a cost or a mass of carbon is unknown."""

    NO_PRICE_BOOK = "no_price_book"
    NO_ENTRY = "no_entry"
    NO_NODE = "no_node"
    NO_HOST_PRICE = "no_host_price"
    NO_ENERGY_PRICE = "no_energy_price"
    NO_ENERGY = "no_energy"
    NO_VIDEO = "no_video"
    NO_CARBON_INTENSITY = "no_carbon_intensity"
    NO_EMBODIED_CARBON = "no_embodied_carbon"


@dataclass(frozen=True, kw_only=True)
class EmbodiedCarbon:
    """Carbon dioxide equivalent of the manufacture and disposal of a node, and its life."""

    total_g: float
    life_s: float


@dataclass(frozen=True, kw_only=True)
class NodeRates:
    """Prices and carbon intensity of a node at a time. A value that the book lacks is None.

    All amounts are in `currency`. `host_per_used_hour` is the price of an hour in which the node is
    used, and `host_per_owned_hour` that of any hour. They differ if the book states a utilization.
    `energy_per_kwh` is the price of a kilowatt-hour of the facility. It is 0 if the price of the
    node includes the energy. `pue` is at least 1. `carbon_g_per_kwh` is in grams of carbon dioxide
    equivalent.
    """

    currency: str
    host_per_used_hour: float | None
    host_per_owned_hour: float | None
    energy_per_kwh: float | None
    pue: float | None
    carbon_g_per_kwh: float | None
    embodied: EmbodiedCarbon | None


def entry_at(book: PriceBook, at: datetime) -> PriceEntry | None:
    """Return the entry that is valid at a time, or None if there is none.

    An entry is valid from its start, inclusively, until its end, exclusively, or until the start of
    the next entry.

    Args:
        book: A price book, whose entries are in the order of their dates.
        at: The time.
    """
    for entry in reversed(book.entries):
        if entry.valid_from is None or entry.valid_from <= at:
            is_over = entry.valid_until is not None and entry.valid_until <= at
            return None if is_over else entry
    return None


def rates_at(book: PriceBook, node: str, at: datetime) -> NodeRates | CostGap:
    """Return the prices of a node at a time, or the reason why there are none.

    Args:
        book: A price book.
        node: The name of the node.
        at: The time, for example that of a measurement.
    """
    if not book.entries:
        return CostGap.NO_PRICE_BOOK
    entry = entry_at(book, at)
    if entry is None:
        return CostGap.NO_ENTRY
    return rates_in(entry, node) or CostGap.NO_NODE


def rates_in(entry: PriceEntry, node: str) -> NodeRates | None:
    """Return the prices of a node in an entry, or None if the entry does not contain the node.

    Args:
        entry: An entry of a price book that breaks no rule.
        node: The name of the node.
    """
    prices = entry.nodes.get(node)
    if prices is None:
        return None
    region = None if prices.region is None else entry.regions[prices.region]
    node_rate = _exchange_rate(entry, prices.currency)
    owned = _host_per_owned_hour(prices)
    used = owned if owned is None or prices.purchase is None else owned / prices.utilization
    return NodeRates(
        currency=entry.currency,
        host_per_used_hour=None if used is None else used * node_rate,
        host_per_owned_hour=None if owned is None else owned * node_rate,
        energy_per_kwh=_energy_per_kwh(entry, prices, region),
        pue=None if region is None else region.pue,
        carbon_g_per_kwh=None if region is None else region.carbon_g_per_kwh,
        embodied=_embodied(prices),
    )


def amortized_per_hour(purchase: float, residual: float, life_years: float) -> float:
    """Return the loss of value per hour, by straight-line depreciation (IAS 16, paragraph 62).

    Args:
        purchase: The purchase price.
        residual: The value at the end of the life.
        life_years: The life in years, more than 0.
    """
    return (purchase - residual) / (life_years * HOURS_PER_YEAR)


def _host_per_owned_hour(prices: NodePrices) -> float | None:
    if prices.per_hour is not None:
        return prices.per_hour
    if prices.purchase is None or prices.life_years is None:
        return None
    return amortized_per_hour(prices.purchase, prices.residual, prices.life_years)


def _energy_per_kwh(
    entry: PriceEntry, prices: NodePrices, region: RegionPrices | None
) -> float | None:
    if prices.includes_energy:
        return 0.0
    if region is None or region.energy_per_kwh is None:
        return None
    return region.energy_per_kwh * _exchange_rate(entry, region.currency)


def _exchange_rate(entry: PriceEntry, currency: str | None) -> float:
    """Return the price of one unit of a currency in that of the entry."""
    if currency is None or currency == entry.currency:
        return 1.0
    return entry.exchange_rates[currency].rate


def _embodied(prices: NodePrices) -> EmbodiedCarbon | None:
    if prices.embodied_kg is None or prices.embodied_life_years is None:
        return None
    return EmbodiedCarbon(
        total_g=prices.embodied_kg * _G_PER_KG,
        life_s=prices.embodied_life_years * HOURS_PER_YEAR * _S_PER_HOUR,
    )
