"""Types of variables in argument specs, which texts such as those of --extra-vars can also have."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,4})?")


class ValueTypeError(ValueError):
    """A value does not have the type of its variable. The message completes "must be ..."."""


def converted(value: Any, kind: str) -> Any:
    """Return the value of a variable in the type of its argument spec.

    Args:
        value: The value, or its text.
        kind: The type of the argument spec: bool, dict, float, int, list, path, raw or str.

    Raises:
        ValueTypeError: The value has no meaning in this type.
    """
    return _CONVERSIONS[kind](value)


def _as_bool(value: Any) -> bool:
    text = str(value).lower() if isinstance(value, str | int) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueTypeError("true or false")


def _as_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    raise ValueTypeError("a whole number")


def _as_float(value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueTypeError("a number")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueTypeError("a text; put it in quotes")


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith("["):
            return [element.strip() for element in text.split(",")] if text else []
        value = _parsed(text, "a list, such as [a, b]")
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise ValueTypeError("a list, such as [a, b]")


def _as_dict(value: Any) -> dict[Any, Any]:
    expected = "a dictionary, such as {name: value}"
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("{"):
            value = _parsed(text, expected)
        else:
            parts = [part for part in re.split(r"[,\s]+", text) if part]
            if not all("=" in part for part in parts):
                raise ValueTypeError(expected)
            value = dict(part.split("=", 1) for part in parts)
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueTypeError(expected)


def _parsed(text: str, expected: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueTypeError(expected) from error


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "bool": _as_bool,
    "dict": _as_dict,
    "float": _as_float,
    "int": _as_int,
    "list": _as_list,
    "path": _as_text,
    "raw": lambda value: value,
    "str": _as_text,
}


def shown(value: Any) -> str:
    """Return a value for a message: in one line, of limited length."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (TypeError, ValueError):
        text = str(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


_SHOWN_MAX = 120
