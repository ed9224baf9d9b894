"""Whether what a page shows is what came.

The page may show less, never something else: keys of an object may be left out, and `…` stands
for whatever differs from time to time. In text a line of `…` alone stands for any lines.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from .page import Fence

_ANYTHING = "…"


def difference(shown: Fence, came: str) -> str | None:
    """Return what is wrong with an answer that a page shows; None when nothing is."""
    if shown.language == "json":
        return _of_documents(list(_documents(shown.text)), list(_documents(came)))
    return _of_text(shown.text, came)


def _documents(text: str) -> Iterator[Any]:
    """Read JSON documents that follow each other, a line each or not."""
    decoder = json.JSONDecoder()
    place = 0
    while (match := re.compile(r"\S").search(text, place)) is not None:
        document, place = decoder.raw_decode(text, match.start())
        yield document


def _of_documents(shown: list[Any], came: list[Any]) -> str | None:
    if len(shown) != len(came):
        return f"{len(shown)} documents are shown, {len(came)} came"
    return next(filter(None, map(_of_values, shown, came)), None)


def _of_values(shown: Any, came: Any, place: str = "") -> str | None:
    match shown:
        case dict():
            return _of_objects(shown, came, place)
        case list():
            return _of_lists(shown, came, place)
        case str() if _ANYTHING in shown:
            text = came if isinstance(came, str) else json.dumps(came)
            is_same = re.fullmatch(_pattern(shown), text, re.DOTALL) is not None
        case _:
            is_same = type(shown) is type(came) and shown == came
    return None if is_same else f"{place or 'the document'} is {came!r}, not {shown!r}"


def _of_objects(shown: dict[str, Any], came: Any, place: str) -> str | None:
    if not isinstance(came, dict):
        return f"{place or 'the document'} is no object but {came!r}"
    for key, value in shown.items():
        if key not in came:
            return f"{place}.{key} did not come"
        found = _of_values(value, came[key], f"{place}.{key}")
        if found is not None:
            return found
    return None


def _of_lists(shown: list[Any], came: Any, place: str) -> str | None:
    if not isinstance(came, list):
        return f"{place or 'the document'} is no list but {came!r}"
    has_more = shown[-1:] == [_ANYTHING]
    items = shown[:-1] if has_more else shown
    if len(came) < len(items) or (len(came) > len(items) and not has_more):
        return f"{place or 'the document'} has {len(came)} items, not {len(items)}"
    for number, item in enumerate(items):
        found = _of_values(item, came[number], f"{place}[{number}]")
        if found is not None:
            return found
    return None


def _of_text(shown: str, came: str) -> str | None:
    lines = shown.splitlines()
    wanted = "".join(r"(.*\n)*?" if line == _ANYTHING else _pattern(line) + r"\n" for line in lines)
    text = came.replace("\r\n", "\n").rstrip("\n") + "\n"
    return None if re.fullmatch(wanted, text) else f"came:\n{came}"


def _pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split(_ANYTHING)))
