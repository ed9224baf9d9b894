"""All commands of ffrtmp, with their options, examples and JSON documents."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
import msgspec
from ffrtmp_cli.__main__ import command as root_command
from ffrtmp_cli.command_group import LazyGroup
from ffrtmp_cli.connection import IS_CONNECTED
from ffrtmp_cli.output import DOCUMENT_TYPE

PROGRAM = "ffrtmp"
_MARK = "Examples:\n"
_HOST_COMMANDS = frozenset({"local", "bisect", "doctor", "recommend-config", "reproduce"})


@dataclass(frozen=True)
class CommandEntry:
    """A command, such as `ffrtmp jobs show`.

    `document_type` is the type of the document that --json prints. `is_connected` states whether
    the command has the options of the connection to a master.
    """

    path: tuple[str, ...]
    command: click.Command
    document_type: type[msgspec.Struct] | None
    is_connected: bool

    @property
    def name(self) -> str:
        """The command with its groups, such as `ffrtmp jobs show`."""
        return " ".join(self.path)

    @property
    def is_on_host(self) -> bool:
        """Return whether the command measures this host. Such commands have separate tests."""
        return self.path[1] in _HOST_COMMANDS

    @property
    def examples(self) -> list[str]:
        """The examples in the help of the command."""
        _, _, text = (self.command.epilog or "").partition(_MARK)
        return [line.strip() for line in text.splitlines()]


def command_entries() -> list[CommandEntry]:
    """Return all commands that are not groups, in the order of the help."""
    return list(_entries(root_command, (PROGRAM,)))


def _entries(group: click.Group, path: tuple[str, ...]) -> Iterator[CommandEntry]:
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        entry = group.entries.get(name) if isinstance(group, LazyGroup) else None
        if entry is not None and importlib.util.find_spec(entry.module) is None:
            continue
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _entries(command, (*path, name))
            continue
        callback: Any = command.callback
        yield CommandEntry(
            (*path, name),
            command,
            getattr(callback, DOCUMENT_TYPE, None),
            getattr(callback, IS_CONNECTED, False),
        )


def document_types() -> list[type[msgspec.Struct]]:
    """Return the types of all documents, in the order of their commands."""
    found = [entry.document_type for entry in command_entries()]
    return list(dict.fromkeys(kind for kind in found if kind is not None))


def schema_name(document_type: type[msgspec.Struct]) -> str:
    """Return the value of the field `schema` of a document, such as `ffrtmp/runs/1`."""
    return str(document_type.__struct_config__.tag)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema that every document matches, whose $defs are the single documents."""
    kinds = document_types()
    references, definitions = msgspec.json.schema_components(kinds)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Documents that the command ffrtmp prints with --json",
        "oneOf": list(references),
        "$defs": definitions,
    }
