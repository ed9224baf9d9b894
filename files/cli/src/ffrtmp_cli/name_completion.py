"""Completion of the names of nodes and the ids of runs in the shell, which asks the master."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem
from ffrtmp_client import nodes
from ffrtmp_client.api import Master

from ffrtmp_cli.connection import open_master, resolve_profile
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.run_selection import LAST

_TIMEOUT_S = 2.0
_RUNS_MAX = 20
_NAMES = ("profile", "url", "ca_file", "token_file", "client_cert", "client_key")

Suggestions = list[CompletionItem]


def complete_nodes(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> Suggestions:
    """Return the names of nodes that begin with `incomplete`, with their states."""

    def read(master: Master) -> Suggestions:
        return [
            CompletionItem(node["name"], help=node["state"]) for node in nodes.all_nodes(master)
        ]

    return _suggest(ctx, read, incomplete)


def complete_runs(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> Suggestions:
    """Return `last` and the ids of the newest runs that begin with `incomplete`."""

    def read(master: Master) -> Suggestions:
        runs = master.get("/v1/runs", {"limit": str(_RUNS_MAX)})["items"]
        return [
            CompletionItem(LAST, help="the newest run"),
            *(
                CompletionItem(run["id"], help=f"{run['suite_name']}, {run['state']}")
                for run in runs
            ),
        ]

    return _suggest(ctx, read, incomplete)


def _suggest(
    ctx: click.Context, read: Callable[[Master], Suggestions], incomplete: str
) -> Suggestions:
    """Return the suggestions that begin with a text. Without a master, there are none.

    A message would disturb the line that the user is writing.
    """
    given = {name: ctx.params.get(name) for name in _NAMES}
    try:
        profile = resolve_profile(**given)
        if profile.token_file == "-":  # noqa: S105
            return []
        with open_master(profile, _TIMEOUT_S) as master:
            found = read(master)
    except (CommandError, OSError):
        return []
    return [item for item in found if str(item.value).startswith(incomplete)]
