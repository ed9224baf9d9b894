"""Accepted values of the modules' options, defined once for all modules."""

from __future__ import annotations

import ipaddress
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from . import value_rules

WAIT_MAX_S = 365 * 86400
"""Maximum time that an option can set for a wait, in seconds."""

NETWORK_TIMEOUT_MAX_S = 3600
"""Maximum timeout of one network operation, in seconds."""

SLOTS_MAX = 65_536
"""Maximum number of slots of a host."""

ENTRIES_MAX = 1024
"""Maximum number of entries of a list."""

SEED_MAX = 2**31 - 1
"""Maximum seed of a run. The master has the same limit."""

_PATH_MAX_CHARACTERS = 4095
_TOKEN_MAX_CHARACTERS = 4096
_URL_MAX_CHARACTERS = 2048
_PATTERN_MAX_CHARACTERS = 1024
_SUITE_MAX_CHARACTERS = 1_000_000
_PORT_MAX = 65535
_HOST_MAX_CHARACTERS = 253
_TOKEN = re.compile(rf"[!-~]{{1,{_TOKEN_MAX_CHARACTERS}}}")
_KEY = re.compile(value_rules.KEY)
_LINE = re.compile(value_rules.LINE)
_NAME = re.compile(value_rules.NAME)
_URL = re.compile(value_rules.URL)
_RTMP_URL = re.compile(r"(rtmps?://[!-~]{1,2000})?")
_STATISTICS_URL = re.compile(r"(https://[!-~]{1,2000})?")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.[a-z]{4,12}")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_MODE = re.compile(r"0?[0-7]{3,4}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?")
_NUMBER_SET = re.compile(r"[ -~]{0,4096}")


class _Rule(NamedTuple):
    """A function that accepts valid values, and the requirement for the message otherwise.

    The message contains a rejected number, but no other rejected value, which could be a secret.
    """

    accepts: Callable[[Any], bool]
    requirement: str


def problem(name: str, value: Any) -> str | None:
    """Return why an option cannot have a value, or None if it can.

    Args:
        name: Name of the option.
        value: Value of the type that the argument spec declares. None is always accepted.
    """
    return _problem(name, name, "", value)


