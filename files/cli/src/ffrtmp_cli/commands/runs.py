"""The commands `ffrtmp runs`, which list, show, cancel and retry runs."""

from itertools import islice

import click
from ffrtmp_client import runs
from ffrtmp_client.api import Json, Master

from ffrtmp_cli.command_group import ListGroup
from ffrtmp_cli.connection import connected
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import json_output
from ffrtmp_cli.run_documents import RunDocument, RunsDocument, run_document, run_entry
from ffrtmp_cli.run_selection import LAST, select_run
from ffrtmp_cli.run_text import run_text, runs_text


@click.group("runs", cls=ListGroup)
def command() -> None:
    """List, show, cancel and retry runs. Without a command, list them."""


@command.command("list", epilog=examples("ffrtmp runs", "ffrtmp runs --unfinished --json"))
@click.option("--unfinished", is_flag=True, help="List only runs that have not ended.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="List at most this number of runs, the newest first.",
)
@json_output(RunsDocument)
@connected
def list_runs(master: Master, *, unfinished: bool, limit: int) -> tuple[RunsDocument, str]:
    """List runs, the newest first."""
    params = {"limit": str(min(limit, 1000))}
    if unfinished:
        params["unfinished"] = "true"
    entries = [run_entry(run) for run in islice(master.pages("/v1/runs", params), limit)]
    return RunsDocument(runs=tuple(entries)), runs_text(entries)


@command.command("show", epilog=examples("ffrtmp runs show last"))
@click.argument("run", default=LAST, shell_complete=complete_runs)
@json_output(RunDocument)
@connected
def show(master: Master, run: str) -> tuple[RunDocument, str]:
    """Show a run: its state, why jobs wait, and the jobs that run or have failed.

    RUN is the id of a run, at least the last four characters of the id, or last, the default.
    """
    return _described(master, select_run(master, run))


@command.command("cancel", epilog=examples("ffrtmp runs cancel last"))
@click.argument("run", shell_complete=complete_runs)
@json_output(RunDocument)
@connected
def cancel(master: Master, run: str) -> tuple[RunDocument, str]:
    """Cancel the jobs of a run that have not ended. Agents stop their encodes."""
    found = select_run(master, run)
    return _described(master, master.send("POST", f"/v1/runs/{found['id']}/cancel"))


@command.command("retry", epilog=examples("ffrtmp runs retry last"))
@click.argument("run", shell_complete=complete_runs)
@json_output(RunDocument)
@connected
def retry(master: Master, run: str) -> tuple[RunDocument, str]:
    """Queue the failed and canceled jobs of a run again."""
    found = select_run(master, run)
    return _described(master, master.send("POST", f"/v1/runs/{found['id']}/retry"))


def _described(master: Master, run: Json) -> tuple[RunDocument, str]:
    document = run_document(run, runs.jobs_of(master, run["id"]))
    return document, run_text(run, [*document.active, *document.failures])
