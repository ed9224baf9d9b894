"""Rules for texts and numbers that come from outside the farm.

This is the only place that defines them. The wire types, the suites, the API, the spool, the
exporters, the exports and the Ansible modules use it. It needs only the standard library, because
the modules include this file.

The databases of a farm differ in what they can store: PostgreSQL rejects NUL in any text, and
neither a JSON document nor UTF-8 can contain a lone surrogate. The rules are those that every
component can fulfill, so that an accepted value is read back unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_INTEGER = 2**63 - 1
"""The largest whole number: the largest value of a bigint column."""

MAX_NUMBER = 1e18
"""The largest magnitude of a number with a fraction.

It is far above every quantity that a farm measures, and so small that no sum or product of
measured values overflows.
"""

# Python's `$` also matches before a trailing line feed, which must be rejected.
END = r"$(?!\n)"
"""The end of a text in a pattern."""

# Control characters and line breaks, as part of a set of characters.
_BREAKS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}" + END
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}" + END
SHA256 = "^[0-9a-f]{64}" + END
URL = (
    r"^https?://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?"
    r"([/?#][!-\[\]-~]{0,1999})?" + END
)
MASTER_URL = (
    r"^https://([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])"
    r"(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]{0,1000})?" + END
)
ADDRESS = r"^[A-Za-z0-9:][A-Za-z0-9.:_-]{0,254}" + END
LINE = f"^[^{_BREAKS}]{{1,255}}" + END
FILE_PATH = f"^([^{_BREAKS}]*/)?[^{_BREAKS}/]{{1,255}}" + END
KEY = r"^[ -~]{1,255}" + END
CURRENCY = "^[A-Z]{3}" + END
UNIT_NAME = r"^[A-Za-z0-9:_.@\\-]{1,255}" + END
FRAME_RATE = r"^[1-9][0-9]{0,5}(/[1-9][0-9]{0,5})?" + END
LABEL = f"^[^{_BREAKS}]*" + END
PROSE = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*" + END

RULES = {
    NAME: "1 to 64 letters, digits, dots, underscores or hyphens, beginning with a letter or digit",
    FILE_NAME: "1 to 128 letters, digits, dots, underscores or hyphens, beginning with a letter "
    "or digit",
    SHA256: "64 lower-case hexadecimal digits",
    URL: "an http or https URL in ASCII with a host, and without user, password, spaces and "
    "backslashes",
    MASTER_URL: "an https URL of an API server, without user and password",
    ADDRESS: "a host name or an IP address",
    LINE: "1 to 255 characters without control characters and line breaks",
    FILE_PATH: "a path without control characters and line breaks, whose last part has 1 to 255 "
    "characters",
    KEY: "1 to 255 printable ASCII characters",
    CURRENCY: "a currency code of ISO 4217, such as EUR",
    UNIT_NAME: "the name of a unit of systemd, with 1 to 255 characters",
    FRAME_RATE: "a whole number or a fraction, such as 30 or 30000/1001",
    LABEL: "text without control characters and line breaks",
    PROSE: "text without control characters, except tabs and line feeds, and without characters "
    "that change the direction of the text",
}
"""A description of each pattern, for error messages. The patterns are valid in JSON Schema too."""

_FAULT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# The only ways in which JSON in UTF-8 can contain a rejected character: the escapes of the first
# 256 characters, of backspace, of form feed and of surrogates, DEL itself, and the first byte of
# U+0080 to U+009F.
_SUSPICIOUS = (rb"\u00", rb"\b", rb"\f", rb"\ud", rb"\uD", b"\x7f", b"\xc2")

# A spreadsheet evaluates a cell that begins with one of these characters.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")

_MISMATCH = re.compile(r"Expected `str` matching regex (?P<quote>['\"])(?P<pattern>.*)(?P=quote)")
_LENGTH = re.compile(r"Expected `str` of length (?P<limit>[<>]= \d+)")


class TextFaultError(ValueError):
    """Text that the farm does not accept. `errors` has a message for each field with such text."""

    def __init__(self, errors: list[str]) -> None:
        """Store the messages."""
        super().__init__("; ".join(errors))
        self.errors = errors


def fault_of(text: str) -> str:
    """Return why the farm does not accept a text, or "" if it does.

    Control characters are rejected, except tabs, line feeds and carriage returns, and so are
    surrogates, which are not characters.
    """
    found = _FAULT.search(text)
    if found is None:
        return ""
    code = ord(found.group())
    kind = "lone surrogate" if code > 0xFF else "control character"  # noqa: PLR2004
    return f"the {kind} U+{code:04X} is not accepted"


def clean_text(text: str, max_length: int | None = None) -> str:
    """Return a text in which each character that the farm does not accept is replaced by U+FFFD.

    Args:
        text: The text, for example a line of another program's log.
        max_length: The maximum number of characters; a longer text is cut off at its end.

    Returns:
        The accepted text.
    """
    return _FAULT.sub(_REPLACEMENT, text)[:max_length]


def may_have_faults(content: bytes) -> bool:
    """Return whether a JSON document may contain text that the farm does not accept.

    Almost all documents contain none of the bytes that are searched for, so that they need not be
    decoded to know that their texts are accepted.
    """
    return any(part in content for part in _SUSPICIOUS)


def check_json_texts(content: bytes) -> None:
    """Check all texts of a JSON document, including the keys of objects.

    A document that is not valid JSON passes, because its decoder reports it.

    Args:
        content: The document in UTF-8.

    Raises:
        TextFaultError: A text contains characters that the farm does not accept.
    """
    if not may_have_faults(content):
        return
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    errors = [f"{path}: {fault}" for path, fault in find_faults(document)]
    if errors:
        raise TextFaultError(errors)


def clean_json_texts(content: bytes) -> bytes:
    """Replace the characters that the farm does not accept in all texts of a JSON document.

    A document that is not valid JSON in UTF-8 is returned unchanged, because its decoder reports
    it.

    Args:
        content: The document in UTF-8.

    Returns:
        The document with each such character replaced by U+FFFD.
    """
    if not may_have_faults(content):
        return content
    try:
        document = json.loads(content.decode())
        if next(find_faults(document), None) is None:
            return content
        return json.dumps(_clean(document), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return content


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _clean(item) for key, item in value.items()}
    return value


def find_faults(document: Any, max_faults: int = 100) -> Iterator[tuple[str, str]]:
    """Yield the path of each text that the farm does not accept, and the reason.

    Args:
        document: A document of dicts, lists and plain values.
        max_faults: The maximum number of faults to yield.

    Yields:
        Path and reason. In a path, characters that are not accepted are replaced.
    """
    found = 0
    stack: list[tuple[str, Any]] = [("", document)]
    while stack and found < max_faults:
        path, value = stack.pop()
        if isinstance(value, str):
            fault = fault_of(value)
            if fault:
                found += 1
                yield path or "the document", fault
        elif isinstance(value, list):
            stack.extend((f"{path}[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            for key, item in value.items():
                below = f"{path}.{clean_text(key, 64)}" if path else clean_text(key, 64)
                fault = fault_of(key)
                if fault:
                    found += 1
                    yield below, f"in the key, {fault}"
                stack.append((below, item))


def explain_mismatch(message: str) -> str | None:
    """Return the rule for text that a validation error of msgspec is about.

    The explanation never contains the rejected text, which may be a secret.

    Args:
        message: The message of the error.

    Returns:
        The rule in words, or None if the error is not about the text of a value.
    """
    match = _MISMATCH.search(message)
    if match is not None:
        pattern = match["pattern"]
        for known, rule in RULES.items():
            if pattern in (known, repr(known)[1:-1]):
                return f"must be {rule}"
        return f"must match {pattern}"
    match = _LENGTH.search(message)
    return None if match is None else f"must be text of a length {match['limit']}"


def url_fault(url: str) -> str:
    """Return why a URL is rejected although it looks like one; "" if there is another reason.

    The explanation does not contain the URL.
    """
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        return "a url must not contain a user or password: it is stored and displayed"
    return "the url has no host" if scheme in ("http", "https") and not host else ""


def csv_cell(value: Any) -> Any:
    """Return a value for a cell of a CSV file that spreadsheets do not evaluate as a formula.

    An apostrophe is put before text that a spreadsheet would evaluate. Numbers are not changed.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
