"""Tests of the rules for price books: each broken rule is reported with the name of its entry."""

import copy
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from ffrtmp_shared import price_rules, price_values
from ffrtmp_shared.prices import CarbonMethod, PriceBook, PriceBookError, parse_book
from hypothesis import given
from hypothesis import strategies as st
from property_budget import budget

_Entry = dict[str, Any]

_ENTRY: _Entry = {
    "valid_from": "2026-01-01",
    "currency": "EUR",
    "source": "contract",
    "exchange_rates": {"USD": {"rate": 0.9, "date": "2026-01-02"}},
    "regions": {
        "de": {
            "pue": 1.4,
            "energy_per_kwh": 0.28,
            "carbon_g_per_kwh": 344,
            "carbon_method": "location_average",
            "carbon_source": "a data set",
            "carbon_year": 2025,
        }
    },
    "nodes": {
        "w1": {"region": "de", "per_hour": 0.45, "currency": "USD"},
        "w2": {
            "region": "de",
            "purchase": 6000,
            "residual": 500,
            "life_years": 5,
            "utilization": 0.6,
            "embodied_kg": 1300,
            "embodied_life_years": 5,
            "embodied_source": "a data sheet",
        },
    },
}
_DELETED = object()


def _changed(path: str, value: Any) -> _Entry:
    """Return the entry with another value at a path such as `regions.de.pue`."""
    entry = copy.deepcopy(_ENTRY)
    *parents, last = path.split(".")
    place = entry
    for name in parents:
        place = place[name]
    if value is _DELETED:
        del place[last]
    else:
        place[last] = value
    return entry


def _problems(*entries: Any) -> list[str]:
    return price_rules.find_problems(price_values.normalized(list(entries)))


def test_a_complete_entry_breaks_no_rule() -> None:
    assert _problems(_ENTRY) == []
    book = parse_book({"entries": [_ENTRY]})
    (entry,) = book.entries
    assert entry.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert entry.regions["de"].carbon_method is CarbonMethod.LOCATION_AVERAGE
    assert (entry.nodes["w1"].per_hour, entry.nodes["w2"].utilization) == (0.45, 0.6)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("currency", "EURO", "currency is 'EURO', which is not a known currency"),
        ("currency", "EUX", "currency is 'EUX', which is not a known currency"),
        ("currency", ["EUR"], "currency is list, which is not a known currency"),
        ("currency", _DELETED, "currency is missing"),
        ("source", _DELETED, "source is missing"),
        ("source", " ", "source must be a text that is not empty"),
        ("source", "a\nb", "no line breaks"),
        ("source", "\ud800", "no line breaks"),
        ("valid_from", "next year", "valid_from must be a date or a time in ISO 8601"),
        ("valid_until", 2026, "valid_until must be a date or a time in ISO 8601"),
        ("price", 1, "unknown 'price'; the keys are valid_from"),
        ("nodes", [], "nodes must be a dictionary of nodes"),
        ("exchange_rates", 0, "exchange_rates must be a dictionary of currencies"),
        ("regions", ["de"], "regions must be a dictionary of regions"),
        ("regions.de", 1, "region de: must be a dictionary"),
        ("regions.de.pue", _DELETED, "region de: pue is missing"),
        ("regions.de.pue", 0.99, "region de: pue must be at least 1; it is 0.99"),
        ("regions.de.energy_per_kwh", -0.1, "region de: energy_per_kwh must not be negative"),
        ("regions.de.energy_per_kwh", "0.28", "energy_per_kwh must be a number; it is '0.28'"),
        ("regions.de.energy_per_kwh", True, "energy_per_kwh must be a number; it is True"),
        ("regions.de.energy_per_kwh", float("nan"), "energy_per_kwh must be at most 1e+12"),
        ("regions.de.energy_per_kwh", 10**400, "energy_per_kwh must be at most 1e+12"),
        ("regions.de.energy_per_kwh", _DELETED, None),
        ("regions.de.carbon_source", _DELETED, "region de: carbon_source is missing"),
        ("regions.de.carbon_year", _DELETED, "region de: carbon_year is missing"),
        ("regions.de.carbon_year", 24, "region de: carbon_year must be a year since 1990"),
        ("regions.de.carbon_method", _DELETED, "region de: carbon_method is missing"),
        ("regions.de.carbon_method", "market", "must be one of location_average, location_mar"),
        ("regions.de.carbon_g_per_kwh", _DELETED, "region de: carbon_g_per_kwh is missing"),
        ("regions.de.currency", "GBP", "currency is GBP, which is neither that of the entry nor"),
        ("exchange_rates.USD.rate", 0, "exchange rate of 'USD': rate must be more than 0"),
        ("exchange_rates.USD.rate", -1, "exchange rate of 'USD': rate must not be negative"),
        ("exchange_rates.USD.date", _DELETED, "exchange rate of 'USD': date is missing"),
        ("exchange_rates.USD.date", "2026-02-30", "date must be a date such as 2026-01-31"),
        ("exchange_rates", {}, "node w1: currency is USD, which is neither"),
        ("exchange_rates.EUR", {"rate": 1, "date": "2026-01-02"}, "it is the currency of the"),
        ("nodes.w1.region", "fr", "node w1: the region 'fr' is unknown; add it to regions"),
        ("nodes.w1.region", ["de"], "node w1: the region list is unknown"),
        ("nodes.w1.per_hour", -0.45, "node w1: per_hour must not be negative; it is -0.45"),
        ("nodes.w1.purchase", 100, "node w1: has both per_hour and purchase"),
        ("nodes.w1.includes_energy", "no", "node w1: includes_energy must be true or false"),
        ("nodes.w2.life_years", _DELETED, "node w2: life_years is missing"),
        ("nodes.w2.life_years", 0, "node w2: life_years must be more than 0"),
        ("nodes.w2.life_years", 1e-300, "life_years must be at least 1e-09; it is 1e-300"),
        ("nodes.w2.purchase", _DELETED, "node w2: purchase is missing"),
        ("nodes.w2.residual", 6001, "node w2: residual is 6001, but must be at most the purchase"),
        ("nodes.w2.utilization", 1.1, "node w2: utilization must be at most 1; it is 1.1"),
        ("nodes.w2.utilization", 0, "node w2: utilization must be more than 0"),
        ("nodes.w2.utilization", 5e-324, "node w2: utilization must be at least 1e-09"),
        ("nodes.w2.embodied_source", _DELETED, "node w2: embodied_source is missing"),
        ("nodes.w2.embodied_kg", -1, "node w2: embodied_kg must not be negative"),
        ("nodes.a b", {}, "node 'a b': the name must consist of 1 to 64 letters"),
    ],
)
def test_a_broken_rule_is_reported_with_its_entry(
    path: str, value: Any, message: str | None
) -> None:
    found = _problems(_ENTRY | {"valid_from": "2025-01-01"}, _changed(path, value))
    if message is None:
        assert found == []
        return
    start = "2026-01-01T00:00:00Z" if path != "valid_from" else repr(value)
    assert any(
        text.startswith(f"entry 2 (valid from {start}): ") and message in text for text in found
    ), found


