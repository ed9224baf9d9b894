"""Tests of the role grafana: pinned sources, settings, and the installed dashboards."""

import configparser
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import role_template
from dashboard_documents import FOLDER, documents
from local_playbook import run_playbook
from role_templates import ROOT, load_yaml, render
from ruamel.yaml import YAML

ROLE = ROOT / "roles/grafana"
FINGERPRINT = "B53AE77BADB630A683046005963FA27710458545"
SECRET_KEY = "a-key-of-the-database-in-a-test"


def variables(**more: Any) -> dict[str, Any]:
    """Return the variables of the role, of which some differ from their defaults."""
    known = load_yaml(ROLE / "defaults/main.yml") | load_yaml(ROLE / "vars/main.yml")
    required = {"grafana_admin_password": "secret", "grafana_secret_key": SECRET_KEY}
    return known | required | {"role_path": str(ROLE)} | more


def problems(**more: Any) -> list[str]:
    found: list[str] = render("{{ __grafana_problems }}", variables(**more))
    return found


def test_the_defaults_are_valid() -> None:
    assert problems() == []
    defaults = load_yaml(ROLE / "defaults/main.yml")
    assert defaults["grafana_repository_key_fingerprint"] == FINGERPRINT


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"grafana_repository_key_fingerprint": ""}, "grafana_repository_key_fingerprint must be"),
        ({"grafana_repository_key_fingerprint": FINGERPRINT[:-1]}, "40 hexadecimal digits"),
        ({"grafana_repository_key_fingerprint": FINGERPRINT.lower()}, "capital letters"),
        ({"grafana_repository_key_sha256": "abc"}, "SHA-256 of the key's file"),
        ({"grafana_version": ""}, "Set grafana_version"),
        ({"grafana_method": "package_file", "grafana_package": "g.deb"}, "grafana_package_sha256"),
    ],
)
def test_an_unpinned_source_is_rejected(setting: dict[str, str], message: str) -> None:
    (problem,) = problems(**setting)
    assert message in problem


def test_a_short_secret_key_is_rejected() -> None:
    (problem,) = problems(grafana_secret_key="0123456789abcde\n")
    assert "grafana_secret_key to at least 16 random characters" in problem


