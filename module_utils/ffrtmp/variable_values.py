"""Ranges of numbers and patterns of texts that the values of Ansible variables can have.

The patterns accept what systemd, Nginx, HAProxy, PostgreSQL, VictoriaMetrics and the farm's
programs accept. These programs would ignore some of the other values without a message, and not
start with the rest.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .value_rules import END, MASTER_URL, NAME, UNIT_NAME

# Characters that would end a line of a settings file.
ONE_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"


@dataclass(frozen=True)
class Numbers:
    """A range of numbers.

    Attributes:
        lowest: The smallest number, which is accepted unless `is_open`.
        highest: The largest number, which is accepted.
        is_whole: Whether fractions are refused.
        is_open: Whether `lowest` itself is refused.
    """

    lowest: float
    highest: float
    is_whole: bool = False
    is_open: bool = False

    @property
    def kind(self) -> str:
        """The type of the variable."""
        return "int" if self.is_whole else "float"

    @property
    def expected(self) -> str:
        """The accepted values, as the end of "must be ..."."""
        what = "a whole number" if self.is_whole else "a number"
        if self.is_open:
            return f"{what} above {self.lowest:g} and at most {self.highest:.15g}"
        return f"{what} from {self.lowest:.15g} to {self.highest:.15g}"

    def accepts(self, value: Any) -> bool:
        """Return whether a number is in the range."""
        return self.lowest <= value <= self.highest and not (self.is_open and value == self.lowest)


@dataclass(frozen=True)
class Texts:
    """A pattern of texts.

    Attributes:
        pattern: A regular expression for the whole text.
        expected: The accepted values, as the end of "must be ...".
        check: A further condition.
    """

    pattern: str
    expected: str
    check: Callable[[str], bool] = lambda _: True
    kind: str = "str"

    def accepts(self, value: Any) -> bool:
        """Return whether the pattern matches a text and the text meets the condition."""
        text = str(value)
        return re.fullmatch(self.pattern, text) is not None and self.check(text)


@dataclass(frozen=True)
class Lists:
    """A list whose elements have a rule."""

    elements: Numbers | Texts
    kind: str = "list"

    @property
    def expected(self) -> str:
        """The accepted elements, as the end of "must be ..."."""
        return f"a list, each element of which is {self.elements.expected}"

    def accepts(self, value: Any) -> bool:
        """Return whether all elements are accepted."""
        return all(
            isinstance(element, str | int | float) and self.elements.accepts(element)
            for element in value
        )


@dataclass(frozen=True)
class Mappings:
    """A dictionary whose keys and values have rules."""

    keys: Texts
    values: Numbers | Texts
    kind: str = "dict"

    @property
    def expected(self) -> str:
        """The accepted entries, as the end of "must be ..."."""
        return (
            f"a dictionary, each name of which is {self.keys.expected}, and each value "
            f"{self.values.expected}"
        )

    def accepts(self, value: Mapping[Any, Any]) -> bool:
        """Return whether all names and values are accepted."""
        return all(
            self.keys.accepts(key) and _fits(self.values, content) for key, content in value.items()
        )


def _fits(rule: Numbers | Texts, value: Any) -> bool:
    if isinstance(rule, Texts):
        return isinstance(value, str | int | float) and rule.accepts(value)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,20}", value):
        value = int(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and rule.accepts(value)


Rule = Numbers | Texts | Lists | Mappings


def whole(lowest: int, highest: int) -> Numbers:
    """Return a range of whole numbers."""
    return Numbers(lowest, highest, is_whole=True)


def above(lowest: float, highest: float) -> Numbers:
    """Return a range of numbers without its lower end."""
    return Numbers(lowest, highest, is_open=True)


def _is_address(text: str) -> bool:
    """Return whether a text that looks like an IP address is one; host names are accepted."""
    if ":" not in text and not re.fullmatch("[0-9.]+", text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_network(text: str) -> bool:
    """Return whether a text is an IP address with an optional length of its prefix."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_address_or_network(text: str) -> bool:
    return is_network(text) if "/" in text else _is_address(text)


