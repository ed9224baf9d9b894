"""Whole numbers in a suite that stand for texts, such as `preset: 8`."""

from collections.abc import Iterator
from typing import Any

from ruamel.yaml.scalarint import ScalarInt

from ffrtmp_shared.suite_yaml import SuiteProblem, dotted, problem_at

_Path = list[str | int]


def with_texts(value: Any, schema: dict[str, Any]) -> Any:
    """Return a document in which whole numbers are texts wherever the schema allows both.

    Args:
        value: A document of built-in types that matches the schema.
        schema: The JSON Schema.

    Returns:
        The document with texts.
    """
    if isinstance(value, dict):
        return {key: with_texts(item, _below(schema, value, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [with_texts(item, schema.get("items", {})) for item in value]
    return str(value) if _stands_for_text(value, schema) else value


def ambiguous_numbers(document: Any, schema: dict[str, Any]) -> Iterator[SuiteProblem]:
    """Yield a problem for each number that stands for a text, but is not written as its digits.

    For example, YAML reads `0x10` as 16, and `010` as 10.

    Args:
        document: The document with positions, which matches the schema.
        schema: The JSON Schema.

    Yields:
        The problems.
    """
    for path in _ambiguous(document, schema, []):
        message = "this number is not written in its usual form; put it in quotes"
        yield problem_at(document, path, f"{dotted(path)}: {message}")


def _ambiguous(value: Any, schema: dict[str, Any], path: _Path) -> Iterator[_Path]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _ambiguous(item, _below(schema, value, key), [*path, key])
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _ambiguous(item, schema.get("items", {}), [*path, index])
    # The reader uses types of its own for numbers with a base, leading zeros or underscores.
    elif isinstance(value, ScalarInt) and _stands_for_text(value, schema):
        yield path


def _below(schema: dict[str, Any], value: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the schema of the value of a key."""
    for alternative in schema.get("anyOf", ()):
        if value.keys() <= alternative.get("properties", {}).keys():
            schema = alternative
    below = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
    return below if isinstance(below, dict) else {}


def _stands_for_text(value: Any, schema: dict[str, Any]) -> bool:
    types = schema.get("type", ())
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and not isinstance(types, str) and {"string", "integer"} <= set(types)
