"""Entry point of the command ffrtmp."""

import sys
from importlib.metadata import version

import click

from ffrtmp_cli.command_group import CommandEntry, LazyGroup
from ffrtmp_cli.errors import CommandError, ExitCode

_COMMANDS = "ffrtmp_cli.commands"

_ENTRIES = {
    "local": CommandEntry(f"{_COMMANDS}.local", "Benchmark a clip or a suite on this computer."),
    "doctor": CommandEntry(f"{_COMMANDS}.doctor", "Check whether this host can measure."),
    "reproduce": CommandEntry(f"{_COMMANDS}.reproduce", "Repeat the encode of a result."),
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
    try:
        command.main(prog_name="ffrtmp", standalone_mode=False)
    except click.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except CommandError as error:
        click.echo(f"ffrtmp: {error}", err=True)
        sys.exit(error.code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)


if __name__ == "__main__":
    main()