def has_valid_port(text: str) -> bool:
    """Return whether the port of a URL, if it has one, is between 1 and 65535."""
    found = re.search(r":([0-9]+)(?:[/?#]|$)", text.split("://", 1)[-1])
    return found is None or 1 <= int(found[1]) <= 65535  # noqa: PLR2004 - the largest port


# systemd has room for so many CPUs and NUMA nodes.
_CPUS_MAX = 8192


def _is_cpu_list(text: str) -> bool:
    ranges = [
        [int(number) for number in part.split("-")] for part in re.split("[, ]+", text.strip())
    ]
    return all(bounds[0] <= bounds[-1] < _CPUS_MAX for bounds in ranges)


_SIZE_UNITS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_MEMORY_MIN = 1024**2
_MEMORY_MAX = 2**63


def _is_memory(text: str) -> bool:
    """Return whether a limit is one that systemd applies and a program can start with."""
    if text == "infinity":
        return True
    if text.endswith("%"):
        return 0 < float(text[:-1]) <= 100  # noqa: PLR2004 - percent
    unit = text[-1] if text[-1].isalpha() else ""
    number = float(text[: len(text) - len(unit)])
    size_bytes: float = number * 1024.0 ** _SIZE_UNITS[unit]
    return _MEMORY_MIN <= size_bytes < _MEMORY_MAX


# Directories that belong to the system or are shared. Their owner and mode must not change.
_SYSTEM_DIRS = re.compile(
    "/etc/systemd(/system)?|/usr/(bin|lib|sbin|share)|/usr/local(/(bin|lib|libexec|sbin|share))?|"
    "/var/(backups|cache|lib|log|run|spool|tmp|www)"
)


def _is_own_dir(text: str) -> bool:
    parts = text.rstrip("/").split("/")
    return _SYSTEM_DIRS.fullmatch(text.rstrip("/")) is None and len(parts) > 2 and ".." not in parts  # noqa: PLR2004


def _is_path(text: str) -> bool:
    return ".." not in text.split("/") and text.rstrip("/") != ""


_HOST_PATH = r"(/[A-Za-z0-9._@+,:=-]+)+/?"
_HOST_PATH_TEXT = (
    "an absolute path without .. that consists of letters, digits and ._@+,:=- (systemd and Nginx "
    "interpret other characters)"
)
_WHOLE_RANGE = "[0-9]{1,4}(-[0-9]{1,4})?"
URL_PATH = r"(:[0-9]{1,5})?(/[A-Za-z0-9._~/%+-]*)?"
HOST = r"([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])"
_DATE = r"(\*|[0-9]{4})(-[0-9*/.,]{1,20}){1,2}(~[0-9/.,]{1,10})?"
_TIME = r"[0-9*/.,]{1,20}(:[0-9*/.,]{1,20}){1,2}"
_DAYS = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_CALENDAR_WORDS = "minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|annually"

