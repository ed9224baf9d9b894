"""Comparison of the answers that a page shows with the actual answers.

A page may omit parts of an answer: it may leave out keys of an object, and `…` stands for any text.
In an answer that is not JSON, a line that consists of `…` stands for any number of lines.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from .page import Fence

_ANYTHING = "…"


def difference(shown: Fence, actual: str) -> str | None:
    """Return the first difference between a shown and an actual answer, or None if they agree."""
    if shown.language == "json":
        return _of_documents(list(_documents(shown.text)), list(_documents(actual)))
    return _of_text(shown.text, actual)


def _documents(text: str) -> Iterator[Any]:
    """Parse consecutive JSON documents."""
    decoder = json.JSONDecoder()
    place = 0
    while (match := re.compile(r"\S").search(text, place)) is not None:
        document, place = decoder.raw_decode(text, match.start())
        yield document


def _of_documents(shown: list[Any], actual: list[Any]) -> str | None:
    if len(shown) != len(actual):
        return f"{len(shown)} documents are shown, {len(actual)} were returned"
    return next(filter(None, map(_of_values, shown, actual)), None)


def _of_values(shown: Any, actual: Any, place: str = "") -> str | None:
    match shown:
        case dict():
            return _of_objects(shown, actual, place)
        case list():
            return _of_lists(shown, actual, place)
        case str() if _ANYTHING in shown:
            text = actual if isinstance(actual, str) else json.dumps(actual)
            is_same = re.fullmatch(_pattern(shown), text, re.DOTALL) is not None
        case _:
            is_same = type(shown) is type(actual) and shown == actual
    return None if is_same else f"{place or 'the document'} is {actual!r}, not {shown!r}"


def _of_objects(shown: dict[str, Any], actual: Any, place: str) -> str | None:
    if not isinstance(actual, dict):
        return f"{place or 'the document'} is not an object but {actual!r}"
    for key, value in shown.items():
        if key not in actual:
            return f"{place}.{key} was not returned"
        found = _of_values(value, actual[key], f"{place}.{key}")
        if found is not None:
            return found
    return None


def _of_lists(shown: list[Any], actual: Any, place: str) -> str | None:
    if not isinstance(actual, list):
        return f"{place or 'the document'} is not a list but {actual!r}"
    has_more = shown[-1:] == [_ANYTHING]
    items = shown[:-1] if has_more else shown
    if len(actual) < len(items) or (len(actual) > len(items) and not has_more):
        return f"{place or 'the document'} has {len(actual)} items, not {len(items)}"
    for number, item in enumerate(items):
        found = _of_values(item, actual[number], f"{place}[{number}]")
        if found is not None:
            return found
    return None


def _of_text(shown: str, actual: str) -> str | None:
    lines = shown.splitlines()
    wanted = "".join(r"(.*\n)*?" if line == _ANYTHING else _pattern(line) + r"\n" for line in lines)
    text = actual.replace("\r\n", "\n").rstrip("\n") + "\n"
    return None if re.fullmatch(wanted, text) else f"actual:\n{actual}"


def _pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split(_ANYTHING)))
