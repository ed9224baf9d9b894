"""Groups of commands.

The modules of commands are imported only when a command is used. `ffrtmp --help` would otherwise
import the libraries of all commands, which takes over a second.
"""

import importlib
from collections.abc import Mapping
from typing import NamedTuple

import click


class CommandEntry(NamedTuple):
    """A command of a group.

    Attributes:
        module: The module that defines the command, as `command`.
        help: The line that describes the command in the help of the group.
    """

    module: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def __init__(self, *, entries: Mapping[str, CommandEntry], **settings: object) -> None:
        """Create a group with commands in the order of `entries`."""
        super().__init__(**settings)  # type: ignore[arg-type]
        self._entries = entries

    @property
    def entries(self) -> Mapping[str, CommandEntry]:
        """The commands by name, in the order of the help."""
        return self._entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return [*self._entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is no such command."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(entry.module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.command is not a command of click")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self._entries.items()])


class ListGroup(click.Group):
    """A group of commands for objects, in which the command `list` may be omitted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands in the order of their definition."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` unless the first argument is a command or the option for help."""
        is_list = not args or args[0] not in [*self.commands, *ctx.help_option_names]
        # The completion of the shell has to offer all commands.
        if is_list and not (ctx.resilient_parsing and not args):
            args = ["list", *args]
        return super().parse_args(ctx, args)
