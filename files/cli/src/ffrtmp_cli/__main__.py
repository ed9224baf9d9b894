"""Entry point of the command ffrtmp."""

import sys
from importlib.metadata import version

import click

from ffrtmp_cli.command_group import CommandEntry, LazyGroup
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.problem_report import report_error

_COMMANDS = "ffrtmp_cli.commands"

_ENTRIES = {
    "local": CommandEntry(f"{_COMMANDS}.local", "Benchmark a clip or a suite on this computer."),
    "login": CommandEntry(f"{_COMMANDS}.login", "Store the connection to a farm as a profile."),
    "profiles": CommandEntry(f"{_COMMANDS}.profiles", "List, select and remove profiles."),
    "suite": CommandEntry(f"{_COMMANDS}.suite", "Write, check and plan suites."),
    "run": CommandEntry(f"{_COMMANDS}.run", "Run a suite on the farm and show its progress."),
    "results": CommandEntry(f"{_COMMANDS}.results", "Show or export the results of a run."),
    "compare": CommandEntry(f"{_COMMANDS}.compare", "Compare two runs, builds, nodes or encodes."),
    "export": CommandEntry(f"{_COMMANDS}.export", "Write a run as one zip file."),
    "verify": CommandEntry(f"{_COMMANDS}.verify", "Check the digests of an exported run."),
    "report": CommandEntry(f"{_COMMANDS}.report", "Write the report on a run as one HTML file."),
    "runs": CommandEntry(f"{_COMMANDS}.runs", "List, show, cancel and retry runs."),
    "jobs": CommandEntry(f"{_COMMANDS}.jobs", "List, show, cancel and retry jobs; read logs."),
    "nodes": CommandEntry(f"{_COMMANDS}.nodes", "List, show, drain and resume nodes."),
    "token": CommandEntry(f"{_COMMANDS}.token", "List, create and revoke tokens."),
    "backup": CommandEntry(f"{_COMMANDS}.backup", "Copy all runs and results to a directory."),
    "completion": CommandEntry(f"{_COMMANDS}.completion", "Print the completion of a shell."),
    "doctor": CommandEntry(f"{_COMMANDS}.doctor", "Check whether this host can measure."),
    "reproduce": CommandEntry(f"{_COMMANDS}.reproduce", "Repeat the encode of a result."),
    "bisect": CommandEntry(f"{_COMMANDS}.bisect", "Find the FFmpeg build of a change."),
    "recommend-config": CommandEntry(
        f"{_COMMANDS}.recommend_config", "Print settings of a worker for this host."
    ),
}


@click.command(
    cls=LazyGroup,
    entries=_ENTRIES,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark FFmpeg on this computer or on a farm of machines.",
)
@click.version_option(
    version("ffmpeg-rtmp-cli"), prog_name="ffrtmp", message="%(prog)s %(version)s"
)
def command() -> None:
    """Define the group of all commands."""


def main() -> None:
    """Run the command, and end with its exit code."""
    as_json = "--json" in sys.argv
    try:
        code = command.main(prog_name="ffrtmp", standalone_mode=False)
    except click.Abort:
        error = CommandError("interrupted", ExitCode.INTERRUPTED)
        sys.exit(report_error(error, as_json=as_json))
    except (CommandError, click.ClickException, OSError) as error:
        sys.exit(report_error(error, as_json=as_json))
    # Click returns the code of `Context.exit`, or else what the command returned.
    sys.exit(code if isinstance(code, int) else ExitCode.OK)


if __name__ == "__main__":
    main()
