"""Tests that the shells accept the completion scripts, and that they complete commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Ffrtmp

_BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    """Return the environment of a shell that finds the command."""
    return {**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def run_shell(shell: str, *arguments: str) -> str:
    """Run a shell and return its output."""
    done = subprocess.run(
        [shell, *arguments], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_the_script(ffrtmp: Ffrtmp, tmp_path: Path, shell: str) -> None:
    """A shell that is not installed cannot be tested, but its script is printed."""
    outcome = ffrtmp("completion", shell)
    assert outcome.code == 0, outcome.err
    assert "_FFRTMP_COMPLETE=" in outcome.out
    script = tmp_path / "script"
    script.write_text(outcome.out)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run_shell(shell, "-n", str(script))


def test_bash_completes_commands(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    script = tmp_path / "ffrtmp.bash"
    script.write_text(ffrtmp("completion", "bash").out)
    commands = (
        f"source '{script}'; COMP_WORDS=(ffrtmp no); COMP_CWORD=1; _ffrtmp_completion ffrtmp no; "
        'echo "${COMPREPLY[@]}"'
    )
    assert run_shell("bash", "-c", commands) == "nodes\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    script = tmp_path / "ffrtmp.fish"
    script.write_text(ffrtmp("completion", "fish").out)
    found = run_shell("fish", "-c", f"source '{script}'; complete --do-complete 'ffrtmp no'")
    assert found.split()[0] == "nodes"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_commands(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    script = tmp_path / "_ffrtmp"
    script.write_text(ffrtmp("completion", "zsh").out)
    commands = (
        f"autoload -Uz compinit; compinit -u -d '{tmp_path}/dump'; source '{script}'; "
        "print -r -- $_comps[ffrtmp]"
    )
    assert run_shell("zsh", "-f", "-c", commands) == "_ffrtmp_completion\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ffrtmp jobs ", {"list", "show", "logs", "cancel", "retry"}),
        ("ffrtmp nodes dr", {"drain"}),
        ("ffrtmp run --de", {"--detach"}),
        ("ffrtmp results --format pa", {"parquet"}),
    ],
)
def test_the_program_offers_commands_and_options(words: str, expected: set[str]) -> None:
    """All shells get their suggestions from the program."""
    given = words.split(" ")
    done = subprocess.run(
        [_BIN / "ffrtmp"],
        env={
            **environment(),
            "_FFRTMP_COMPLETE": "bash_complete",
            "COMP_WORDS": "\n".join(given),
            "COMP_CWORD": str(len(given) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert expected <= found
    assert done.stderr == ""
