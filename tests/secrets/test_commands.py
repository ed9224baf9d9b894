"""Tests that no command of the project prints or stores a secret of its settings."""

import json
import os
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

MARK = "m4rk3d"
_DEADLINE_S = 60
_SEPARATOR = "--- next case ---"
_RUN_EACH = f"""
import contextlib, importlib, json, sys
module, function, cases = sys.argv[1:]
sys.stderr = sys.stdout
for arguments in json.loads(cases):
    print({_SEPARATOR!r})
    sys.argv = ["command", *arguments]
    try:
        code = getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        code = end.code
    assert code, "the command succeeded"
"""
BROKEN_TOKENS = {
    "a line feed": f"{MARK}-one\n{MARK}-two\n",
    "a space": f"{MARK} {MARK}",
    "another character": f"{MARK}ü",
    "a NUL": f"{MARK}\x00{MARK}",
    "its size": MARK * 10_000,
}
BROKEN_URLS = {
    "password": f"https://user:{MARK}@127.0.0.1:1",
    "password with a line feed": f"https://user:{MARK}\n{MARK}@127.0.0.1:1",
    "option": f"https://127.0.0.1:1/?token={MARK}",
    "broken": f"https://user:{MARK}@[127.0.0.1:1",
}
DATABASES = {
    "password": f"postgresql://user:{MARK}@127.0.0.1:1/farm",
    "password with a line feed": f"postgresql://user:{MARK}\n{MARK}@127.0.0.1:1/farm",
    "password in a broken URL": f"postgresql://user:{MARK}@127.0.0.1:{MARK}/farm",
    "option": f"postgresql://user@127.0.0.1:1/farm?password={MARK}",
    "password of a key": f"postgresql://user@127.0.0.1:1/farm?sslpassword={MARK}",
}
MASTER_COMMANDS = (
    ("serve",),
    ("check-config",),
    ("migrate",),
    ("sync-credentials", "credentials.yml"),
    ("backup", "copy.db"),
)


def commands() -> dict[str, str]:
    """Return the entry points of all distributions by the name of their command."""
    found: dict[str, str] = {}
    for name in ("master", "worker"):
        text = (ROOT / "files" / name / "pyproject.toml").read_text(encoding="utf-8")
        found |= tomllib.loads(text)["project"]["scripts"]
    return found


class Workplace:
    """A directory with settings files, in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: set[Path] = set()
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        issued.cert_chain_pems[0].write_to_path(str(folder / "host.pem"))
        issued.private_key_pem.write_to_path(str(folder / "host.key"))
        self.environment = os.environ.copy()

    def write(self, name: str, content: str) -> Path:
        """Write a file that may contain the secret."""
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        self.given.add(path)
        return path

    def arguments(self, command: str, *arguments: str) -> list[str]:
        """Return the arguments that run a command in a new interpreter."""
        module, _, function = commands()[command].partition(":")
        code = f"import sys; from {module} import {function}; sys.exit({function}())"
        return [sys.executable, "-c", code, *arguments]

    def run_each(self, command: str, cases: list[list[str]]) -> list[str]:
        """Run a command that must fail with each list of arguments. Return the outputs.

        One interpreter runs all of them, because importing the command takes most of the time.
        """
        module, _, function = commands()[command].partition(":")
        done = subprocess.run(
            [sys.executable, "-c", _RUN_EACH, module, function, json.dumps(cases)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.check_files()
        return (done.stdout + done.stderr).split(_SEPARATOR)[1:]

    def run(self, command: str, *arguments: str) -> str:
        """Run a command that must fail within seconds. Return its output."""
        done = subprocess.run(
            self.arguments(command, *arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        assert done.returncode not in (0, None), done.stdout
        self.check_files()
        return done.stdout + done.stderr

    def output_until(self, text: str, command: str, *arguments: str) -> str:
        """Run a command until it prints the text, and stop it. Return its output."""
        with subprocess.Popen(
            self.arguments(command, *arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = []
            deadline = threading.Timer(_DEADLINE_S, process.kill)
            deadline.start()
            for line in process.stdout:
                lines.append(line)
                if text in line:
                    break
            deadline.cancel()
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=_DEADLINE_S)
        self.check_files()
        output = "".join(lines) + rest
        assert text in output, output
        return output

    def check_files(self) -> None:
        """Check that no file contains the secret, except those that were given."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.given:
                assert MARK.encode() not in path.read_bytes(), path


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """A directory with certificates."""
    return Workplace(tmp_path)


