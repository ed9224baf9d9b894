"""Fixtures: a running master, an agent, and the command ffrtmp in the process of the tests."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from cli_catalog import json_schema
from databases import template_file
from ffrtmp_cli import __main__
from ffrtmp_cli.profiles import Profile, Profiles, write_profiles
from jsonschema import Draft202012Validator
from modules.farm import Agent, Farm
from repetition import repeated

__all__ = ["template_file"]


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


class Ffrtmp(Protocol):
    """A function that runs the command ffrtmp."""

    def __call__(self, *arguments: str, stdin: str = "") -> Outcome: ...


Document = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the user's settings, which is empty."""
    home = tmp_path / "config home"
    home.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    for name in ("PROFILE", "URL", "CA_FILE", "TOKEN_FILE", "CLIENT_CERT", "CLIENT_KEY"):
        monkeypatch.delenv(f"FFRTMP_{name}", raising=False)
    return home


@pytest.fixture
def ffrtmp(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ffrtmp:
    """The command, which runs in this process."""

    def run(*arguments: str, stdin: str = "") -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["ffrtmp", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as exited:
            __main__.main()
        captured = capsys.readouterr()
        return Outcome(int(exited.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def validator() -> Draft202012Validator:
    """The validator of all documents of the command."""
    return Draft202012Validator(json_schema())


@pytest.fixture
def document(ffrtmp: Ffrtmp, validator: Draft202012Validator) -> Document:
    """A function that runs a command with --json, and returns its valid document."""

    def run(*arguments: str, code: int = 0, stdin: str = "") -> dict[str, Any]:
        outcome = ffrtmp(*arguments, "--json", stdin=stdin)
        assert outcome.code == code, outcome.err
        found: dict[str, Any] = json.loads(outcome.out)
        validator.validate(found)
        assert outcome.out.count("\n") == 1
        return found

    return run


@pytest.fixture(scope="session")
def shared_farm(tmp_path_factory: pytest.TempPathFactory, template_file: Path) -> Iterator[Farm]:
    """The running master that the tests share."""
    farm = Farm(tmp_path_factory.mktemp("farm"))
    farm.install(template_file)
    farm.start()
    yield farm
    farm.stop()


@pytest.fixture
def farm(shared_farm: Farm) -> Iterator[Farm]:
    """A running master without nodes and queued jobs."""
    yield shared_farm
    shared_farm.clear()


@pytest.fixture
def profile(farm: Farm, config_home: Path) -> Profile:
    """The stored profile of the operator of the farm."""
    token = config_home / "operator"
    token.write_text(f"{farm.operator}\n")
    found = Profile(url=farm.url, ca_file=str(farm.ca_file), token_file=str(token))
    write_profiles(Profiles(default="test", profiles={"test": found}))
    return found


@pytest.fixture
def agent(farm: Farm) -> Iterator[Agent]:
    """The agent of worker1, which is registered at the master."""
    agent = farm.agent()
    yield agent
    agent.client.close()


@contextmanager
def working(farm: Farm, work: Callable[[Agent, Any], None] = Agent.succeed) -> Iterator[None]:
    """Let an agent of worker1 work on every job until the end of the context."""
    agent = farm.agent()

    def claim_and_work() -> None:
        claim = agent.try_claim()
        if claim is not None:
            work(agent, claim)

    try:
        with repeated(claim_and_work):
            yield
    finally:
        agent.client.close()
