"""The command `ffrtmp completion`, which prints the completion of a shell."""

import click
import msgspec
from click.shell_completion import get_completion_class

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.output import json_output

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "ffrtmp"
_VARIABLE = "_FFRTMP_COMPLETE"


class CompletionDocument(
    msgspec.Struct, tag_field="schema", tag="ffrtmp/completion/1", kw_only=True
):
    """The completion of a shell.

    Attributes:
        shell: `bash`, `zsh` or `fish`.
        script: The script that the shell has to run.
    """

    shell: str
    script: str


@click.command(
    "completion",
    epilog=examples(
        "ffrtmp completion bash > ffrtmp.bash",
        "ffrtmp completion zsh > _ffrtmp",
        "ffrtmp completion fish > ffrtmp.fish",
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@json_output(CompletionDocument)
def command(shell: str) -> tuple[CompletionDocument, str]:
    """Print the script with which a shell completes the commands and options of ffrtmp.

    bash: store it as ~/.local/share/bash-completion/completions/ffrtmp. zsh: store it as _ffrtmp in
    a directory of fpath. fish: store it as ~/.config/fish/completions/ffrtmp.fish.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandError(f"there is no completion for {shell}", ExitCode.USAGE)
    root = click.get_current_context().find_root().command
    script = kind(root, {}, _PROGRAM, _VARIABLE).source()
    return CompletionDocument(shell=shell, script=script), script