def master_settings(folder: Path, **changed: Any) -> str:
    """Return the settings of a master."""
    document = {
        "listen_address": "127.0.0.1",
        "listen_port": 1,
        "certificate_file": str(folder / "host.pem"),
        "key_file": str(folder / "host.key"),
        "data_dir": str(folder),
        "log_level": "debug",
    }
    return yaml.safe_dump(document | changed)


def client_settings(folder: Path, command: str, **changed: Any) -> str:
    """Return the settings of a command that is a client of the master."""
    connection: dict[str, Any] = {
        "master_url": "https://127.0.0.1:1",
        "token_file": str(folder / "token"),
        "ca_file": str(folder / "ca.pem"),
        "log_level": "debug",
    }
    certificate = {
        "certificate_file": str(folder / "host.pem"),
        "key_file": str(folder / "host.key"),
    }
    own: dict[str, Any] = {
        "exporter": {
            "listen_address": "127.0.0.1",
            "listen_port": 0,
            "client_ca_file": str(folder / "ca.pem"),
            **certificate,
        }
    }
    if command == "ffrtmp-series-importer":
        import_url = "https://127.0.0.1:1/api/v1/import"
        own = {"import_url": import_url, "state_file": str(folder / "state"), **certificate}
    if command == "ffrtmp-agent":
        places = {f"{name}_dir": str(folder / name) for name in ("work", "spool", "cache")}
        programs = dict.fromkeys(("ffmpeg", "ffprobe", "quality_ffmpeg"), "/bin/true")
        own = {"node_name": "n", "address": "n", **places, **programs}
    return yaml.safe_dump(connection | own | changed)


CLIENTS = (
    "ffrtmp-exporter-results",
    "ffrtmp-exporter-qoe",
    "ffrtmp-exporter-cost",
    "ffrtmp-exporter-health",
    "ffrtmp-series-importer",
)


def _with_configs(workplace: Workplace, texts: list[str], more: tuple[str, ...]) -> list[list[str]]:
    """Write settings files. Return the arguments of a command for each of them."""
    files = [workplace.write(f"settings{n}.yml", text) for n, text in enumerate(texts)]
    return [["--config", str(file), *more] for file in files]


@pytest.mark.parametrize("token", BROKEN_TOKENS.values(), ids=BROKEN_TOKENS)
@pytest.mark.parametrize("command", CLIENTS)
def test_a_client_does_not_print_its_token(workplace: Workplace, command: str, token: str) -> None:
    workplace.write("token", token)
    config = workplace.write("settings.yml", client_settings(workplace.folder, command))

    output = workplace.run(command, "--config", str(config))

    assert MARK not in output
    assert "Traceback" not in output
    assert "must contain a token in one line" in output


@pytest.mark.parametrize("command", CLIENTS)
def test_a_client_does_not_log_its_token_or_that_of_its_proxy(
    workplace: Workplace, command: str
) -> None:
    workplace.write("token", f"{MARK}\n")
    workplace.environment["HTTPS_PROXY"] = f"http://user:{MARK}@127.0.0.1:1"
    config = workplace.write("settings.yml", client_settings(workplace.folder, command))

    output = workplace.output_until("did not answer", command, "--config", str(config))

    assert MARK not in output


