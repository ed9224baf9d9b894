"""Errors in the values of Ansible variables, as sentences for the operator."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .variable_rules import EXCLUSIVE, ORDERS, PAIRS, SECRET, rule_of
from .variable_types import ValueTypeError, converted, shown
from .variable_values import LINE, Lists

_SIMILAR = 0.85
_USER_INFORMATION = re.compile(r"://[^/@\s]*@")
"""User and password in a URL."""


def value_problems(
    name: str, option: Mapping[str, Any], value: Any, *, is_secret: bool = False
) -> Iterator[str]:
    """Yield a sentence for each error in the value of a variable.

    Args:
        name: The name of the variable.
        option: The variable in the argument spec of its role.
        value: The value, whose templates have been rendered.
        is_secret: Whether messages must not show the value.
    """
    if may_be_unset(option) and value in (None, ""):
        return
    expected = _expectation(name, option, value)
    if expected is not None:
        yield f"{name} is {described(name, value, is_secret=is_secret)}, but it must be {expected}."
    elif option.get("type") in ("dict", "list"):
        yield from _nested_problems(name, option, converted(value, option["type"]))


def _expectation(name: str, option: Mapping[str, Any], value: Any) -> str | None:
    """Return what a value must be, if it is not accepted."""
    kind = option.get("type", "str")
    rule = rule_of(name, kind)
    if kind == "raw" and isinstance(rule, Lists) and _is_word(value):
        # The spec leaves the type open, because a word such as physical is accepted as well.
        return None if value == "physical" else f"physical, or {rule.expected}"
    try:
        typed = converted(value, rule.kind if kind == "raw" and rule is not None else kind)
    except ValueTypeError as problem:
        return str(problem)
    accepted = option.get("choices")
    if accepted and not set(typed if kind == "list" else [typed]) <= set(accepted):
        return f"one of {', '.join(map(str, accepted))}"
    return None if rule is None or rule.accepts(typed) else rule.expected


def may_be_unset(option: Mapping[str, Any]) -> bool:
    """Return whether a variable may have no value."""
    if option.get("required"):
        return False
    return option.get("default") in (None, "") or "Empty:" in str(option.get("description", ""))


def described(name: str, value: Any, *, is_secret: bool = False) -> str:
    """Return the value of a variable for a message, which contains no secret."""
    if value in (None, ""):
        return "empty"
    if is_secret or SECRET.fullmatch(name):
        return "set to a value that is not shown here"
    return _USER_INFORMATION.sub("://...@", shown(value))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and not value.strip().startswith("[")


def _nested_problems(place: str, option: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield the errors in the elements of a list or in the entries of a dictionary."""
    nested = option.get("options")
    if option["type"] == "dict":
        if nested is not None:
            yield from _entry_problems(place, nested, value)
        return
    element_option = {"type": option.get("elements", "raw"), "options": nested}
    for index, element in enumerate(value):
        yield from _element_problems(f"{place}[{index}]", element_option, element)


def _entry_problems(
    place: str, options: Mapping[str, Any], entries: Mapping[str, Any]
) -> Iterator[str]:
    unknown = sorted(str(key) for key in entries.keys() - options.keys())
    if unknown:
        yield f"{place} has no {', '.join(unknown)}; it can have {', '.join(options)}."
    for key, option in options.items():
        if entries.get(key) is not None:
            yield from _element_problems(f"{place}.{key}", option, entries[key])
        elif option.get("required"):
            yield f"{place} needs {key}."


def _element_problems(place: str, option: Mapping[str, Any], value: Any) -> Iterator[str]:
    kind = option.get("type", "str")
    accepted = option.get("choices")
    try:
        typed = converted(value, kind)
    except ValueTypeError as problem:
        yield f"{place} must be {problem}."
        return
    if accepted and typed not in accepted:
        yield f"{place} must be one of {', '.join(map(str, accepted))}."
    elif isinstance(typed, str) and not LINE.accepts(typed):
        yield f"{place} must be {LINE.expected}."
    elif kind in ("dict", "list"):
        yield from _nested_problems(place, option, typed)


def conflicts(options: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each pair of values that contradict each other.

    Args:
        options: All variables, with their defaults.
        values: The values that are set. They have no errors of their own.
    """
    known = {name: option["default"] for name, option in options.items() if "default" in option}
    known |= values
    for order in ORDERS:
        if order.lower in values or order.upper in values:
            lower, upper = float(known[order.lower]), float(known[order.upper])
            if lower * order.factor > upper or (order.is_strict and lower == upper):
                limit = "less than" if order.is_strict else "at most"
                part = "half of " if order.factor > 1 else ""
                yield (
                    f"{order.lower} is {lower:.15g}, but it must be {limit} {part}{order.upper} "
                    f"({upper:.15g}): {order.reason}. Change one of the two."
                )
    for first, second in PAIRS:
        if bool(values.get(first)) != bool(values.get(second)):
            present, absent = (first, second) if values.get(first) else (second, first)
            yield f"{present} is set without {absent}. Set both or neither."
    for first, second in EXCLUSIVE:
        if values.get(first) and values.get(second):
            yield f"{first} and {second} are both set. Set one of the two."


def misspelled(
    names: Collection[str], known: Collection[str], prefixes: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each name that differs from that of a variable by a typing error.

    Other names with the prefix of a role are left alone: they may be the operator's own.

    Args:
        names: The names that are set.
        known: The names of all variables.
        prefixes: The prefixes of the names of variables.
    """
    for name in sorted(set(names) - set(known)):
        if name.startswith(tuple(prefixes)):
            similar = difflib.get_close_matches(name, known, 1, _SIMILAR)
            if similar:
                yield f"There is no variable {name}, which is set. Is {similar[0]} meant?"
