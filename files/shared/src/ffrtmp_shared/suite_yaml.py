"""Safe reading of YAML suite files, with line numbers for error messages."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import ScalarNode

from ffrtmp_shared.value_rules import clean_text, fault_of

MAX_CHARACTERS = 1_048_576
"""The maximum length of a suite, in characters."""


MAX_PROBLEMS = 100
"""The maximum number of schema errors that are reported together."""

# The maximum length of a value that an error message contains.
_MAX_SHOWN = 64

# Advice for errors whose cause is not obvious from the message of the YAML reader.
_ADVICE = {
    "mapping values are not allowed here": "correct the indentation, or put a text that contains "
    "a colon in quotes",
    "found character '\\t' that cannot start any token": "indent with spaces instead of tabs",
    "could not find expected ':'": "write a colon and a space after the key",
    "expected <block end>": "correct the indentation, so that keys and items of one level begin in "
    "the same column",
}


class SuiteProblem(msgspec.Struct, frozen=True):
    """One error in a suite. `line` and `column` count from 1."""

    line: int
    message: str
    column: int = 1

    def __str__(self) -> str:
        """Return the message with its position first, as compilers print it."""
        return f"line {self.line}, column {self.column}: {self.message}"


class SuiteError(ValueError):
    """A suite is invalid. `problems` contains all errors that were found, in order of line."""

    def __init__(self, problems: list[SuiteProblem]) -> None:
        """Store the problems and combine them into the message."""
        self.problems = sorted(problems, key=lambda p: (p.line, p.column))
        super().__init__("; ".join(str(problem) for problem in self.problems))


class _MarkingConstructor(RoundTripConstructor):
    """Adds the position to the error for a value that cannot be converted."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Return the value of a node. Raises ConstructorError for a date that does not exist."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError) as error:
            if not isinstance(node, ScalarNode):
                raise
            length = len(node.value)
            problem = (
                f"{error}; put {node.value} in quotes"
                if length <= _MAX_SHOWN
                else f"{length} characters are too long for a number or a date; put them in quotes"
            )
            raise ConstructorError(None, None, problem, node.start_mark) from error


def read_yaml(text: str) -> Any:
    """Read YAML into a document with line numbers. Raises SuiteError."""
    if len(text) > MAX_CHARACTERS:
        message = f"the suite has {len(text)} characters; the maximum is {MAX_CHARACTERS}"
        raise SuiteError([SuiteProblem(1, message)])
    try:
        _check_plain(text)
        yaml = YAML(typ="rt", pure=True)
        yaml.Constructor = _MarkingConstructor
        document = yaml.load(text)
    except MarkedYAMLError as error:
        raise SuiteError([_invalid_yaml(error)]) from error
    except SuiteError:
        raise
    except (YAMLError, ValueError, LookupError) as error:
        raise SuiteError([SuiteProblem(1, f"invalid YAML: {error}")]) from error
    except RecursionError as error:
        raise SuiteError([SuiteProblem(1, "the YAML is nested too deeply")]) from error
    problems = [
        problem_at(document, path, f"{clean_text(dotted(path))}: {fault}")
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
        raise SuiteError([_marked(event.start_mark, message)])


def _marked(mark: Any, message: str) -> SuiteProblem:
    """Return a problem at a mark of the YAML reader, whose lines and columns count from 0."""
    if mark is None:
        return SuiteProblem(1, message)
    return SuiteProblem(mark.line + 1, message, mark.column + 1)


def _invalid_yaml(error: MarkedYAMLError) -> SuiteProblem:
    """Return the problem of a text that is not YAML, with advice if its cause is not obvious."""
    reason = str(error.problem or error.context)
    message = f"invalid YAML: {reason}"
    start = error.context_mark
    if error.context and start is not None and error.problem_mark is not None:
        message += f", {error.context} that begins at line {start.line + 1}"
    advice = next((text for part, text in _ADVICE.items() if part in reason), "")
    return _marked(error.problem_mark or start, f"{message}; {advice}" if advice else message)


def dotted(path: list[str | int]) -> str:
    """Return a path in a suite as text, such as `encodes.1.preset`."""
    return ".".join(map(str, path)) or "the suite"


def problem_at(document: Any, path: list[str | int], message: str) -> SuiteProblem:
    """Return a problem with the position of the value at `path`, or of its key."""
    line, column = 0, 0
    for part in path:
        if not isinstance(document, CommentedBase):
            break
        position = document.lc.data.get(part) if document.lc.data else None
        if position is not None:
            line, column = position[:2]
        document = document[part]  # type: ignore[index]
    return SuiteProblem(line + 1, message, column + 1)


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