@pytest.mark.parametrize("command", CLIENTS)
def test_a_client_does_not_print_a_proxy_that_is_not_valid(
    workplace: Workplace, command: str
) -> None:
    workplace.write("token", "token")
    workplace.environment["HTTPS_PROXY"] = f"http://user:{MARK}\n{MARK}@127.0.0.1:1"
    config = workplace.write("settings.yml", client_settings(workplace.folder, command))

    output = workplace.run(command, "--config", str(config))

    assert MARK not in output
    assert "Traceback" not in output
    assert "the proxy in the environment" in output


@pytest.mark.parametrize("command", [*CLIENTS, "ffrtmp-agent"])
def test_a_client_does_not_print_a_url_with_a_password(workplace: Workplace, command: str) -> None:
    workplace.write("token", "token")
    texts = [
        client_settings(workplace.folder, command, master_url=url) for url in BROKEN_URLS.values()
    ]
    more = ("check-config",) if command == "ffrtmp-agent" else ()

    outputs = workplace.run_each(command, _with_configs(workplace, texts, more))

    assert len(outputs) == len(BROKEN_URLS)
    for name, output in zip(BROKEN_URLS, outputs, strict=True):
        assert MARK not in output, name
        assert "master_url" in output, name


@pytest.mark.parametrize("arguments", MASTER_COMMANDS, ids=lambda words: words[0])
def test_the_master_does_not_print_the_password_of_its_database(
    workplace: Workplace, arguments: tuple[str, ...]
) -> None:
    texts = [master_settings(workplace.folder, database_url=url) for url in DATABASES.values()]

    outputs = workplace.run_each("ffrtmp-master", _with_configs(workplace, texts, arguments))

    assert len(outputs) == len(DATABASES)
    for name, output in zip(DATABASES, outputs, strict=True):
        assert MARK not in output, name
        assert "database_url" in output, name


def test_the_master_does_not_print_a_token_in_place_of_its_digest(workplace: Workplace) -> None:
    config = workplace.write("master.yml", master_settings(workplace.folder))
    entry = {"name": "ann", "role": "viewer", "node": None, "sha256": MARK}
    file = workplace.write("credentials.yml", yaml.safe_dump({"credentials": [entry]}))

    output = workplace.run("ffrtmp-master", "--config", str(config), "sync-credentials", str(file))

    assert MARK not in output
    assert "sha256" in output


@pytest.mark.parametrize("password", [MARK, f"{MARK}\n{MARK}", f"{MARK}' {MARK}="])
@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_the_master_does_not_print_the_password_in_its_file(
    workplace: Workplace, command: str, password: str
) -> None:
    workplace.write("password", password)
    text = master_settings(
        workplace.folder,
        database_url="postgresql://user@127.0.0.1:1/farm",
        database_password_file=str(workplace.folder / "password"),
    )
    config = workplace.write("master.yml", text)

    output = workplace.run("ffrtmp-master", "--config", str(config), command)

    assert MARK not in output
    assert "Traceback" not in output
    assert "the database" in output


BROKEN_SETTINGS = tuple(
    text.format(MARK)
    for text in (
        "key: {0}\nkey: {0}\n",
        "{0}: 1\n{0}: 2\n",
        "key: '{0}\n",
        "key: {0}\n  - {0}: [\n",
        "key: !!int {0}\n",
        "key: !{0} 1\n",
        "key: *{0}\n",
        "listen_port: {0}\nexporter: {0}\nlog_level: 5\nslots: {0}\n",
        "- {0}\n",
    )
)


@pytest.mark.parametrize("command", sorted(commands()))
def test_no_command_prints_values_of_broken_settings(workplace: Workplace, command: str) -> None:
    checking = ("ffrtmp-master", "ffrtmp-agent", "ffrtmp-host-tuning")
    more = ("check-config",) if command in checking else ()

    cases = _with_configs(workplace, list(BROKEN_SETTINGS), more)
    outputs = workplace.run_each(command, cases)

    assert len(outputs) == len(BROKEN_SETTINGS)
    for text, output in zip(BROKEN_SETTINGS, outputs, strict=True):
        assert MARK not in output, text
        assert ".yml" in output, text
