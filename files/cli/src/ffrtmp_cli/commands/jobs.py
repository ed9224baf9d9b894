"""The commands `ffrtmp jobs`, which list, show, cancel and retry jobs, and read their logs."""

import re
import sys

import click
import msgspec
from ffrtmp_client.api import Master

from ffrtmp_cli.command_group import ListGroup
from ffrtmp_cli.connection import connected
from ffrtmp_cli.examples import examples
from ffrtmp_cli.job_log import follow_lines, read_log, wait_for_attempt
from ffrtmp_cli.name_completion import complete_runs
from ffrtmp_cli.name_rules import check_job_id
from ffrtmp_cli.output import DOCUMENT_TYPE, json_output, print_message, print_output
from ffrtmp_cli.run_documents import (
    JobDocument,
    JobsDocument,
    LogDocument,
    Transition,
    job_entry,
)
from ffrtmp_cli.run_selection import LAST, select_run
from ffrtmp_cli.run_text import job_text, jobs_text

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_STATES = ("queued", "leased", "running", "succeeded", "failed", "canceled")


@click.group("jobs", cls=ListGroup)
def command() -> None:
    """List, show, cancel and retry jobs, and read their logs. Without a command, list them."""


@command.command("list", epilog=examples("ffrtmp jobs", "ffrtmp jobs last --state succeeded"))
@click.argument("run", default=LAST, shell_complete=complete_runs)
@click.option("--state", type=click.Choice(_STATES), help="List only jobs in this state.")
@json_output(JobsDocument)
@connected
def list_jobs(master: Master, run: str, state: str | None) -> tuple[JobsDocument, str]:
    """List the jobs of a run.

    RUN is the id of a run, at least the last four characters of the id, or last, the default.
    """
    params = {"run": select_run(master, run)["id"], "limit": "1000"}
    if state is not None:
        params["state"] = state
    entries = tuple(job_entry(job) for job in master.pages("/v1/jobs", params))
    return JobsDocument(jobs=entries), jobs_text(entries)


@command.command("show", epilog=examples("ffrtmp jobs show $JOB"))
@click.argument("job")
@json_output(JobDocument)
@connected
def show(master: Master, job: str) -> tuple[JobDocument, str]:
    """Show a job: why it waits, its last failure, and the changes of its state."""
    return _described(master, check_job_id(job))


@command.command("logs", epilog=examples("ffrtmp jobs logs $JOB", "ffrtmp jobs logs $JOB --follow"))
@click.argument("job")
@click.option("--follow", is_flag=True, help="Continue until the attempt ends.")
@click.option("--attempt", type=click.IntRange(1), help="Number of the attempt.  [default: last]")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document, or with --follow one for each line.",
)
@connected
def logs(master: Master, job: str, attempt: int | None, *, follow: bool, as_json: bool) -> None:
    """Print the log of an attempt of a job."""
    job_id = check_job_id(job)
    if attempt is None:
        found = job_entry(master.get(f"/v1/jobs/{job_id}"))
        attempt = found.attempt
        if follow and found.waiting and not attempt:
            print_message(f"The job waits: {found.waiting}")
            attempt = wait_for_attempt(master, job_id)
    if follow:
        for line in follow_lines(master, job_id, attempt, print_message):
            document = LogDocument(job_id=job_id, attempt=attempt, text=line)
            print_output(document, _displayable(line), as_json=as_json)
    else:
        text = read_log(master, job_id, attempt)
        document = LogDocument(job_id=job_id, attempt=attempt, text=text)
        print_output(document, _displayable(text), as_json=as_json)


def _displayable(text: str) -> str:
    """Return a log without characters that control a terminal, if it is printed to one.

    A log contains texts of clips, such as their titles.
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if sys.stdout.isatty() else text


setattr(logs.callback, DOCUMENT_TYPE, LogDocument)


@command.command("cancel", epilog=examples("ffrtmp jobs cancel $QUEUED_JOB"))
@click.argument("job")
@json_output(JobDocument)
@connected
def cancel(master: Master, job: str) -> tuple[JobDocument, str]:
    """Cancel a job. If it is running, its agent stops the encode."""
    job_id = check_job_id(job)
    master.send("POST", f"/v1/jobs/{job_id}/cancel")
    return _described(master, job_id)


@command.command("retry", epilog=examples("ffrtmp jobs retry $QUEUED_JOB"))
@click.argument("job")
@json_output(JobDocument)
@connected
def retry(master: Master, job: str) -> tuple[JobDocument, str]:
    """Queue a failed or canceled job again, as a new job that is shown."""
    created = master.send("POST", f"/v1/jobs/{check_job_id(job)}/retry")
    return _described(master, created["id"])


def _described(master: Master, job_id: str) -> tuple[JobDocument, str]:
    entry = job_entry(master.get(f"/v1/jobs/{job_id}"))
    steps = master.get(f"/v1/jobs/{job_id}/transitions")
    transitions = tuple(msgspec.convert(step, Transition) for step in steps)
    return JobDocument(job=entry, transitions=transitions), job_text(entry, transitions)
