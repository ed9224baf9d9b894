"""Removal of names of hosts, users and home directories from a document."""

import getpass
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

D = TypeVar("D", bound=msgspec.Struct)

HOST_NAME, USER_NAME, HOME = "HOST", "USER", "HOME"
"""The words that replace names."""

_KEPT = ("id", "schema", "status")
"""Fields whose values are fixed words, which may also be names of hosts or users."""


def names_to_redact() -> dict[str, str]:
    """Return the names of this host and this user, each with the word that replaces it."""
    host = socket.gethostname()
    found = {str(Path.home()): HOME, host: HOST_NAME, host.partition(".")[0]: HOST_NAME}
    # In containers, the user may have no account.
    with suppress(KeyError, OSError):
        found[getpass.getuser()] = USER_NAME
    # The root directory and the empty string are not names.
    return {name: word for name, word in found.items() if name.strip("/")}


def redact(document: D, names: dict[str, str]) -> D:
    """Return a document in which other words replace names in all texts.

    Args:
        document: The document.
        names: The names, each with the word that replaces it. Only whole words are replaced.
    """
    longest_first = sorted(names, key=len, reverse=True)
    if not longest_first:
        return document
    alternatives = "|".join(re.escape(name) for name in longest_first)
    pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9])")
    content = msgspec.json.decode(msgspec.json.encode(document))
    replaced = _replace(content, lambda text: pattern.sub(lambda hit: names[hit[0]], text))
    return msgspec.convert(replaced, type(document))


def _replace(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_replace(item, change) for item in value]
    if isinstance(value, dict):
        return {
            name: item if name in _KEPT else _replace(item, change) for name, item in value.items()
        }
    return value
