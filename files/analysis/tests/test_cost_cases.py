"""Costs and carbon of encodes, compared with values that were calculated by hand.

Each case states its calculation in a comment. The prices are chosen so that the results have few
digits.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from ffrtmp_analysis import carbon, cost, price_book
from ffrtmp_analysis.carbon import Carbon
from ffrtmp_analysis.cost import Cost
from ffrtmp_analysis.price_book import CostGap
from ffrtmp_shared.prices import PriceBook, parse_book

_BOOK = parse_book(
    {
        "entries": [
            {
                "valid_from": "2026-01-01",
                "currency": "EUR",
                "source": "invoices of 2025",
                "exchange_rates": {"USD": {"rate": 0.8, "date": "2026-01-02"}},
                "regions": {
                    "de": {
                        "pue": 1.5,
                        "energy_per_kwh": 0.3,
                        "carbon_g_per_kwh": 400,
                        "carbon_method": "location_average",
                        "carbon_source": "an example",
                        "carbon_year": 2024,
                    },
                    "us": {"pue": 1.0, "energy_per_kwh": 0.1, "currency": "USD"},
                    "unpriced": {"pue": 1.2},
                },
                "nodes": {
                    # An hour costs 0.9 EUR, a kilowatt-hour 0.3 EUR * 1.5.
                    "rented": {
                        "region": "de",
                        "per_hour": 0.9,
                        # 876 kg over 10 years of 8,760 h: 10 g an hour.
                        "embodied_kg": 876,
                        "embodied_life_years": 10,
                        "embodied_source": "an example",
                    },
                    # (9,760 - 1,000) EUR / (5 a * 8,760 h) = 0.2 EUR an hour, used for half of it.
                    "bought": {
                        "region": "de",
                        "purchase": 9760,
                        "residual": 1000,
                        "life_years": 5,
                        "utilization": 0.5,
                    },
                    # An hour costs 1.5 USD * 0.8 = 1.2 EUR, a kilowatt-hour 0.1 USD * 0.8.
                    "american": {"region": "us", "per_hour": 1.5, "currency": "USD"},
                    # The host is in EUR, but its energy in USD.
                    "mixed": {"region": "us", "per_hour": 1.2},
                    "included": {"region": "de", "per_hour": 0.9, "includes_energy": True},
                    "unpriced": {"region": "de"},
                    "unpowered": {"region": "unpriced", "per_hour": 0.9},
                    "nowhere": {"per_hour": 0.9},
                },
            },
            {
                "valid_from": "2026-07-01T12:00:00Z",
                "currency": "EUR",
                "source": "a new contract",
                "regions": {"de": {"pue": 1.25, "energy_per_kwh": 0.4}},
                "nodes": {"rented": {"region": "de", "per_hour": 1.8}},
            },
        ]
    }
)
_EARLIER = datetime(2026, 7, 1, 11, 59, 59, tzinfo=UTC)
_LATER = datetime(2026, 7, 1, 12, tzinfo=UTC)
_BEFORE = datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)


class Case(NamedTuple):
    """An encode, and its cost by parts for a minute of video."""

    node: str
    expected: tuple[float, float] | CostGap
    wall_s: float = 120.0
    # 36,000 J are 0.01 kWh, and the mean power over 120 s is 300 W.
    energy_j: float | None = 36_000.0
    video_s: float = 60.0
    at: datetime = _EARLIER


_CASES = {
    # 120 s / 3,600 s * 0.9 EUR = 0.03 EUR; 0.01 kWh * 1.5 * 0.3 EUR = 0.0045 EUR.
    "rented host, PUE 1.5": Case("rented", (0.03, 0.0045)),
    # The same encode of 5 minutes of video: a fifth for each.
    "longer video": Case("rented", (0.006, 0.0009), video_s=300.0),
    # 0.2 EUR / 0.5 * 120 / 3,600 = 0.4 / 30 = 0.013333... EUR.
    "bought host, half used": Case("bought", (0.4 / 30, 0.0045)),
    # 1.2 EUR / 30 = 0.04 EUR; 0.01 kWh * 1.0 * 0.08 EUR = 0.0008 EUR.
    "prices in another currency": Case("american", (0.04, 0.0008)),
    "host and energy in two currencies": Case("mixed", (0.04, 0.0008)),
    # 1.8 EUR / 30 = 0.06 EUR; 0.01 kWh * 1.25 * 0.4 EUR = 0.005 EUR.
    "the same run after the price changed": Case("rented", (0.06, 0.005), at=_LATER),
    # The price of the host contains that of the energy, whose amount need not be known.
    "energy included": Case("included", (0.03, 0.0), energy_j=None),
    "free energy of a measured amount": Case("included", (0.03, 0.0)),
    "no energy": Case("rented", CostGap.NO_ENERGY, energy_j=None),
    "no price of the host": Case("unpriced", CostGap.NO_HOST_PRICE),
    "no price of energy": Case("unpowered", CostGap.NO_ENERGY_PRICE),
    "no region": Case("nowhere", CostGap.NO_ENERGY_PRICE),
    "node without prices after the change": Case("bought", CostGap.NO_NODE, at=_LATER),
    "before the first entry": Case("rented", CostGap.NO_ENTRY, at=_BEFORE),
    "no video": Case("rented", CostGap.NO_VIDEO, video_s=0.0),
    # An encode of no energy is a measurement, not a missing one.
    "zero energy": Case("rented", (0.03, 0.0), energy_j=0.0),
}


def _rates(case: Case) -> price_book.NodeRates | CostGap:
    return price_book.rates_at(_BOOK, case.node, case.at)


def _cost_of(case: Case) -> Cost | CostGap:
    rates = _rates(case)
    if isinstance(rates, CostGap):
        return rates
    found = cost.encode_cost(case.wall_s, case.energy_j, rates)
    return found if isinstance(found, CostGap) else cost.per_video_minute(found, case.video_s)


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES.keys())
def test_the_cost_of_a_minute_of_video_is_the_calculated_one(case: Case) -> None:
    found = _cost_of(case)
    if isinstance(case.expected, CostGap):
        assert found is case.expected
        return
    assert isinstance(found, Cost)
    assert found.currency == "EUR"
    assert (found.host, found.energy) == pytest.approx(case.expected, rel=1e-12)
    assert found.total == pytest.approx(sum(case.expected), rel=1e-12)


# 0.01 kWh * 1.5 * 400 g/kWh = 6 g; 120 s / 3,600 s * 10 g = 1/3 g; for 2 minutes of video half.
_CARBON_CASES: dict[str, tuple[Case, tuple[float, float] | CostGap]] = {
    "SCI of a minute": (Case("rented", (0, 0), video_s=120.0), (3.0, 1 / 6)),
    "twice the time, the same energy": (Case("rented", (0, 0), wall_s=240.0), (6.0, 2 / 3)),
    "no energy": (Case("rented", (0, 0), energy_j=None), CostGap.NO_ENERGY),
    "no embodied carbon": (Case("bought", (0, 0)), CostGap.NO_EMBODIED_CARBON),
    "no intensity": (Case("american", (0, 0)), CostGap.NO_CARBON_INTENSITY),
    "no region": (Case("nowhere", (0, 0)), CostGap.NO_CARBON_INTENSITY),
    "no video": (Case("rented", (0, 0), video_s=0.0), CostGap.NO_VIDEO),
}


@pytest.mark.parametrize(("case", "expected"), _CARBON_CASES.values(), ids=_CARBON_CASES.keys())
def test_the_carbon_of_a_minute_of_video_is_the_calculated_one(
    case: Case, expected: tuple[float, float] | CostGap
) -> None:
    rates = _rates(case)
    assert isinstance(rates, price_book.NodeRates)
    found = carbon.encode_carbon(case.wall_s, case.energy_j, rates)
    if isinstance(found, Carbon):
        found = carbon.per_video_minute(found, case.video_s)
    if isinstance(expected, CostGap):
        assert found is expected
        return
    assert isinstance(found, Carbon)
    assert (found.operational_g, found.embodied_g) == pytest.approx(expected, rel=1e-12)
    assert found.total_g == pytest.approx(sum(expected), rel=1e-12)


def test_a_ladder_hour_is_sixty_minutes_of_the_ladder() -> None:
    # 0.03 EUR and 0.0045 EUR for a minute, as above.
    found = cost.per_video_hour(Cost(currency="EUR", host=0.03, energy=0.0045), 60.0)
    assert found == Cost(currency="EUR", host=pytest.approx(1.8), energy=pytest.approx(0.27))


def test_a_stream_hour_is_the_cost_of_the_node_for_an_hour_divided_by_its_streams() -> None:
    # In 30 s, the node costs 0.9 EUR / 120 = 0.0075 EUR and 2.5 Wh * 1.5 * 0.3 = 0.001125 EUR. In
    # an hour that is 0.9 EUR and 0.135 EUR, for 3 streams.
    rates = _rates(Case("rented", (0, 0)))
    assert isinstance(rates, price_book.NodeRates)
    found = cost.encode_cost(30.0, 9_000.0, rates)
    assert isinstance(found, Cost)
    hour = cost.per_stream_hour(found, 30.0, 3)
    assert hour == Cost(currency="EUR", host=pytest.approx(0.3), energy=pytest.approx(0.045))
    assert cost.per_stream_hour(found, 30.0, 0) is CostGap.NO_VIDEO


class NodeCase(NamedTuple):
    """A node in some hours, each with a busy ratio and a time of its prices, and its cost."""

    hours: tuple[tuple[float, datetime], ...]
    busy_w: float | None
    idle_w: float | None
    expected: tuple[float, ...] | CostGap
    node: str = "rented"


_NODE_CASES = {
    # Host: 0.25 * 0.9 = 0.225 and 0.675. Energy: 0.4 kW * 0.25 h * 1.5 * 0.3 = 0.045 and
    # 0.1 kW * 0.75 h * 1.5 * 0.3 = 0.03375.
    "a quarter busy": NodeCase(((0.25, _EARLIER),), 400.0, 100.0, (0.225, 0.675, 0.045, 0.03375)),
    # The first hour as above; the second is 1.8 EUR, all idle: 0.1 kW * 1.25 * 0.4 = 0.05.
    "a price change between two hours": NodeCase(
        ((0.25, _EARLIER), (0.0, _LATER)),
        400.0,
        100.0,
        (0.1125, (0.675 + 1.8) / 2, 0.0225, (0.03375 + 0.05) / 2),
    ),
    "never busy, busy power unknown": NodeCase(
        ((0.0, _EARLIER),), None, 100.0, (0.0, 0.9, 0.0, 0.045)
    ),
    "always busy, idle power unknown": NodeCase(
        ((1.0, _EARLIER),), 400.0, None, (0.9, 0.0, 0.18, 0.0)
    ),
    "idle power unknown": NodeCase(((0.5, _EARLIER),), 400.0, None, CostGap.NO_ENERGY),
    # Planned utilization does not matter: an owned hour costs 0.2 EUR, whether it is used or not.
    "a bought node": NodeCase(
        ((0.25, _EARLIER),), 400.0, 100.0, (0.05, 0.15, 0.045, 0.03375), "bought"
    ),
    "no price": NodeCase(((0.25, _EARLIER),), 400.0, 100.0, CostGap.NO_HOST_PRICE, "unpriced"),
    "no hours": NodeCase((), 400.0, 100.0, CostGap.NO_ENTRY),
}


@pytest.mark.parametrize("case", _NODE_CASES.values(), ids=_NODE_CASES.keys())
def test_busy_and_idle_cost_add_up_to_the_cost_of_the_node(case: NodeCase) -> None:
    hours = []
    for busy_ratio, at in case.hours:
        rates = _rates(Case(case.node, (0, 0), at=at))
        assert isinstance(rates, price_book.NodeRates)
        hours.append(cost.NodeHour(busy_ratio=busy_ratio, rates=rates))
    found = cost.node_cost(hours, cost.NodePower(busy_w=case.busy_w, idle_w=case.idle_w))
    if isinstance(case.expected, CostGap):
        assert found is case.expected
        return
    assert isinstance(found, cost.NodeCost)
    parts = (found.busy.host, found.idle.host, found.busy.energy, found.idle.energy)
    assert parts == pytest.approx(case.expected)
    owned = [hour.rates.host_per_owned_hour or 0.0 for hour in hours]
    assert found.busy.host + found.idle.host == pytest.approx(sum(owned) / len(owned))


def test_only_hours_in_the_last_currency_count() -> None:
    rates = _rates(Case("rented", (0, 0)))
    assert isinstance(rates, price_book.NodeRates)
    dollars = price_book.NodeRates(**{**vars(rates), "currency": "USD"})
    hours = [
        cost.NodeHour(busy_ratio=1.0, rates=dollars),
        cost.NodeHour(busy_ratio=0.0, rates=rates),
    ]
    found = cost.node_cost(hours, cost.NodePower(busy_w=None, idle_w=0.0))
    assert isinstance(found, cost.NodeCost)
    assert (found.idle.currency, found.busy.host, found.idle.host) == ("EUR", 0.0, 0.9)


def test_an_empty_book_has_no_prices() -> None:
    assert price_book.rates_at(PriceBook(), "rented", _EARLIER) is CostGap.NO_PRICE_BOOK


def test_an_entry_ends_when_it_says_so() -> None:
    entry = {"currency": "EUR", "source": "a", "valid_until": "2026-02-01", "nodes": {"w1": {}}}
    book = parse_book({"entries": [entry]})
    assert price_book.entry_at(book, datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)) is not None
    assert price_book.entry_at(book, datetime(2026, 2, 1, tzinfo=UTC)) is None
