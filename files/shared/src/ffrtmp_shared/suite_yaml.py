"""Suite files as people write them: reading YAML without letting it harm, and naming lines."""

import math
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

MAX_CHARACTERS = 1_048_576
"""The longest text of a suite."""


MAX_PROBLEMS = 100
"""How many mistakes of form are named at once."""

_QUOTED = 150


class SuiteProblem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a suite; `line` counts from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        """Name the line first, as compilers do."""
        return f"line {self.line}: {self.message}"


class SuiteError(ValueError):
    """A suite was refused; `problems` says all that was found, in the order of the lines."""

    def __init__(self, problems: list[SuiteProblem]) -> None:
        """Keep the problems and make them the message."""
        self.problems = sorted(problems, key=lambda p: p.line)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def read_yaml(text: str) -> Any:
    """Read YAML in the form that knows its lines; raises SuiteError."""
    if len(text) > MAX_CHARACTERS:
        said = f"{len(text)} characters; a suite may have {MAX_CHARACTERS}"
        raise SuiteError([SuiteProblem(1, said)])
    try:
        _check_plain(text)
        document = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = SuiteProblem(mark.line + 1 if mark else 1, f"not YAML: {error.problem}")
        raise SuiteError([problem]) from error
    except SuiteError:
        raise
    # What looks like a date and is none is a ValueError.
    except (YAMLError, ValueError, LookupError) as error:
        raise SuiteError([SuiteProblem(1, f"not YAML: {error}")]) from error
    except RecursionError as error:
        raise SuiteError([SuiteProblem(1, "nested too deeply")]) from error
    problems = [
        SuiteProblem(
            line_of(document, path), f"{_dotted(path)}: {value} is not a number to count with"
        )
        for path, value in _numbers(document, [])
        if not math.isfinite(value)
    ]
    if problems:
        raise SuiteError(problems)
    return document


def to_plain(text: str) -> Any:
    """Read YAML that `read` has accepted into Python's own types.

    The document that knows its lines holds ruamel's kinds of text and number, which no encoder
    takes.
    """
    return YAML(typ="safe", pure=True).load(text)


def _check_plain(text: str) -> None:
    """Refuse what a suite needs not and a reader can choke on; raises SuiteError."""
    if not {"*", "!"}.intersection(text):
        return
    for event in YAML(typ="rt", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            # A few aliases of aliases can stand for more than any memory holds.
            said = f"*{event.anchor}: write out what an alias stands for"
        elif getattr(event, "tag", None) is not None:
            said = f"{event.tag}: a suite has no tags"
        else:
            continue
        raise SuiteError([SuiteProblem(event.start_mark.line + 1, said)])


def explain_error(error: Any) -> str:
    """Turn a schema error into what is wrong and what is allowed."""
    where = _dotted(list(error.absolute_path))
    allowed = ", ".join(error.schema.get("properties", {}))
    if error.validator == "additionalProperties":
        unknown = ", ".join(sorted(map(str, set(error.instance) - set(error.schema["properties"]))))
        return f"{where}: unknown key {unknown}; allowed are {allowed}"
    if error.validator == "not":
        return f"{where}: {error.instance!r} is no path of a file"
    if error.validator == "enum":
        choices = ", ".join(str(choice) for choice in error.validator_value)
        return f"{where}: {error.instance!r} is not known; allowed are {choices}"
    said = str(error.message)
    if len(said) > 2 * _QUOTED:
        # It begins with what is wrong, as long as that may be, and ends with why.
        said = f"{said[:_QUOTED]} ... {said[-_QUOTED:]}"
    return f"{where}: {said}"


def path_text(error: Any) -> list[str | int]:
    """Return the path of what is wrong: of an unknown key itself, not of what holds it."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        path.append(min(set(error.instance) - set(error.schema["properties"]), key=str))
    return path


def line_of(document: Any, path: list[str | int]) -> int:
    """Find the line, from 1, on which the value at `path` (or its key) stands."""
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


def _numbers(value: Any, path: list[str | int]) -> list[tuple[list[str | int], float]]:
    """Find every fractional number below `value`, with its path."""
    if isinstance(value, float):
        return [(path, value)]
    below: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [found for key, item in below for found in _numbers(item, [*path, key])]
