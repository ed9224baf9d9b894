"""Safe reading of YAML suite files, with line numbers for error messages."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from ffrtmp_shared import value_rules
from ffrtmp_shared.value_rules import clean_text, fault_of

MAX_CHARACTERS = 1_048_576
"""The maximum length of a suite, in characters."""


MAX_PROBLEMS = 100
"""The maximum number of schema errors that are reported together."""

_QUOTED = 150


class SuiteProblem(msgspec.Struct, frozen=True):
    """One error in a suite. `line` counts from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        """Return the message with its line first, as compilers print it."""
        return f"line {self.line}: {self.message}"


class SuiteError(ValueError):
    """A suite is invalid. `problems` contains all errors that were found, in order of line."""

    def __init__(self, problems: list[SuiteProblem]) -> None:
        """Store the problems and combine them into the message."""
        self.problems = sorted(problems, key=lambda p: p.line)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def read_yaml(text: str) -> Any:
    """Read YAML into a document with line numbers. Raises SuiteError."""
    if len(text) > MAX_CHARACTERS:
        message = f"the suite has {len(text)} characters; the maximum is {MAX_CHARACTERS}"
        raise SuiteError([SuiteProblem(1, message)])
    try:
        _check_plain(text)
        document = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = SuiteProblem(mark.line + 1 if mark else 1, f"invalid YAML: {error.problem}")
        raise SuiteError([problem]) from error
    except SuiteError:
        raise
    # An invalid date raises ValueError.
    except (YAMLError, ValueError, LookupError) as error:
        raise SuiteError([SuiteProblem(1, f"invalid YAML: {error}")]) from error
    except RecursionError as error:
        raise SuiteError([SuiteProblem(1, "the YAML is nested too deeply")]) from error
    problems = [
        SuiteProblem(line_of(document, path), f"{clean_text(_dotted(path))}: {fault}")
        for path, value in _plain_values(document, [])
        if (fault := _fault_of(value))
    ]
    if problems:
        raise SuiteError(problems)
    return document


def to_plain(text: str) -> Any:
    """Convert YAML that `read_yaml` has accepted to built-in types.

    The document with line numbers contains string and number types of ruamel.yaml, which msgspec
    does not convert.
    """
    return YAML(typ="safe", pure=True).load(text)


def _check_plain(text: str) -> None:
    """Raise SuiteError if the YAML contains aliases or tags."""
    if not {"*", "!"}.intersection(text):
        return
    for event in YAML(typ="rt", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            # Nested aliases can expand to a document that exhausts memory.
            message = f"*{event.anchor}: aliases are not supported; write out the value"
        elif getattr(event, "tag", None) is not None:
            message = f"{event.tag}: tags are not supported"
        else:
            continue
        raise SuiteError([SuiteProblem(event.start_mark.line + 1, message)])


def explain_error(error: Any) -> str:
    """Return a message for a schema error. The message states the allowed values."""
    where = _dotted(list(error.absolute_path))
    allowed = ", ".join(error.schema.get("properties", {}))
    if error.validator == "additionalProperties":
        unknown = ", ".join(sorted(map(str, set(error.instance) - set(error.schema["properties"]))))
        return f"{where}: unknown key {unknown}; allowed are {allowed}"
    if error.validator == "not":
        return f"{where}: {error.instance!r} is not a file path"
    if error.validator == "enum":
        choices = ", ".join(str(choice) for choice in error.validator_value)
        return f"{where}: {error.instance!r} is not known; allowed are {choices}"
    if error.validator == "pattern" and error.validator_value == value_rules.URL:
        fault = value_rules.url_fault(error.instance)
        if fault:
            # The message must not contain the URL, which may contain a password.
            return f"{where}: {fault}"
    message = str(error.message)
    if len(message) > 2 * _QUOTED:
        # The message starts with the invalid value, which may be long, and ends with the reason.
        message = f"{message[:_QUOTED]} ... {message[-_QUOTED:]}"
    return f"{where}: {message}"


def path_text(error: Any) -> list[str | int]:
    """Return the path of a schema error. If a key is unknown, the path includes that key."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        path.append(min(set(error.instance) - set(error.schema["properties"]), key=str))
    return path


def line_of(document: Any, path: list[str | int]) -> int:
    """Return the line of the value at `path`, or of its key. Lines are counted from 1."""
    line = 0
    for part in path:
        if not isinstance(document, CommentedBase):
            break
        position = document.lc.data.get(part) if document.lc.data else None
        if position is not None:
            line = position[0]
        document = document[part]  # type: ignore[index]
    return line + 1


def _dotted(path: list[str | int]) -> str:
    return ".".join(map(str, path)) or "the suite"


def _plain_values(
    value: Any, path: list[str | int]
) -> Iterator[tuple[list[str | int], float | str]]:
    """Yield all floating-point numbers and texts within `value`, and all keys, with their paths."""
    if isinstance(value, float | str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield [*path, key], key
            yield from _plain_values(item, [*path, key])
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _plain_values(item, [*path, index])


def _fault_of(value: float | str) -> str:
    if isinstance(value, str):
        return fault_of(value)
    return "" if math.isfinite(value) else f"{value} is not a finite number"
