"""Price books: the dated prices and carbon intensities of a farm, as the master serves them."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ffrtmp_shared import price_rules, price_values
from ffrtmp_shared.constrained_types import Amount, Currency, Moment, Name

_Text = Annotated[str, Meta(min_length=1, max_length=price_values.TEXT_MAX)]
_Positive = Annotated[float, Meta(gt=0, le=price_values.AMOUNT_MAX)]
_Years = Annotated[float, Meta(gt=0, le=100)]
_Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)")]

_MESSAGES_MAX = 20


class CarbonMethod(StrEnum):
    """The kind of a grid's carbon intensity. Market-based values are not accepted."""

    LOCATION_AVERAGE = "location_average"
    LOCATION_MARGINAL = "location_marginal"


class ExchangeRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Price of one unit of a currency in the currency of the entry, and the date of the rate."""

    rate: _Positive
    date: _Day


class RegionPrices(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Energy price and carbon intensity at the location of nodes.

    `pue` is the power usage effectiveness: the energy of the facility divided by that of its
    computers (ISO/IEC 30134-2). `energy_per_kwh` is in `currency`, or in that of the entry if it is
    null. `carbon_g_per_kwh` is the mass of carbon dioxide equivalent that the generation of a
    kilowatt-hour emits, in grams; `carbon_source` and `carbon_year` state its origin.
    """

    pue: Annotated[float, Meta(ge=1, le=10)]
    currency: Currency | None = None
    energy_per_kwh: Amount | None = None
    carbon_g_per_kwh: Amount | None = None
    carbon_method: CarbonMethod | None = None
    carbon_source: _Text | None = None
    carbon_year: int | None = None


class NodePrices(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Price and embodied carbon of a node.

    Amounts are in `currency`, or in that of the entry if it is null. The price is either
    `per_hour`, or follows from the `purchase` price, the `residual` value after `life_years` years,
    and `utilization`, the planned fraction of time in which the node is used. If `includes_energy`
    is true, it includes the energy. `embodied_kg` is the mass of carbon dioxide equivalent that the
    manufacture and disposal of the node emit, in kilograms, and `embodied_source` its origin.
    """

    region: Name | None = None
    currency: Currency | None = None
    per_hour: Amount | None = None
    purchase: Amount | None = None
    residual: Amount = 0.0
    life_years: _Years | None = None
    utilization: Annotated[float, Meta(gt=0, le=1)] = 1.0
    includes_energy: bool = False
    embodied_kg: Amount | None = None
    embodied_life_years: _Years | None = None
    embodied_source: _Text | None = None


class PriceEntry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The prices from `valid_from` until `valid_until`, or until the next entry if that is null.

    `valid_from` is null in an entry that is valid until the next one. `source` states the origin of
    the prices.
    """

    currency: Currency
    source: _Text
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    exchange_rates: Annotated[dict[Currency, ExchangeRate], Meta(max_length=200)] = {}
    regions: Annotated[dict[Name, RegionPrices], Meta(max_length=price_rules.REGIONS_MAX)] = {}
    nodes: Annotated[dict[Name, NodePrices], Meta(max_length=price_rules.NODES_MAX)] = {}


class PriceBook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of a farm, in the order of their dates.

    `superseded_nodes` are the nodes for which the inventory contains both prices in the book and
    the deprecated variables of the role worker. The book takes precedence.
    """

    entries: Annotated[tuple[PriceEntry, ...], Meta(max_length=price_rules.ENTRIES_MAX)] = ()
    superseded_nodes: Annotated[tuple[Name, ...], Meta(max_length=price_rules.NODES_MAX)] = ()


class PriceBookError(ValueError):
    """A price book breaks rules. The message names each entry and rule."""


def parse_book(document: Any) -> PriceBook:
    """Return the price book that a document describes.

    Args:
        document: A dictionary with the fields of `PriceBook`, for example from YAML.

    Raises:
        PriceBookError: The book breaks a rule of `price_rules`.
    """
    if not isinstance(document, dict):
        raise PriceBookError("the price book must be a dictionary with the key entries")
    entries = price_values.normalized(document.get("entries", []))
    problems = price_rules.find_problems(entries)
    if problems:
        more = len(problems) - _MESSAGES_MAX
        shown = problems[:_MESSAGES_MAX] + ([f"and {more} more problems"] if more > 0 else [])
        raise PriceBookError("; ".join(shown))
    plain = {**document, "entries": [_without_nulls(entry) for entry in entries]}
    try:
        return msgspec.convert(plain, PriceBook)
    except msgspec.ValidationError as error:
        raise PriceBookError(str(error)) from error


def _without_nulls(value: Any) -> Any:
    """Return a document without the keys whose value is null, which have the default."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None}
