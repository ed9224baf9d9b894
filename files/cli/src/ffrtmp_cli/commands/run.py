"""The command `ffrtmp run`, which queues a suite and shows the progress of the run."""

import sys

import click
from ffrtmp_client import runs
from ffrtmp_client.api import Json, Master
from ffrtmp_client.plan_text import plan_lines
from ffrtmp_client.progress import count_text, run_notes

from ffrtmp_cli.connection import connected
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.output import json_output, print_message
from ffrtmp_cli.result_output import check_unused, results_text, write_directory
from ffrtmp_cli.run_display import open_display
from ffrtmp_cli.run_documents import RunDocument, run_document
from ffrtmp_cli.run_selection import select_run
from ffrtmp_cli.run_text import run_text
from ffrtmp_cli.run_watch import cancel_if_interrupted_again, watch_run
from ffrtmp_cli.submission import check_nodes, plan_suite, queue_run


@click.command(
    "run",
    epilog=examples(
        "ffrtmp run files/suites/demo.yml",
        "ffrtmp run files/suites/demo.yml --detach --key nightly-1",
        "ffrtmp run --attach last",
    ),
)
@click.argument("suite", required=False, type=click.Path())
@click.option(
    "--attach",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Show the progress of this run instead.",
)
@click.option("--detach", is_flag=True, help="Queue the run without waiting for its end.")
@click.option("--key", help="Idempotency key: a repeated command returns the same run.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed of the order of the jobs.")
@click.option(
    "--wait-for-nodes",
    is_flag=True,
    help="Queue jobs that no active node can run, so that they wait for such a node.",
)
@click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write the results to this directory at the end, as ffrtmp results does.",
)
@json_output(RunDocument)
@connected
def command(
    master: Master,
    suite: str | None,
    *,
    attach: str | None,
    detach: bool,
    key: str | None,
    seed: int | None,
    wait_for_nodes: bool,
    directory: str | None,
) -> tuple[RunDocument, str, ExitCode]:
    """Queue a run of SUITE, show its progress until it ends, and print a table of its results.

    The clips that the suite lists are uploaded if the master does not have them. Ctrl-C detaches
    from the run, which continues; a second Ctrl-C within three seconds cancels it. The exit code
    is 4 if jobs failed or were canceled, and 130 after Ctrl-C.
    """
    if (suite is None) == (attach is None):
        raise CommandError(
            "run needs either the file of a suite, or --attach RUN for a run that is queued",
            ExitCode.USAGE,
        )
    if directory is not None and suite is not None:
        check_unused(directory)
    if attach is not None:
        run = select_run(master, attach)
    else:
        submission = plan_suite(master, str(suite), key=key, seed=seed)
        if submission.plan["existing"] is None:
            for line in plan_lines(submission.plan):
                print_message(line)
        check_nodes(submission.plan, may_wait=wait_for_nodes)
        run = queue_run(master, submission, key=key, seed=seed, may_wait=wait_for_nodes)
        print_message(f"Run {run['id']} is queued.")
    if detach:
        return (*_described(master, run), ExitCode.OK)
    for note in run_notes(run):
        print_message(note)
    try:
        with open_display() as display:
            run = watch_run(master, run["id"], display)
    except KeyboardInterrupt:
        return _detached(master, run["id"])
    return _ended(master, run, directory)


def _described(master: Master, run: Json) -> tuple[RunDocument, str]:
    document = run_document(run, runs.jobs_of(master, run["id"]))
    return document, run_text(run, [*document.active, *document.failures])


def _detached(master: Master, run_id: str) -> tuple[RunDocument, str, ExitCode]:
    """Tell how to attach again, and let another interrupt cancel the run."""
    print_message(
        f"Detached: run {run_id} continues. Attach again: ffrtmp run --attach {run_id}\n"
        "Press Ctrl-C again within 3 s to cancel the run."
    )
    is_canceled = cancel_if_interrupted_again(master, run_id)
    run = master.get(f"/v1/runs/{run_id}")
    if is_canceled:
        print_message(f"Run {run_id} was canceled. Queue it again: ffrtmp runs retry {run_id}")
    elif runs.is_final(run):
        print_message(f"Run {run_id} has ended: {run['state']}.")
    return (*_described(master, run), ExitCode.INTERRUPTED)


def _ended(master: Master, run: Json, directory: str | None) -> tuple[RunDocument, str, ExitCode]:
    """Describe a run that has ended, with a table of its results."""
    document, text = _described(master, run)
    print_message(f"Run {run['id']} {run['state']}: {count_text(run)}")
    if document.failures:
        print_message(text)
    read, table = results_text(master, run["id"], is_terminal=sys.stdout.isatty())
    if directory is not None:
        write_directory(master, read, directory)
        print_message(f"Results: {directory}")
    else:
        print_message(f"Write all results to a directory: ffrtmp results {run['id']} -d DIR")
    code = ExitCode.OK if run["state"] == "succeeded" else ExitCode.JOBS_FAILED
    return document, table, code