def test_an_undated_entry_may_be_the_first_one() -> None:
    undated = {key: value for key, value in _ENTRY.items() if key != "valid_from"}
    assert _problems(undated) == []
    assert _problems(undated, _ENTRY) == []
    (message,) = _problems(_ENTRY, undated)
    assert (
        message == "entry 2 (undated): valid_from is missing; only the first entry may be undated"
    )


@pytest.mark.parametrize(
    ("until", "start", "message"),
    [
        ("2026-06-30", "2026-07-01", "there is a gap between entry 1"),
        ("2026-07-02", "2026-07-01", "valid_until 2026-07-02T00:00:00Z is after the start of"),
        ("2026-07-01", "2026-07-01", None),
        (None, "2026-07-01", None),
        ("2025-01-01", "2026-07-01", "is not after valid_from"),
        (
            None,
            "2026-01-01",
            "entry 2 (valid from 2026-01-01T00:00:00Z): must be valid from a later",
        ),
        (None, "2025-12-31", "must be valid from a later time than entry 1"),
        # The same day, but in another time zone an hour earlier.
        ("2026-07-01T01:00:00+01:00", "2026-07-01", None),
    ],
)
def test_entries_follow_each_other_without_a_gap(
    until: str | None, start: str, message: str | None
) -> None:
    found = _problems(_ENTRY | {"valid_until": until}, _ENTRY | {"valid_from": start})
    assert any(message in text for text in found) if message else found == []


def test_a_node_that_is_missing_in_between_is_a_gap() -> None:
    without = copy.deepcopy(_ENTRY) | {"valid_from": "2026-02-01"}
    del without["nodes"]["w2"]
    (message,) = _problems(_ENTRY, without, _ENTRY | {"valid_from": "2026-03-01"})
    assert message.startswith("entry 2 (valid from 2026-02-01T00:00:00Z): there is a gap")
    assert "node w2" in message
    assert _problems(_ENTRY, without) == []


@pytest.mark.parametrize("book", [None, 1, "text", {}, {"entries": 1}])
def test_a_book_that_is_no_list_is_reported(book: Any) -> None:
    assert price_rules.find_problems(price_values.normalized(book)) == [
        "the price book must be a list of entries"
    ]


@pytest.mark.parametrize("entry", [None, 1, "text", []])
def test_an_entry_that_is_no_dictionary_is_reported(entry: Any) -> None:
    (message,) = _problems(entry)
    assert message.startswith("entry 1 (undated): must be a dictionary")


