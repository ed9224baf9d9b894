"""Rules for the single values of price books: amounts, currencies, dates and texts.

This module needs only the standard library, because the filters of the control node include it. A
function whose name ends in _problem returns a message for a value that is not accepted, which
follows the name of the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

TEXT_MAX = 255
AMOUNT_MAX = 1e12

# A smaller divisor could make a price infinite.
_POSITIVE_MIN = 1e-9

CARBON_METHODS = ("location_average", "location_marginal")
"""Kinds of grid carbon intensity that the SCI specification permits.

It excludes market-based values, which include certificates and offsets.
"""

_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP
BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS
UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())
"""The codes of ISO 4217 for currencies in use, and ANG and BGN, which were in use until 2025."""


# The API cannot send lone surrogates, which JSON may contain.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FIRST_YEAR = 1990


def normalized(entries: Any) -> Any:
    """Return a price book with each date as text, as it is stored.

    YAML represents an unquoted date as a date. A date means its beginning in UTC, and the text of a
    time has the offset Z.

    Args:
        entries: The entries of the book, in any form.
    """
    if not is_list(entries):
        return entries
    return [
        {key: _normalized_value(str(key), value) for key, value in entry.items()}
        if isinstance(entry, Mapping)
        else entry
        for entry in entries
    ]


def is_list(value: Any) -> bool:
    """Return whether a value is a list."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _normalized_value(key: str, value: Any) -> Any:
    if key in ("valid_from", "valid_until"):
        return _moment_text(value)
    if key == "exchange_rates" and isinstance(value, Mapping):
        return {
            currency: {**rate, "date": _date_text(rate.get("date"))}
            if isinstance(rate, Mapping)
            else rate
            for currency, rate in value.items()
        }
    return value


def _date_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _moment_text(value: Any) -> Any:
    moment = parse_moment(value)
    if moment is None:
        return value
    return f"{moment.replace(microsecond=0, tzinfo=None).isoformat()}Z"


def parse_moment(value: Any) -> datetime | None:
    """Return the time in UTC that a date or time means, or None if it is neither.

    Args:
        value: A date, a time, or the text of either in the format of ISO 8601. A time without an
            offset is in UTC.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return None


def amount_problem(value: Any, least: float = 0.0, most: float = AMOUNT_MAX) -> str | None:
    """Return why a value is not a number from `least` to `most`, or None if it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number; it is {shown(value)}"
    # A whole number may be too large for isfinite.
    if value > most or not math.isfinite(value):
        return f"must be at most {most:g}; it is {shown(value)}"
    if value < least:
        limit = "not be negative" if least == 0 else f"be at least {least:g}"
        return f"must {limit}; it is {shown(value)}"
    return None


def positive_problem(value: Any, most: float = AMOUNT_MAX) -> str | None:
    """Return why a value is not a number above 0 and up to `most`, or None if it is."""
    if not isinstance(value, bool) and isinstance(value, int | float) and value == 0:
        return "must be more than 0"
    problem = amount_problem(value, most=most)
    return problem or amount_problem(value, _POSITIVE_MIN, most)


def text_problem(value: Any) -> str | None:
    """Return why a value is not a line of text, or None if it is."""
    if not isinstance(value, str) or not value.strip():
        return f"must be a text that is not empty; it is {shown(value)}"
    if len(value) > TEXT_MAX or _CONTROL.search(value):
        return f"must have at most {TEXT_MAX} characters and no line breaks"
    return None


def currency_problem(value: Any) -> str | None:
    """Return why a value is not a currency, or None if it is."""
    if isinstance(value, str) and value in CURRENCIES:
        return None
    return f"is {shown(value)}, which is not a known currency of ISO 4217, such as EUR"


def date_problem(value: Any) -> str | None:
    """Return why a value is not the text of a date, or None if it is."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            date.fromisoformat(value)
        except ValueError:
            pass
        else:
            return None
    return f"must be a date such as 2026-01-31; it is {shown(value)}"


def year_problem(value: Any) -> str | None:
    """Return why a value is not a year, or None if it is."""
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and _FIRST_YEAR <= value <= date.max.year
    ):
        return None
    return f"must be a year since {_FIRST_YEAR}; it is {shown(value)}"


def shown(value: Any) -> str:
    """Return a value as messages contain it, cut off if it is long."""
    text = str(value) if isinstance(value, str | int | float) else type(value).__name__
    return repr(text[:64]) if isinstance(value, str) else text[:64]


def method_problem(value: Any) -> str | None:
    """Return why a value is not the name of a method, or None if it is."""
    if value in CARBON_METHODS:
        return None
    return f"must be one of {', '.join(CARBON_METHODS)}; it is {shown(value)}"
