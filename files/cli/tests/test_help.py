"""Tests of the help, the errors and the output of the command as a whole."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from cli_catalog import CommandEntry, command_entries, schema_name
from ffrtmp_cli.profiles import Profile
from polling import TIMEOUT_S

from .conftest import Ffrtmp

_HELP_CPU_S = 0.3
_PROGRAM = Path(sys.executable).parent / "ffrtmp"
_SLOW_MODULES = ("httpx", "rich", "ruamel", "scipy", "numpy", "litestar", "jsonschema")


def cpu_s(*arguments: str) -> float:
    """Return the CPU time of a command, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([_PROGRAM, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("run",), ("results",), ("suite", "plan"), ("nodes",)])
def test_help_takes_little_cpu_time(arguments: tuple[str, ...]) -> None:
    """The least of some measurements counts, because other tests run at the same time."""
    assert min(cpu_s(*arguments, "--help") for _ in range(4)) < _HELP_CPU_S


def test_help_imports_no_slow_library() -> None:
    for arguments in (["--help"], ["run", "--help"], ["results", "--help"]):
        script = (
            "import sys\nfrom ffrtmp_cli.__main__ import command\n"
            f"command.main({arguments!r}, prog_name='ffrtmp', standalone_mode=False)\n"
            f"print([name for name in {_SLOW_MODULES!r} if name in sys.modules], file=sys.stderr)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )
        assert done.stderr == "[]\n", arguments


@pytest.mark.parametrize("entry", command_entries(), ids=lambda entry: entry.name)
def test_every_command_has_a_document_and_examples(entry: CommandEntry) -> None:
    assert entry.document_type is not None
    assert schema_name(entry.document_type).startswith("ffrtmp/")
    assert "--json" in [name for option in entry.command.params for name in option.opts]
    assert all(example.startswith(entry.path[0]) for example in entry.examples)
    assert entry.examples or entry.is_on_host
    assert entry.command.help


def test_no_option_takes_a_secret() -> None:
    """All users of a computer can read the arguments of its processes."""
    names = {
        name
        for entry in command_entries()
        for parameter in entry.command.params
        for name in parameter.opts
    }
    assert "--token-file" in names
    assert not names & {"--token", "--password", "--secret"}


@pytest.mark.slow
def test_errors_are_problem_documents_with_json(profile: Profile, ffrtmp: Ffrtmp) -> None:
    unknown = ffrtmp("jobs", "show", "00000000-0000-7000-8000-000000000000", "--json")
    assert (unknown.code, unknown.out) == (3, "")
    problem = json.loads(unknown.err)
    assert (problem["type"], problem["title"], problem["status"], problem["exit_code"]) == (
        "about:blank",
        "Not Found",
        404,
        3,
    )
    assert problem["detail"]


def test_usage_errors_are_problem_documents_with_json(ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("runs", "--limit", "none", "--json")
    problem = json.loads(outcome.err)
    assert (outcome.code, problem["title"], problem["exit_code"]) == (2, "usage", 2)
    assert "--limit" in problem["detail"]


def test_an_error_of_a_file_names_it(ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    outcome = ffrtmp("suite", "new", str(clip), "-o", "/absent/new.yml")
    assert outcome.code == 2
    assert "the directory /absent does not exist" in outcome.err


def test_a_master_that_does_not_answer_is_named(profile: Profile, ffrtmp: Ffrtmp) -> None:
    files = ("--ca-file", profile.ca_file, "--token-file", profile.token_file)
    outcome = ffrtmp("runs", "--url", "https://127.0.0.1:1", *files)
    assert outcome.code == 1
    assert "the master at https://127.0.0.1:1 did not answer" in outcome.err


def test_a_closed_pipe_is_not_an_error() -> None:
    program = subprocess.Popen(
        [_PROGRAM, "completion", "bash"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    with program.stderr:
        assert program.stderr.read() == b""
    program.wait(TIMEOUT_S)
