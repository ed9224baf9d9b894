"""Rules for price books, and the messages for books that break them.

The playbook checks the operator's variables with these rules before it changes anything, and the
master checks its file with them. This module needs only the standard library, because the filters
of the control node include it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

# The path is relative, because the Ansible modules contain this file in a package of another name.
from .price_values import (
    amount_problem,
    currency_problem,
    date_problem,
    is_list,
    method_problem,
    parse_moment,
    positive_problem,
    shown,
    text_problem,
    year_problem,
)

ENTRIES_MAX = 200
REGIONS_MAX = 200
NODES_MAX = 5000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

ENTRY_KEYS = (
    "valid_from",
    "valid_until",
    "currency",
    "source",
    "exchange_rates",
    "regions",
    "nodes",
)
_REGION_CARBON = ("carbon_g_per_kwh", "carbon_method", "carbon_source", "carbon_year")
REGION_KEYS = ("currency", "energy_per_kwh", "pue", *_REGION_CARBON)
_PURCHASE_KEYS = ("purchase", "residual", "life_years", "utilization")
_EMBODIED_KEYS = ("embodied_kg", "embodied_life_years", "embodied_source")
NODE_KEYS = (
    "region",
    "currency",
    "per_hour",
    "includes_energy",
    *_PURCHASE_KEYS,
    *_EMBODIED_KEYS,
)

_Messages = Iterator[str]


def find_problems(entries: Any) -> list[str]:
    """Return a message for each rule that a normalized price book breaks.

    Each message names the entry and, if it is about one, the region or the node.

    Args:
        entries: The entries of the book, as `normalized` returns them.
    """
    if not is_list(entries):
        return ["the price book must be a list of entries"]
    if len(entries) > ENTRIES_MAX:
        return [f"the price book has {len(entries)} entries; the maximum is {ENTRIES_MAX}"]
    found: list[str] = []
    for number, entry in enumerate(entries, 1):
        where = _entry_name(number, entry)
        found.extend(f"{where}: {message}" for message in _entry_problems(entry))
    # The order of entries means nothing while their dates are not valid.
    return found or [*_order_problems(entries), *_node_gaps(entries)]


def _entry_name(number: int, entry: Any) -> str:
    start = entry.get("valid_from") if isinstance(entry, Mapping) else None
    if start is None:
        return f"entry {number} (undated)"
    return f"entry {number} (valid from {start if parse_moment(start) else shown(start)})"


# --- entries -------------------------------------------------------------------------------


def _entry_problems(entry: Any) -> _Messages:
    if not isinstance(entry, Mapping):
        yield "must be a dictionary with currency, source, regions and nodes"
        return
    yield from _unknown_keys(entry, ENTRY_KEYS)
    for key in ("valid_from", "valid_until"):
        if entry.get(key) is not None and parse_moment(entry[key]) is None:
            yield f"{key} must be a date or a time in ISO 8601; it is {shown(entry[key])}"
    yield from _checked(entry, {"currency": currency_problem, "source": text_problem})
    base = str(entry.get("currency"))
    rates = entry.get("exchange_rates")
    if rates is None:
        rates = {}
    if not isinstance(rates, Mapping):
        yield "exchange_rates must be a dictionary of currencies"
        rates = {}
    for currency, rate in rates.items():
        for message in _rate_problems(currency, rate, base):
            yield f"exchange rate of {shown(currency)}: {message}"
    known = {base, *map(str, rates)}
    regions = yield from _members(entry, "regions", "region", REGIONS_MAX)
    for name, region in regions.items():
        for message in _region_problems(region, known):
            yield f"region {name}: {message}"
    nodes = yield from _members(entry, "nodes", "node", NODES_MAX)
    for name, node in nodes.items():
        for message in _node_problems(node, regions, known):
            yield f"node {name}: {message}"


def _members(
    entry: Mapping[str, Any], key: str, kind: str, most: int
) -> Generator[str, None, Mapping[str, Any]]:
    """Yield the problems of the names in a dictionary, and return those members that are valid."""
    members = entry.get(key)
    if members is None:
        return {}
    if not isinstance(members, Mapping):
        yield f"{key} must be a dictionary of {kind}s"
        return {}
    if len(members) > most:
        yield f"{key} has {len(members)} {kind}s; the maximum is {most}"
        return {}
    valid = {}
    for name, member in members.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            yield (
                f"{kind} {shown(name)}: the name must consist of 1 to 64 letters, digits, dots, "
                "underscores or hyphens"
            )
        elif not isinstance(member, Mapping):
            yield f"{kind} {name}: must be a dictionary"
        else:
            valid[name] = member
    return valid


def _rate_problems(currency: Any, rate: Any, base: Any) -> _Messages:
    problem = currency_problem(currency)
    if problem is not None:
        yield problem
    elif currency == base:
        yield "it is the currency of the entry"
    if not isinstance(rate, Mapping):
        yield "must be a dictionary with rate and date"
        return
    yield from _unknown_keys(rate, ("rate", "date"))
    yield from _checked(rate, {"rate": positive_problem, "date": date_problem})


def _region_problems(region: Mapping[str, Any], known: set[str]) -> _Messages:
    yield from _unknown_keys(region, REGION_KEYS)
    yield from _rate_missing(region, known)
    yield from _checked(region, {"pue": lambda value: amount_problem(value, 1.0, 10.0)})
    yield from _checked(region, {"energy_per_kwh": amount_problem}, are_required=False)
    yield from _group_problems(
        region,
        {
            "carbon_g_per_kwh": lambda value: amount_problem(value, most=10_000.0),
            "carbon_method": method_problem,
            "carbon_source": text_problem,
            "carbon_year": year_problem,
        },
    )


def _node_problems(
    node: Mapping[str, Any], regions: Mapping[str, Any], known: set[str]
) -> _Messages:
    yield from _unknown_keys(node, NODE_KEYS)
    yield from _rate_missing(node, known)
    region = node.get("region")
    if region is not None and (not isinstance(region, str) or region not in regions):
        yield f"the region {shown(region)} is unknown; add it to regions"
    if not isinstance(node.get("includes_energy"), bool | None):
        yield "includes_energy must be true or false"
    if node.get("per_hour") is not None:
        yield from _checked(node, {"per_hour": amount_problem})
        doubled = [key for key in _PURCHASE_KEYS if node.get(key) is not None]
        if doubled:
            yield f"has both per_hour and {', '.join(doubled)}; use one way to state its price"
    else:
        yield from _purchase_problems(node)
    yield from _group_problems(
        node,
        {
            "embodied_kg": amount_problem,
            "embodied_life_years": lambda value: positive_problem(value, 100.0),
            "embodied_source": text_problem,
        },
    )


def _purchase_problems(node: Mapping[str, Any]) -> _Messages:
    given = [key for key in _PURCHASE_KEYS if node.get(key) is not None]
    if not given:
        return
    yield from _checked(
        node,
        {"purchase": amount_problem, "life_years": lambda value: positive_problem(value, 100.0)},
    )
    yield from _checked(
        node,
        {"residual": amount_problem, "utilization": lambda value: positive_problem(value, 1.0)},
        are_required=False,
    )
    purchase, residual = node.get("purchase"), node.get("residual")
    if (
        amount_problem(purchase) is None
        and residual is not None
        and amount_problem(residual) is None
        and residual > purchase
    ):
        yield f"residual is {residual}, but must be at most the purchase price, {purchase}"


def _rate_missing(member: Mapping[str, Any], known: set[str]) -> _Messages:
    currency = member.get("currency")
    if currency is None or (isinstance(currency, str) and currency in known):
        return
    problem = currency_problem(currency)
    if problem is None:
        problem = f"is {currency}, which is neither that of the entry nor in exchange_rates"
    yield f"currency {problem}"


def _unknown_keys(member: Mapping[str, Any], known: Sequence[str]) -> _Messages:
    unknown = [shown(key) for key in member if key not in known]
    if unknown:
        yield f"unknown {', '.join(unknown[:5])}; the keys are {', '.join(known)}"


_Check = Callable[[Any], "str | None"]


def _checked(
    member: Mapping[str, Any], checks: Mapping[str, _Check], *, are_required: bool = True
) -> _Messages:
    for key, check in checks.items():
        value = member.get(key)
        if value is None:
            if are_required:
                yield f"{key} is missing"
            continue
        problem = check(value)
        if problem is not None:
            yield f"{key} {problem}"


def _group_problems(member: Mapping[str, Any], checks: Mapping[str, _Check]) -> _Messages:
    """Yield the problems of keys that are either all given or all missing."""
    if any(member.get(key) is not None for key in checks):
        yield from _checked(member, checks)


# --- validity ------------------------------------------------------------------------------


def _order_problems(entries: Sequence[Mapping[str, Any]]) -> _Messages:
    for number, entry in enumerate(entries, 1):
        start, end = parse_moment(entry.get("valid_from")), parse_moment(entry.get("valid_until"))
        where = _entry_name(number, entry)
        if start is None and number > 1:
            yield f"{where}: valid_from is missing; only the first entry may be undated"
            continue
        if start is not None and end is not None and end <= start:
            yield f"{where}: valid_until {entry['valid_until']} is not after valid_from"
        if number == len(entries):
            continue
        following = parse_moment(entries[number].get("valid_from"))
        if following is None:
            continue
        next_name = _entry_name(number + 1, entries[number])
        if start is not None and following <= start:
            yield f"{next_name}: must be valid from a later time than {where}"
        elif end is not None and end < following:
            yield (
                f"there is a gap between {where}, which is valid until {entry['valid_until']}, "
                f"and {next_name}; remove valid_until or add an entry"
            )
        elif end is not None and end > following:
            yield f"{where}: valid_until {entry['valid_until']} is after the start of {next_name}"


def _node_gaps(entries: Sequence[Mapping[str, Any]]) -> _Messages:
    """Yield a message for each node that has prices before and after an entry, but not in it."""
    last_number: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        for name in entry.get("nodes") or {}:
            before = last_number.get(name, number - 1)
            if before < number - 1:
                where = _entry_name(before + 1, entries[before])
                yield (
                    f"{where}: there is a gap, because node {name} is missing, but "
                    f"{_entry_name(before, entries[before - 1])} and {_entry_name(number, entry)} "
                    "contain it"
                )
            last_number[name] = number