def test_the_size_of_a_book_is_limited() -> None:
    many = [_ENTRY] * (price_rules.ENTRIES_MAX + 1)
    assert _problems(*many) == ["the price book has 201 entries; the maximum is 200"]
    nodes = {f"w{number}": {} for number in range(price_rules.NODES_MAX + 1)}
    (message,) = _problems(_ENTRY | {"nodes": nodes})
    assert "nodes has 5001 nodes; the maximum is 5000" in message


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (date(2026, 1, 31), "2026-01-31T00:00:00Z"),
        (datetime(2026, 1, 31, 12, 30), "2026-01-31T12:30:00Z"),
        ("2026-01-31T12:30:00+02:00", "2026-01-31T10:30:00Z"),
        ("0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+02:00"),
    ],
)
def test_dates_are_stored_as_times_in_utc(given: Any, text: str) -> None:
    (entry,) = price_values.normalized([_ENTRY | {"valid_from": given}])
    assert entry["valid_from"] == text


def test_the_date_of_an_exchange_rate_is_stored_as_text() -> None:
    rates = {"USD": {"rate": 0.9, "date": date(2026, 1, 2)}}
    (entry,) = price_values.normalized([_ENTRY | {"exchange_rates": rates}])
    assert entry["exchange_rates"]["USD"]["date"] == "2026-01-02"
    assert _problems(_ENTRY | {"exchange_rates": rates}) == []


def test_a_parsed_book_is_the_same_after_it_was_sent() -> None:
    book = parse_book({"entries": [_ENTRY], "superseded_nodes": ["w1"]})
    assert msgspec.json.decode(msgspec.json.encode(book), type=PriceBook) == book
    # The rules accept the document of a book, so that a book that was fetched can be stored.
    assert parse_book(msgspec.to_builtins(book)) == book


def test_null_is_the_default() -> None:
    entry = _changed("nodes.w2.residual", None)
    assert parse_book({"entries": [entry]}).entries[0].nodes["w2"].residual == 0.0


def test_a_book_with_many_problems_has_a_short_message() -> None:
    nodes = {f"w{number}": {"per_hour": -1} for number in range(50)}
    with pytest.raises(PriceBookError, match="and 30 more problems") as raised:
        parse_book({"entries": [_ENTRY | {"nodes": nodes}]})
    assert "node w0: per_hour must not be negative" in str(raised.value)


@pytest.mark.parametrize("document", [None, [], "text"])
def test_a_file_that_is_no_dictionary_is_refused(document: Any) -> None:
    with pytest.raises(PriceBookError, match="must be a dictionary with the key entries"):
        parse_book(document)


def test_unknown_keys_of_a_book_are_refused() -> None:
    with pytest.raises(PriceBookError, match="unknown field"):
        parse_book({"entries": [], "nodes": {}})


def test_every_rule_of_the_types_is_one_of_the_book() -> None:
    """Both describe the same keys, so that no key passes one and fails the other."""
    (schema,) = msgspec.json.schema_components([PriceBook])[1:]
    assert set(schema["RegionPrices"]["properties"]) == set(price_rules.REGION_KEYS)
    assert set(schema["NodePrices"]["properties"]) == set(price_rules.NODE_KEYS)
    assert set(schema["PriceEntry"]["properties"]) == set(price_rules.ENTRY_KEYS)


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["EUR", "USD", "de", "2026-01-01", "2026-07-01", date(2026, 3, 1), {}, []]),
    st.sampled_from([0, 0.5, 1, 2, 100, 2024, 1e12, 10**400, -1, "location_average"]),
)


def _paths(document: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all values in nested dictionaries."""
    if not isinstance(document, dict):
        return []
    return [
        path
        for key, value in document.items()
        for path in ((*prefix, key), *_paths(value, (*prefix, key)))
    ]


def _mutated(start: Any, changes: list[tuple[tuple[str, ...], Any]]) -> _Entry:
    """Return the entry with some values replaced or removed."""
    entry = copy.deepcopy(_ENTRY) | {"valid_from": start}
    for (*parents, last), value in changes:
        place: Any = entry
        for name in parents:
            place = place.get(name) if isinstance(place, dict) else None
        if isinstance(place, dict):
            if value is _DELETED:
                place.pop(last, None)
            else:
                place[last] = value
    return entry


_CHANGES = st.tuples(st.sampled_from(_paths(_ENTRY)), st.one_of(st.just(_DELETED), _VALUES))
_ENTRIES = st.lists(
    st.builds(
        _mutated, st.sampled_from(["2026-01-01", "2026-07-01"]), st.lists(_CHANGES, max_size=2)
    ),
    min_size=1,
    max_size=2,
)


@pytest.mark.property
def test_any_document_is_either_a_book_or_reported() -> None:
    """The types accept whatever the rules accept, so that a checked book can be served."""

    @budget(200)
    @given(entries=_ENTRIES)
    def attempt(entries: list[Any]) -> None:
        if not price_rules.find_problems(price_values.normalized(entries)):
            book = parse_book({"entries": entries})
            sent = msgspec.json.encode(book)
            assert parse_book(msgspec.json.decode(sent)) == book

    attempt()
