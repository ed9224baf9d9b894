"""Messages for suites that do not match the JSON Schema. Each names the remedy."""

from collections.abc import Callable
from typing import Any

from ffrtmp_shared import value_rules
from ffrtmp_shared.suite_yaml import dotted

_QUOTED = 150

_TYPES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list, each item of which begins with a hyphen",
    "object": "a mapping of keys to values",
}


def explain_error(error: Any) -> str:
    """Return a message for a schema error. The message states the allowed values."""
    return f"{dotted(list(error.absolute_path))}: {_reason(error)}"


def error_path(error: Any) -> list[str | int]:
    """Return the path of a schema error. If a key is unknown, the path includes that key."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        path.append(min(set(error.instance) - set(error.schema["properties"]), key=str))
    return path


def _reason(error: Any) -> str:
    explain = _EXPLANATIONS.get(error.validator)
    return explain(error) if explain else _shortened(str(error.message))


def _unknown_key(error: Any) -> str:
    known = error.schema.get("properties", {})
    unknown = sorted(map(str, set(error.instance) - set(known)))
    return f"unknown key {', '.join(unknown)}; allowed are {', '.join(known)}"


def _unknown_choice(error: Any) -> str:
    choices = ", ".join(map(str, error.validator_value))
    return f"{error.instance!r} is not known; allowed are {choices}"


def _no_alternative(error: Any) -> str:
    choices = ", ".join(map(_alternative, error.validator_value))
    return f"{_shortened(str(error.instance))} is not valid; allowed are {choices}"


def _mismatch(error: Any) -> str:
    """Return the message for a text that does not match the pattern of its field."""
    pattern = error.validator_value
    if pattern == value_rules.URL:
        fault = value_rules.url_fault(error.instance)
        if fault:
            # The message must not contain the URL, which may contain a password.
            return fault
    rule = value_rules.RULES.get(pattern)
    if rule is None:
        return _shortened(str(error.message))
    return f"{_shortened(repr(error.instance))} does not match the expected form: {rule}"


def _wrong_type(error: Any) -> str:
    """Return the message for a value of another type, with the remedy if it is about quotes."""
    value, types = error.instance, error.validator_value
    expected = [types] if isinstance(types, str) else types
    message = f"{_plain(value)} is not {' or '.join(_TYPES[name] for name in expected)}"
    if isinstance(value, str):
        wants_number = not {"number", "integer"}.isdisjoint(expected)
        return f"{message}; remove the quotes" if wants_number and _is_number(value) else message
    has_other_cause = value is None or isinstance(value, list | dict) or "string" not in expected
    return message if has_other_cause else f"{message}; put it in quotes"


def _plain(value: Any) -> str:
    """Return a value as YAML writes it, with quotes around a text."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    return _shortened(repr(value) if isinstance(value, str) else str(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _alternative(schema: dict[str, Any]) -> str:
    """Return one of several alternatives as text."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    return "{" + ", ".join(f"{key}: {key.upper()}" for key in schema["properties"]) + "}"


def _shortened(message: str) -> str:
    """Return a message without its middle if it is long.

    It starts with the invalid value, which may be long, and ends with the reason.
    """
    if len(message) <= 2 * _QUOTED:
        return message
    return f"{message[:_QUOTED]} ... {message[-_QUOTED:]}"


_EXPLANATIONS: dict[str, Callable[[Any], str]] = {
    "additionalProperties": _unknown_key,
    "not": lambda error: f"{error.instance!r} is not a file path",
    "enum": _unknown_choice,
    "anyOf": _no_alternative,
    "type": _wrong_type,
    "pattern": _mismatch,
}
