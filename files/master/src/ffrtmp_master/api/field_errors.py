"""Descriptions of invalid fields and parameters: their name as sent, and the allowed values."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect

_ENUM = "Invalid enum value "
_TAG = "Invalid value "
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_INDEX = re.compile(r"\[[^\]]*\]")
_SHOWN_MAX = 64

_TYPES = {
    "Invalid UUID": "must be a UUID",
    "Invalid RFC3339 encoded datetime": (
        "must be a time as in RFC 3339, such as 2026-01-01T00:00:00Z"
    ),
    "Expected `bool`, got `str`": "must be true or false",
}
"""Messages of msgspec about parameters, which arrive as text, in words."""

_NOT_A_NUMBER = re.compile(r"Expected `int( \| null)?`(, got `str`)?(?P<limit> [<>]=? \d+)?")


def describe_field(wire_type: Any, path: str, message: str) -> str:
    """Return the message about a field of a body, with what is allowed in its place.

    Args:
        wire_type: The type of the body.
        path: The path of the field, such as `scenario.encode`; empty for the body itself.
        message: The message of msgspec.
    """
    if message.startswith(_ENUM):
        values = _values(_types_at(wire_type, path))
        return _with_values(message.removeprefix(_ENUM), values, message)
    if message.startswith(_TAG):
        parent, _, name = path.rpartition(".")
        tags = _tags(_types_at(wire_type, parent), name)
        return _with_values(message.removeprefix(_TAG), tags, message)
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is not None:
        names = _field_names(_types_at(wire_type, path))
        name = unknown["name"][:_SHOWN_MAX]
        return f"unknown field `{name}`" + (f"; allowed are {', '.join(names)}" if names else "")
    return message


def describe_parameter(parameter_type: Any, message: str) -> str:
    """Return the message about a parameter, with its allowed values.

    Args:
        parameter_type: The type of the parameter.
        message: The message of msgspec.
    """
    number = _NOT_A_NUMBER.fullmatch(message)
    if number is not None:
        return f"must be a whole number{number['limit'] or ''}"
    return _TYPES.get(message) or describe_field(parameter_type, "", message)


def describe_missing(parameter_type: Any) -> str:
    """Return the message about a parameter that is missing, with its allowed values."""
    values = _values(_types_at(parameter_type, ""))
    return "is missing" + (f"; allowed are {', '.join(values)}" if values else "")


def _with_values(shown: str, values: Sequence[str], message: str) -> str:
    """Return a text with the allowed values, or the message of msgspec if they are not known."""
    if not values:
        return message
    return f"{shown} is not known; allowed are {', '.join(values)}"


@lru_cache(maxsize=256)
def _type_info(wire_type: Any) -> inspect.Type:
    return inspect.type_info(wire_type)


def _types_at(wire_type: Any, path: str) -> list[inspect.Type]:
    """Return the types that the field at a path may have; more than one if it is a union."""
    try:
        found = list(_members([_type_info(wire_type)]))
    except TypeError:
        # Types that only the framework knows have no allowed values to name.
        return []
    for part in path.split(".") if path else ():
        name, depth = _INDEX.sub("", part), len(_INDEX.findall(part))
        if name:
            found = list(_members(_fields_named(found, name)))
        for _ in range(depth):
            found = list(_members(_elements(found)))
    return found


def _members(types: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    for found in types:
        if isinstance(found, inspect.UnionType):
            yield from _members(found.types)
        elif isinstance(found, inspect.Metadata):
            yield from _members([found.type])
        else:
            yield found


def _fields_named(types: Iterable[inspect.Type], name: str) -> Iterator[inspect.Type]:
    for found in types:
        if isinstance(found, inspect.StructType):
            yield from (field.type for field in found.fields if field.encode_name == name)


def _elements(types: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    for found in types:
        if isinstance(found, inspect.DictType):
            yield found.value_type
        elif isinstance(found, inspect.ListType | inspect.VarTupleType):
            yield found.item_type


def _values(types: Iterable[inspect.Type]) -> list[str]:
    values: list[str] = []
    for found in types:
        if isinstance(found, inspect.EnumType):
            values += [str(member.value) for member in found.cls]
        elif isinstance(found, inspect.LiteralType):
            values += [str(value) for value in found.values]
    return values


def _tags(types: Iterable[inspect.Type], name: str) -> list[str]:
    return [
        str(found.tag)
        for found in types
        if isinstance(found, inspect.StructType) and found.tag_field == name
    ]


def _field_names(types: Iterable[inspect.Type]) -> list[str]:
    for found in types:
        if isinstance(found, inspect.StructType):
            return [field.encode_name for field in found.fields]
    return []


def split_message(error: msgspec.DecodeError) -> tuple[str, str]:
    """Return the path of the field that an error of msgspec is about, and the message."""
    message, _, place = str(error).partition(" - at `")
    return place.rpartition("$")[2].strip(".`"), message