LINE = Texts(f"{ONE_LINE}{{0,4096}}", "a text in one line without control characters")
FILLED_LINE = Texts(f"{ONE_LINE}{{1,4096}}", "a text in one line, which is not empty")
PORT = whole(1, 65535)
ADDRESS = Texts(
    "[A-Za-z0-9:][A-Za-z0-9.:_-]{0,254}",
    "a host name or an IP address without a port, such as 192.0.2.11",
    _is_address,
)
LISTEN_ADDRESS = Texts(
    f"({ADDRESS.pattern})?",
    "an IP address of the host, such as 0.0.0.0 for all",
    lambda text: text == "" or _is_address(text),
)
CLIENT = Texts(
    "[A-Za-z0-9:][A-Za-z0-9.:_-]{0,254}(/[0-9]{1,3})?",
    "a host name, an IP address or a network such as 10.20.0.0/16",
    _is_address_or_network,
)
TARGET = Texts(
    rf"({HOST}|[0-9a-fA-F:]{{2,45}}):[0-9]{{1,5}}", "a HOST:PORT, such as 192.0.2.11:9507"
)
HOST_PATH = Texts(_HOST_PATH, _HOST_PATH_TEXT, _is_path)
OWN_DIR = Texts(
    _HOST_PATH,
    f"{_HOST_PATH_TEXT} and leads to a directory of the farm, not to one of the system such as "
    "/srv or /var/tmp, whose owner would change; use a directory in it",
    _is_own_dir,
)
CONTROL_PATH = Texts(
    f"{ONE_LINE}{{1,4096}}", "a path on the control node without control characters"
)
MEMORY = Texts(
    r"infinity|[0-9]{1,18}([.][0-9]{1,3})?[BKMGTPE]?|[0-9]{1,3}([.][0-9]{1,2})?%",
    "a size of at least 1M such as 512M or 8G (systemd ignores 8GB and 8Gi), a percentage such as "
    "50%, or infinity",
    _is_memory,
)
ACCOUNT = Texts(
    "[a-z_][a-z0-9_-]{0,30}",
    "a name of at most 31 lower-case letters, digits, _ and -, such as ffrtmp-worker",
)
LOG_LEVEL = Texts("debug|info|warning|error", "debug, info, warning or error")
CPU_LIST = Texts(
    f"{_WHOLE_RANGE}([, ]+{_WHOLE_RANGE})*",
    "numbers and ranges of them, such as 0-7,16-23",
    _is_cpu_list,
)
HTTPS_URL = Texts(
    MASTER_URL.removeprefix("^").removesuffix(END),
    "an https URL such as https://HOST:8080, without user, password and spaces",
    has_valid_port,
)
WEB_URL = Texts(
    r"https?://[!-\[\]-~]{1,2000}",
    "an http or https URL without spaces",
    lambda text: re.search("[\"'<>`]", text) is None,
)
WRITE_URL = Texts(
    r"https?://[^/@,\s]+/[^@,\s]+",
    "a complete URL such as https://HOST:8428/api/v1/write, with a path, and without user and "
    "password (use victoria_metrics_write_token_source)",
    has_valid_port,
)
DURATION = Texts("([1-9][0-9]{0,5}(ms|[smhdwy]))+", "a duration such as 30s, 5m or 4h")
CALENDAR = Texts(
    rf"({_CALENDAR_WORDS})|({_DAYS}([,.]{{1,2}}{_DAYS})* )?(({_DATE} )?{_TIME}|{_DATE})"
    r"( [A-Za-z]+(/[A-Za-z_]+)*)?",
    "a time in the notation of systemd.time(7) such as *-*-* 02:15:00 or daily; check it with "
    "systemd-analyze calendar",
)
SHA256 = Texts("[0-9a-f]{64}", "64 lower-case hexadecimal digits (sha256sum FILE)")
DATABASE_NAME = Texts(
    "[a-z_][a-z0-9_]{0,62}",
    "at most 63 lower-case letters, digits and _, not beginning with a digit",
)
PACKAGE = Texts(
    r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?", "the name of a Debian package"
)
UNIT = Texts(UNIT_NAME.removeprefix("^").removesuffix(END), "the name of a unit of systemd")
NODE = Texts(
    NAME.removeprefix("^").removesuffix(END),
    "1 to 64 letters, digits, dots, _ or -, beginning with a letter or digit",
)
WORD = Texts("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "letters, digits, dots, _ and -")
VERSION = Texts("[0-9A-Za-z.+:~-]{1,128}", "a version, such as 13.2.3")
DIRECTIVE = Texts(
    rf"[A-Z][A-Za-z]+={ONE_LINE}{{0,2000}}",
    "a line of the section [Service] such as OOMScoreAdjust=500",
)
LABEL_NAME = Texts("[a-zA-Z_][a-zA-Z0-9_]*", "a name of letters, digits and _")
LABEL_VALUE = Texts("[a-zA-Z0-9_.:/@+ -]{0,256}", "text of letters, digits, spaces and _.:/@+-")
FLAG_NAME = Texts(
    "[A-Za-z][A-Za-z0-9.]{0,127}", "a flag without its hyphen, such as search.maxSeries"
)
PRICE = Texts("[0-9]{1,12}([.][0-9]{1,12})?", 'a number such as "0.35"')
