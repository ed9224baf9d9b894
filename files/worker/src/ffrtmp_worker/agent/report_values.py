"""Adaptation of measured values to the types of the API, so that no result is lost.

A measured value may be one that its type does not accept: a counter that was reset, a score that is
not a number, a name with control characters. One such value must not make the whole measurement
unreadable. It becomes unavailable, with the reason, and the rest of the measurement is kept.
"""

import logging
import math
import re
from typing import Any

import msgspec
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.value_rules import clean_text

_log = logging.getLogger(__name__)

# More invalid values than this are not the exception that this module is for.
_MAX_REPLACED = 100
_MAX_SHOWN = 40

_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_TOO_LONG = re.compile(r"Expected `str` of length <= (\d+)")

_Step = str | int


class UnrepresentableError(ValueError):
    """A value that a measurement must have is not valid, so that the measurement cannot be kept."""


def conforming_measurement(document: dict[str, Any]) -> Measurement:
    """Return a measurement in which each value that its type does not accept is unavailable.

    Texts are shortened and cleaned. If a value that is not valid cannot be unavailable, the
    part of the measurement that contains it becomes unavailable.

    Args:
        document: The measurement as dicts, lists and plain values.

    Returns:
        The measurement.

    Raises:
        UnrepresentableError: A part that a measurement must have contains such a value.
    """
    measured = _cleaned(document)
    messages: dict[tuple[_Step, ...], str] = {}
    for _ in range(_MAX_REPLACED):
        try:
            return msgspec.convert(measured, Measurement)
        except msgspec.ValidationError as error:
            reason, path = _split(str(error))
            if _shorten(measured, path, reason):
                continue
            shown = repr(_value_at(document, path))[:_MAX_SHOWN]
            message = f"the value {shown} of {_dotted(path)} is not valid: {reason}"
            for length in range(1, len(path) + 1):
                if path[:length] in messages:
                    # This part was replaced, but it must not be unavailable either.
                    message = messages[path[:length]]
                    path = path[: length - 1]
                    break
            if not path:
                raise UnrepresentableError(message) from error
            messages[path] = message
            _log.warning("a part of the measurement is unavailable: %s", message)
            _replace(measured, path, {"status": "unavailable", "reason": message})
    raise UnrepresentableError(f"more than {_MAX_REPLACED} measured values are not valid")


def conforming_progress(progress: Progress) -> Progress:
    """Return progress without figures if one of them is not valid.

    A heartbeat that the master refuses would not renew the lease. The figures of FFmpeg may be
    invalid, for example if its count of frames decreases.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(progress), type=Progress)
    except msgspec.ValidationError as error:
        _log.warning("the progress of the encode is not reported: %s", error)
        return Progress(stage=progress.stage)


def _cleaned(value: Any) -> Any:
    """Return a copy without control characters in texts, and with None for infinity and NaN."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {clean_text(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value


def _split(message: str) -> tuple[str, tuple[_Step, ...]]:
    """Return the reason and the path in an error message of msgspec."""
    found = _PLACE.search(message)
    if found is None:
        return message, ()
    path: list[_Step] = []
    for name, index in _STEP.findall(found["path"]):
        if index == "...":
            # The message does not contain the key of the object.
            break
        path.append(name or int(index))
    return message[: found.start()], tuple(path)


def _dotted(path: tuple[_Step, ...]) -> str:
    return ".".join(map(str, path)) or "the measurement"


def _value_at(document: Any, path: tuple[_Step, ...]) -> Any:
    for step in path:
        try:
            document = document[step]
        except (LookupError, TypeError):
            return None
    return document


def _replace(document: Any, path: tuple[_Step, ...], value: Any) -> None:
    _value_at(document, path[:-1])[path[-1]] = value


def _shorten(document: Any, path: tuple[_Step, ...], reason: str) -> bool:
    """Shorten a text that is too long; return whether that was the reason."""
    found = _TOO_LONG.search(reason)
    text = _value_at(document, path)
    if found is None or not isinstance(text, str):
        return False
    _replace(document, path, text[: int(found[1])])
    return True
