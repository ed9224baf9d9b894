"""Filters that check the price book of the inventory, and add the prices of the workers to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils

# Ansible's setting module_utils applies only to modules, but this plugin runs on the control node.
_MODULE_UTILS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.ffrtmp import price_rules, price_values  # noqa: E402

_SOURCE = "the deprecated variables worker_host_price_per_hour and worker_energy_price_per_kwh"


def price_book(entries: Any, worker_prices: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document that the master serves as its price book.

    The prices of the workers become an undated entry before the others. If the book has an undated
    entry, it takes precedence.

    Args:
        entries: The entries of the inventory.
        worker_prices: For each worker, its `per_hour`, `energy_per_kwh` and `currency`, which are
            empty if they are not set.
    """
    dated = price_values.normalized(entries)
    priced = {
        name: prices
        for name, prices in worker_prices.items()
        if _amount(prices["per_hour"]) is not None
    }
    if not priced or not price_values.is_list(dated):
        return {"entries": dated, "superseded_nodes": []}
    starts = [entry.get("valid_from") for entry in dated if isinstance(entry, Mapping)]
    return {
        "entries": dated if None in starts else [_undated_entry(priced), *dated],
        "superseded_nodes": sorted(priced) if dated else [],
    }


def price_book_problems(document: Mapping[str, Any]) -> list[str]:
    """Return a message for each rule that the entries of a price book break."""
    return price_rules.find_problems(document["entries"])


def _undated_entry(worker_prices: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return an entry with the prices of the workers.

    The energy price of a worker applies to its energy without that of the facility.
    """
    energy_prices = sorted(
        {
            (str(prices["currency"]), amount)
            for prices in worker_prices.values()
            if (amount := _amount(prices["energy_per_kwh"])) is not None
        },
        key=str,
    )
    names = {price: f"worker-{number}" for number, price in enumerate(energy_prices, 1)}
    nodes = {}
    for name, prices in sorted(worker_prices.items()):
        currency, energy = str(prices["currency"]), _amount(prices["energy_per_kwh"])
        node = {"per_hour": _amount(prices["per_hour"]), "currency": currency}
        located = (
            {"includes_energy": True} if energy is None else {"region": names[currency, energy]}
        )
        nodes[name] = node | located
    return {
        "currency": min(str(prices["currency"]) for prices in worker_prices.values()),
        "source": _SOURCE,
        "regions": {
            names[currency, amount]: {
                "pue": 1.0,
                "energy_per_kwh": amount,
                "currency": currency,
            }
            for currency, amount in energy_prices
        },
        "nodes": nodes,
    }


def _amount(value: Any) -> Any:
    """Return a price of a worker as a number, or None if it is empty.

    Anything else is returned as it is, so that the rules of price books report it.
    """
    if str(value) == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"price_book": price_book, "price_book_problems": price_book_problems}