def gpg(home: Path, *arguments: str) -> str:
    command = [shutil.which("gpg") or "gpg", "--homedir", home, "--batch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_fingerprints_are_those_of_the_primary_keys(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    expected = []
    try:
        for name in ("one", "two"):
            user = f"{name} <{name}@example.com>"
            gpg(home, "--passphrase", "", "--quick-generate-key", user)
        keys = tmp_path / "keys.asc"
        keys.write_text(gpg(home, "--armor", "--export"), encoding="utf-8")
        listed = gpg(home, "--with-colons", "--fingerprint", "--list-keys").splitlines()
        for at, line in enumerate(listed):
            if line.startswith("pub:"):
                expected.append(listed[at + 1].split(":")[9])
        shown = gpg(home, "--with-colons", "--show-keys", str(keys))
    finally:
        stop = [shutil.which("gpgconf") or "gpgconf", "--homedir", home, "--kill", "all"]
        subprocess.run(stop, check=True)
    records = {"stdout": shown}
    found = render("{{ __grafana_key_fingerprints }}", variables(__grafana_key_records=records))
    assert len(expected) == 2
    assert found == expected
    # The role refuses a file with further keys.
    assert found != expected[:1]
    empty = variables(__grafana_key_records={"stdout": "gpg: no valid OpenPGP data found.\n"})
    assert render("{{ __grafana_key_fingerprints }}", empty) == []


@pytest.mark.parametrize(
    ("records", "is_downloaded"),
    [
        (f"pub:-:4096:1:963FA27710458545:::::::\nfpr:::::::::{FINGERPRINT}:\n", False),
        (f"pub:-:4096:1:963FA27710458545:::::::\nfpr:::::::::{FINGERPRINT[::-1]}:\n", True),
        ("gpg: no valid OpenPGP data found.\n", True),
        ("skipped, since /var/cache/ffmpeg-rtmp/grafana.asc does not exist", True),
    ],
)
def test_a_key_is_downloaded_again_unless_it_has_the_fingerprint(
    records: str, is_downloaded: bool
) -> None:
    (block,) = load_yaml(ROLE / "tasks/key.yml")
    (download,) = block["block"]
    known = variables(**download["vars"], __grafana_former_key={"stdout": records})
    assert render(download["ansible.builtin.get_url"]["force"], known) is is_downloaded


@pytest.mark.slow
def test_a_failed_download_names_the_url_and_the_alternatives(tmp_path: Path) -> None:
    """Run the task in check mode, in which it requests only the header of the key."""
    url = "https://127.0.0.1:1/gpg.key"
    tasks = [{"include_role": {"name": str(ROLE), "tasks_from": "key.yml"}}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    settings = {
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "grafana_repository_key_url": url,
        "grafana_admin_password": "not used by the task",
        "grafana_secret_key": "not used by the task",
    }
    arguments = ["--check", "--extra-vars", json.dumps(settings), "play.yml"]
    done = run_playbook(ROOT, tmp_path, "--inventory", "localhost,", *arguments)

    assert done.returncode != 0
    message = " ".join(done.stdout.split())
    assert f"localhost cannot obtain Grafana from {url}:" in message
    assert "refused" in message
    for setting in ("grafana_repository_url", "package_file", "set grafana_enabled to false"):
        assert setting in message


def test_the_role_installs_every_dashboard_and_removes_the_former_one() -> None:
    files = render("{{ __grafana_dashboard_files }}", variables())
    names = {Path(file["dest"]).name for file in files}
    assert names == {file.name for file in FOLDER.glob("*.json")}
    (folder,) = {Path(file["dest"]).parent for file in files}
    text = role_template.render("grafana", "dashboards.yml.j2")
    (provider,) = YAML(typ="safe").load(text)["providers"]
    assert provider["options"]["path"] == str(folder)
    # Grafana removes a dashboard whose file was removed.
    assert provider["disableDeletion"] is False
    removed = [task["ansible.builtin.file"] for task in load_yaml(ROLE / "tasks/obsolete.yml")]
    assert {"path": str(folder / "farm.json"), "state": "absent"} in removed


def test_a_token_that_is_not_used_is_removed() -> None:
    path = "/etc/grafana/ffmpeg-rtmp-datasource-authorization"
    (task,) = (
        task
        for task in load_yaml(ROLE / "tasks/obsolete.yml")
        if task["ansible.builtin.file"]["path"] == path
    )
    for token, is_removed in (("", True), ("a-token", False)):
        known = variables(grafana_datasource_token=token)
        assert render(f"{{{{ {task['when']} }}}}", known) is is_removed


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["uid"])
def test_an_installed_dashboard_links_to_the_runbook(document: dict[str, Any]) -> None:
    url = 'https://example.com/"runbooks"'
    text = role_template.render(
        "grafana",
        "dashboard.json.j2",
        role_path=str(ROLE),
        __grafana_dashboard=document["uid"],
        grafana_runbook_base_url=f"{url}/",
    )
    installed = json.loads(text)
    (runbooks,) = (item for item in installed["templating"]["list"] if item["name"] == "runbooks")
    assert runbooks["query"] == url
    assert installed["panels"] == document["panels"]


def test_there_is_no_access_without_a_login() -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(role_template.render("grafana", "grafana.ini.j2"))
    assert settings["auth.anonymous"]["enabled"] == "false"
    assert settings["users"]["allow_sign_up"] == "false"
    assert settings["public_dashboards"]["enabled"] == "false"
    assert settings["snapshots"]["external_enabled"] == "false"
    home = Path(settings["dashboards"]["default_home_dashboard_path"])
    assert (FOLDER / home.name).is_file()


def test_the_built_in_secret_key_is_replaced_in_both_stores_of_secrets() -> None:
    text = role_template.render("grafana", "grafana.ini.j2", grafana_secret_key=SECRET_KEY)
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(text)
    path = load_yaml(ROLE / "vars/main.yml")["__grafana_secret_key_file"]
    for section in ("security", "secrets_manager.encryption.secret_key.v1"):
        assert settings[section]["secret_key"] == f"$__file{{{path}}}"
    assert SECRET_KEY not in text
    key = role_template.render("grafana", "secret-key.j2", grafana_secret_key=f"{SECRET_KEY}\n")
    # Grafana strips the white space around the content of such a file.
    assert key == f"{SECRET_KEY}\n"


def test_the_secret_key_is_private_and_the_last_file() -> None:
    """Until it is installed, an interrupted play deletes the former signing keys again."""
    file = render("{{ __grafana_files }}", variables())[-1]
    unit = render("{{ __grafana_unit }}", variables())
    assert (file["template"], file["group"], file["mode"]) == ("secret-key.j2", "grafana", "0640")
    assert file["secret"] is True
    assert file["dest"] in unit["inputs"]


def test_only_another_secret_key_is_new() -> None:
    installed = hashlib.sha256(f"{SECRET_KEY}\n".encode()).hexdigest()
    states: list[tuple[dict[str, Any], bool]] = [
        ({"exists": False}, True),
        ({"exists": True, "checksum": installed}, False),
        ({"exists": True, "checksum": installed[::-1]}, True),
    ]
    for stat, is_new in states:
        known = variables(
            grafana_secret_key=f"{SECRET_KEY}\n", __grafana_installed_key={"stat": stat}
        )
        assert render("{{ __grafana_key_is_new }}", known) is is_new


def test_grafana_is_stopped_while_its_signing_keys_are_deleted() -> None:
    stop, delete = load_yaml(ROLE / "tasks/database.yml")[-2:]
    assert stop["ansible.builtin.systemd_service"]["state"] == "stopped"
    assert delete["ansible.builtin.script"]["cmd"].startswith("delete_signing_keys.py ")
    for exists, is_new in ((True, True), (True, False), (False, True)):
        known = variables(
            __grafana_database={"stat": {"exists": exists}}, __grafana_key_is_new=is_new
        )
        for task in (stop, delete):
            assert render(f"{{{{ {task['when']} }}}}", known) is (exists and is_new)
    start = load_yaml(ROLE / "tasks/service.yml")[0]
    assert start["ansible.builtin.systemd_service"]["state"] == "started"
    assert stop["register"] == "__grafana_stopped"
    results: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"__grafana_stopped": {"skipped": True, "changed": False}}, False),
        ({"__grafana_stopped": {"changed": True}}, True),
    ]
    for registered, is_started in results:
        known = variables(**registered)
        assert render(f"{{{{ {start['when']} }}}}", known) is is_started


def run_deletion(database: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROLE / "files/delete_signing_keys.py", database]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_only_the_signing_keys_are_deleted(tmp_path: Path) -> None:
    file = tmp_path / "grafana.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE data_keys (name TEXT)")
        database.execute("INSERT INTO data_keys VALUES ('a')")
        database.commit()
        # An early release of Grafana.
        assert run_deletion(file).returncode == 0
        database.execute("CREATE TABLE signing_key (key_id TEXT, private_key TEXT)")
        database.execute("INSERT INTO signing_key VALUES ('default-2026-11-es256', 'b')")
        database.commit()
        done = run_deletion(file)
        assert done.returncode == 0, done.stderr
        assert database.execute("SELECT * FROM signing_key").fetchall() == []
        assert database.execute("SELECT * FROM data_keys").fetchall() == [("a",)]
    assert run_deletion(tmp_path / "missing.db").returncode != 0
    assert not (tmp_path / "missing.db").exists()


def test_apt_keeps_the_pinned_version() -> None:
    text = role_template.render("grafana", "grafana.preferences.j2", grafana_version="13.2.3")
    assert "Package: grafana\nPin: version 13.2.3*\nPin-Priority: 1001\n" in text
