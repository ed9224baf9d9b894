"""Tests of docs/costs.md: its example is a valid book, and its tables and values are complete."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_analysis import carbon, cost, price_book
from ffrtmp_analysis.carbon import Carbon
from ffrtmp_analysis.cost import Cost
from ffrtmp_analysis.price_book import CostGap, NodeRates
from ffrtmp_shared import price_rules
from ffrtmp_shared.prices import PriceBook, parse_book
from ruamel.yaml import YAML

_WALL_S = 360.0
_ENERGY_J = 72_000.0
_VIDEO_S = 240.0


@pytest.fixture
def costs_page(root: Path) -> str:
    return (root / "docs/costs.md").read_text(encoding="utf-8")


@pytest.fixture
def book(costs_page: str) -> PriceBook:
    (text,) = re.findall(r"^```yaml\n(master_price_book:.*?)^```$", costs_page, re.M | re.S)
    entries: Any = YAML(typ="safe").load(text)["master_price_book"]
    return parse_book({"entries": entries})


def _rates(book: PriceBook, month: int) -> NodeRates:
    rates = price_book.rates_at(book, "worker1", datetime(2026, month, 15, tzinfo=UTC))
    assert isinstance(rates, NodeRates)
    return rates


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_example_is_a_valid_book(book: PriceBook) -> None:
    assert len(book.entries) == 2
    cloud = price_book.rates_at(book, "worker2", datetime(2026, 1, 15, tzinfo=UTC))
    assert isinstance(cloud, NodeRates)
    assert (cloud.host_per_used_hour, cloud.energy_per_kwh) == (pytest.approx(0.387), 0.0)


def test_the_worked_example_has_the_calculated_values(costs_page: str, book: PriceBook) -> None:
    rates = _rates(book, 1)
    spent = cost.encode_cost(_WALL_S, _ENERGY_J, rates)
    emitted = carbon.encode_carbon(_WALL_S, _ENERGY_J, rates)
    assert isinstance(spent, Cost)
    assert isinstance(emitted, Carbon)
    minute = cost.per_video_minute(spent, _VIDEO_S)
    intensity = carbon.per_video_minute(emitted, _VIDEO_S)
    assert isinstance(minute, Cost)
    assert isinstance(intensity, Carbon)
    computed = [
        rates.host_per_owned_hour,
        rates.host_per_used_hour,
        minute.host,
        minute.energy,
        intensity.operational_g,
        intensity.embodied_g,
    ]
    section = costs_page.partition("<!-- worked example -->")[2].partition("<!-- end -->")[0]
    rows = _rows(section)
    assert [float(shown.split()[0]) for _, _, shown in rows] == pytest.approx(computed, abs=5e-7)
    for name, calculation, shown in rows:
        # The cell consists of numbers and operators, as the pattern ensures.
        assert re.fullmatch(r"[\d.()*/ -]+", calculation), name
        assert eval(calculation) == pytest.approx(float(shown.split()[0]), abs=1e-6)  # noqa: S307


def test_the_second_entry_applies_from_its_date(costs_page: str, book: PriceBook) -> None:
    rates = _rates(book, 7)
    spent = cost.encode_cost(_WALL_S, _ENERGY_J, rates)
    assert isinstance(spent, Cost)
    assert f"{spent.energy / 4:.6f} EUR per minute for energy" in costs_page
    assert carbon.encode_carbon(_WALL_S, _ENERGY_J, rates) is CostGap.NO_CARBON_INTENSITY


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("Fields of an entry", price_rules.ENTRY_KEYS),
        ("Fields of a region", price_rules.REGION_KEYS),
        ("Fields of a node", price_rules.NODE_KEYS),
    ],
)
def test_every_field_is_described(costs_page: str, heading: str, keys: tuple[str, ...]) -> None:
    table = costs_page.partition(f"{heading}:")[2].strip().partition("\n\n")[0]
    named = [name for row in _rows(table) for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(keys)


def test_every_reason_has_a_remedy(costs_page: str) -> None:
    section = costs_page.partition("## Missing values")[2].partition("\n## ")[0]
    assert [row[0].strip("`") for row in _rows(section)] == ["available", *CostGap]
