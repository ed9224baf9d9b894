"""Tests that the shells accept the completion scripts, and that they complete commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ffrtmp_cli.profiles import Profile
from modules.farm import Agent

from .conftest import Document, Ffrtmp
from .suite_file import write_suite

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
    outcome = ffrtmp("completion", shell)
    assert outcome.code == 0, outcome.err
    assert "_FFRTMP_COMPLETE=" in outcome.out
    script = tmp_path / "script"
    script.write_text(outcome.out)
    run_shell(shell, "-n", str(script))


def test_bash_completes_commands(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    script = tmp_path / "ffrtmp.bash"
    script.write_text(ffrtmp("completion", "bash").out)
    commands = (
        f"source '{script}'; COMP_WORDS=(ffrtmp no); COMP_CWORD=1; _ffrtmp_completion ffrtmp no; "
        'echo "${COMPREPLY[@]}"'
    )
    assert run_shell("bash", "-c", commands) == "nodes\n"


def test_fish_completes_commands(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    script = tmp_path / "ffrtmp.fish"
    script.write_text(ffrtmp("completion", "fish").out)
    found = run_shell("fish", "-c", f"source '{script}'; complete --do-complete 'ffrtmp no'")
    assert found.split()[0] == "nodes"


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
    assert expected <= set(suggestions(words))


def suggestions(words: str, **environ: str) -> list[str]:
    """Return what the program suggests for the last of the words."""
    given = words.split(" ")
    done = subprocess.run(
        [_BIN / "ffrtmp"],
        env={
            **environment(),
            "_FFRTMP_COMPLETE": "bash_complete",
            "COMP_WORDS": "\n".join(given),
            "COMP_CWORD": str(len(given) - 1),
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    # Without a suggestion, the program prints an empty line.
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.slow
def test_nodes_and_runs_are_completed(
    profile: Profile, agent: Agent, document: Document, tmp_path: Path
) -> None:
    run_id = document("run", str(write_suite(tmp_path)), "--detach")["run"]["id"]
    assert suggestions("ffrtmp nodes drain work") == ["worker1"]
    assert suggestions("ffrtmp runs show ")[:2] == ["last", run_id]
    assert suggestions("ffrtmp run --attach la") == ["last"]


def test_the_completion_is_silent_without_a_master(profile: Profile) -> None:
    assert suggestions("ffrtmp nodes drain ", FFRTMP_URL="https://127.0.0.1:1") == []
    assert suggestions("ffrtmp nodes drain ", FFRTMP_PROFILE="absent") == []
