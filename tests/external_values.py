"""Generators of texts and numbers from outside, with which every entry point is tested.

They generate what JSON, HTTP and the databases treat differently: control characters, NUL, lone
surrogates, long texts, formulas, numbers that are not finite, and numbers of extreme magnitude.
"""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_ODD_CHARACTERS = [
    "\0", "\a", "\b", "\t", "\n", "\r", "\f", "\x1b", "\x7f", "\x80", "\x9f", "\xa0", "\xad",
    "\u2028", "\u202e", "\ud800", "\udfff", "\ufeff", "\ufffe", "\uffff", "\U0001f600", "\u00e4",
    "'", '"', "\\", "%", ";", "=", "@", "/", "{", "`",
]  # fmt: skip

TEXTS: st.SearchStrategy[str] = st.one_of(
    st.text(st.sampled_from(_ODD_CHARACTERS), min_size=1, max_size=4),
    st.builds("a{}b".format, st.sampled_from(_ODD_CHARACTERS)),
    st.text(st.characters(codec=None), max_size=20),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20),
    st.sampled_from(["", "x" * 64, "x" * 65, "x" * 256, "x" * 20_000, "=1+1", "-1", "NaN", "null"]),
)

NUMBERS: st.SearchStrategy[float] = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from(
        [
            0, -1, -0.0, 1, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**25,
            1e18, -1e18, 1.1e18, 1e300, 5e-324, 1e-300, float("inf"), float("-inf"), float("nan"),
        ]
    ),
)  # fmt: skip

Path = tuple[str | int, ...]


def values_for(value: object) -> st.SearchStrategy[Any]:
    """Return a strategy for values of the same kind as `value`."""
    if isinstance(value, str):
        return TEXTS
    if isinstance(value, int | float) and not isinstance(value, bool):
        return NUMBERS
    return TEXTS | NUMBERS


def leaves(document: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all plain values of a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from leaves(value, (*path, index))
    else:
        yield path


def value_at(document: Any, path: Path) -> Any:
    """Return the value at a path; raises LookupError if there is none."""
    for step in path:
        document = document[step]
    return document


def with_value(document: Any, path: Path, value: object) -> Any:
    """Return a copy of a document with another value at a path."""
    copy = json.loads(json.dumps(document))
    value_at(copy, path[:-1])[path[-1]] = value
    return copy


def as_json(document: Any, *, is_ascii: bool) -> bytes:
    """Encode a document as JSON, possibly with tokens and bytes that are not valid in JSON."""
    return json.dumps(document, ensure_ascii=is_ascii).encode(errors="surrogatepass")


def is_same(sent: object, stored: object) -> bool:
    """Return whether a stored value is the one that was sent; numbers have double precision."""
    if isinstance(sent, int | float) and isinstance(stored, int | float):
        return float(sent) == float(stored)
    return sent == stored