def problems(
    values: Mapping[str, Any], shown: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Yield why values of options are not accepted. Options without a rule accept every value.

    Args:
        values: Values of options by name.
        shown: Names in the messages, for options that the operator sets by another name.
    """
    for name, value in values.items():
        found = _problem(shown.get(name, name), name, "", value)
        if found is not None:
            yield found


def is_checked(name: str, parent: str = "") -> bool:
    """Return whether there is a rule for the option, which may be an option of `parent`."""
    return f"{parent}.{name}" in _RULES or name in _RULES


def _problem(shown: str, name: str, parent: str, value: Any) -> str | None:
    """Return why a value is not accepted.

    Args:
        shown: Name of the option in the message, with the names of the options that contain it.
        name: Name of the option.
        parent: Name of the option that contains it, or an empty string.
        value: Value of the option.
    """
    if value is None:
        return None
    if isinstance(value, list):
        if len(value) > ENTRIES_MAX:
            return f"{shown} must have at most {ENTRIES_MAX} entries, not {len(value)}"
        entries = enumerate(value)
        return _first(_problem(f"{shown}[{n}]", name, parent, entry) for n, entry in entries)
    rule = _RULES.get(f"{parent}.{name}") or _RULES.get(name)
    if rule is None and isinstance(value, dict):
        return _first(_problem(f"{shown}.{key}", key, name, part) for key, part in value.items())
    if rule is None or rule.accepts(value):
        return None
    is_number = isinstance(value, int | float)
    return f"{shown} must {rule.requirement}" + (f", not {value}" if is_number else "")


def _first(found: Iterator[str | None]) -> str | None:
    return next((message for message in found if message is not None), None)


def split_master_url(url: str) -> SplitResult | None:
    """Return the parts of a master's URL, or None if it is not valid.

    The URL must have the scheme https and a host name or an IP address. It may have a port and a
    path. It must not contain a user or a password, which messages with the URL would reveal.
    """
    if len(url) > _URL_MAX_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_valid = (
        parts.scheme == "https"
        and "@" not in parts.netloc
        and "?" not in url
        and "#" not in url
        and not parts.netloc.endswith(":")
        and (port is None or 0 < port <= _PORT_MAX)
        and is_host(parts.hostname or "")
    )
    return parts if is_valid else None


def is_host(text: str) -> bool:
    """Return whether a text is a host name in ASCII or an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        is_name = all(_HOST_LABEL.fullmatch(label) for label in labels)
        # A name of digits and dots is a mistyped IPv4 address.
        return is_name and len(text) <= _HOST_MAX_CHARACTERS and not labels[-1].isdecimal()
    return True


def _is_run_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _is_path(text: str) -> bool:
    is_short = len(text) <= _PATH_MAX_CHARACTERS
    return bool(text.strip()) and is_short and not _CONTROL_CHARACTER.search(text)


def _is_command(text: str) -> bool:
    try:
        return bool(shlex.split(text)) and _is_path(text.replace("\n", " "))
    except ValueError:
        return False


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return len(text) <= _PATTERN_MAX_CHARACTERS


def _is_counts(counts: Mapping[str, Any]) -> bool:
    return len(counts) <= ENTRIES_MAX and all(
        isinstance(count, int | str) and re.fullmatch(r"[0-9]{1,15}", str(count))
        for count in counts.values()
    )


def _between(least: float, most: float, unit: str = "") -> _Rule:
    kind = f"a number of {unit}" if unit else "a whole number"
    return _Rule(
        lambda value: math.isfinite(value) and least <= value <= most,
        f"be {kind} from {least:g} to {most}",
    )


def _matching(pattern: re.Pattern[str], requirement: str) -> _Rule:
    return _Rule(lambda text: pattern.fullmatch(text) is not None, requirement)


_PATH = _Rule(
    _is_path,
    f"be a path of at most {_PATH_MAX_CHARACTERS} characters without control characters; it is "
    "empty, too long, or contains such a character",
)
_SET = _matching(
    _NUMBER_SET, "be a set of numbers such as 0-3,8, with at most 4096 printable ASCII characters"
)
_PATH_OR_NONE = _Rule(lambda text: not text or _is_path(text), _PATH.requirement)
_WAIT = _between(0, WAIT_MAX_S, "seconds")

_HOST = _Rule(is_host, "be a host name or an IP address")

_RULES: dict[str, _Rule] = {
    "address": _HOST,
    "below": _PATH_OR_NONE,
    "ca_file": _PATH,
    "certificate_file": _PATH,
    "client_cert": _PATH,
    "client_key": _PATH,
    "copy": _PATH,
    # The module checks the sets themselves, because it knows the CPUs of the host.
    "cpus": _SET,
    "crl_file": _PATH,
    "dest": _PATH,
    "farm_name": _Rule(
        lambda text: not text or _LINE.fullmatch(text) is not None,
        f"be empty or {value_rules.RULES[value_rules.LINE]}",
    ),
    "group": _matching(_ACCOUNT, "be the name or the number of a group"),
    "heartbeat_s": _between(1, WAIT_MAX_S, "seconds"),
    "key": _Rule(
        lambda text: _KEY.fullmatch(text) is not None and text == text.strip(),
        f"be {value_rules.RULES[value_rules.KEY]}, without a space at the beginning or end",
    ),
    "host": _HOST,
    "inputs": _PATH,
    "key_file": _PATH,
    "known_counts": _Rule(_is_counts, "contain the number of jobs of each state"),
    "master_url": _Rule(
        lambda url: split_master_url(url) is not None,
        "look like https://HOST:8080, with a host name or IP address, a port from 1 to 65535, and "
        "without a user, a password, options or spaces; set it to the URL of the master's API",
    ),
    "memory_nodes": _SET,
    "mode": _matching(_MODE, "be permissions as an octal string such as '0640'"),
    "name": _matching(_NAME, f"be the name of a node: {value_rules.RULES[value_rules.NAME]}"),
    "owner": _matching(_ACCOUNT, "be the name or the number of a user"),
    "path": _PATH,
    "ports": _between(1, _PORT_MAX),
    "ready.ca_file": _PATH_OR_NONE,
    "ready.client_cert": _PATH_OR_NONE,
    "ready.client_key": _PATH_OR_NONE,
    "record_dir": _PATH,
    "reload_inputs": _PATH,
    "rtmp_stat_url": _matching(
        _STATISTICS_URL,
        "be empty or look like https://HOST:8936/stat",
    ),
    "rtmp_url": _matching(_RTMP_URL, "be empty or look like rtmp://HOST:1935/live"),
    "run_id": _Rule(_is_run_id, "be the id of a run, such as 019a0000-0000-7000-8000-000000000000"),
    "seed": _between(0, SEED_MAX),
    "slots": _between(1, SLOTS_MAX),
    "socket": _PATH_OR_NONE,
    "status_text": _Rule(_is_pattern, "be a regular expression of at most 1024 characters"),
    "steady_s": _between(0, NETWORK_TIMEOUT_MAX_S, "seconds"),
    "suite": _PATH,
    "suite_text": _Rule(
        lambda text: 0 < len(text) <= _SUITE_MAX_CHARACTERS,
        f"be the text of a suite, with 1 to {_SUITE_MAX_CHARACTERS} characters",
    ),
    "template": _PATH,
    "timeout_s": _between(0.1, NETWORK_TIMEOUT_MAX_S, "seconds"),
    "token": _matching(
        _TOKEN,
        f"have 1 to {_TOKEN_MAX_CHARACTERS} visible ASCII characters; it is empty, or contains a "
        "line feed, a space or another character. Set it to the only line of the token's file",
    ),
    "token_file": _PATH,
    "tree": _PATH,
    "units.name": _matching(_UNIT, "be the name of a systemd unit, such as example.service"),
    "url": _Rule(
        lambda url: not url or _URL.fullmatch(url) is not None,
        f"be {value_rules.RULES[value_rules.URL]}",
    ),
    "validate": _Rule(
        lambda command: "%s" in command and _is_command(command),
        "be a command with quotes in pairs that contains %s for the path of the new file",
    ),
    "values": _Rule(
        lambda values: len(values) <= ENTRIES_MAX, f"have at most {ENTRIES_MAX} entries"
    ),
    "wait_change_s": _WAIT,
    "wait_timeout_s": _WAIT,
}
