"""Tests of the module that writes the archive with which a worker joins a farm."""

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import join_archive as writer

from .conftest import RunModule, Store
from .joining_worker import ADDRESS, NODE, TOKEN, ControlNode


def test_the_worker_has_the_files_of_the_farm(
    control_node: ControlNode, run_module: RunModule, store: Store, tmp_path: Path
) -> None:
    written = run_module(writer, **control_node.arguments())
    stored = store()

    assert (written["rc"], stored["rc"]) == (0, 0), (written, stored)
    assert stored["node"] == NODE
    secrets = tmp_path / "secrets"
    for name, source in {
        "pki/ca.pem": "ca.pem",
        "pki/crl.pem": "crl.pem",
        "pki/hosts/w3.pem": "host.pem",
        "pki/hosts/w3.key": "host.key",
        "tokens/agent-w3": "token",
    }.items():
        assert (secrets / name).read_bytes() == (control_node.folder / source).read_bytes()
    assert json.loads((secrets / "join/w3.json").read_text()) == {
        "node": NODE,
        "expires_at": written["expires_at"],
        "settings": {
            "address": ADDRESS,
            "master_url": "https://192.0.2.10:8080",
            "mutual_tls": True,
            "rtmp_url": "rtmp://192.0.2.14:1935/live",
            "rtmp_stat_url": "",
        },
    }
    for path in (secrets, *secrets.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_repetition_changes_nothing(
    control_node: ControlNode, run_module: RunModule, store: Store
) -> None:
    runs = [run_module(writer, **control_node.arguments()) for _ in range(2)]
    runs += [store(), store()]

    assert [answer["changed"] for answer in runs] == [True, False, True, False]


def test_the_archive_is_private_and_states_its_expiry(
    control_node: ControlNode, run_module: RunModule
) -> None:
    control_node.issue(not_after=datetime(2999, 1, 2, 3, 4, 5, tzinfo=UTC))
    written = run_module(writer, **control_node.arguments())

    assert control_node.archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(control_node.archive) as tar:
        assert {member.mode for member in tar} == {0o600}
        manifest = tar.extractfile("join.json")
        assert manifest is not None
        assert json.load(manifest)["expires_at"] == "2999-01-02T03:04:05Z"
    assert written["expires_at"] == "2999-01-02T03:04:05Z"


def test_an_archive_that_others_can_read_is_made_private(
    control_node: ControlNode, run_module: RunModule
) -> None:
    run_module(writer, **control_node.arguments())
    control_node.archive.chmod(0o644)

    assert run_module(writer, **control_node.arguments())["changed"] is True
    assert control_node.archive.stat().st_mode & 0o777 == 0o600


def test_check_mode_writes_nothing(
    control_node: ControlNode, run_module: RunModule, store: Store, tmp_path: Path
) -> None:
    planned = run_module(writer, **control_node.arguments(), _ansible_check_mode=True)
    assert (planned["rc"], planned["changed"]) == (0, True)
    assert not control_node.archive.exists()

    run_module(writer, **control_node.arguments())
    planned = store(_ansible_check_mode=True)
    assert (planned["rc"], planned["changed"], planned["node"]) == (0, True, NODE)
    assert not (tmp_path / "secrets").exists()


def test_no_secret_is_returned(
    control_node: ControlNode, run_module: RunModule, store: Store
) -> None:
    answers = [run_module(writer, **control_node.arguments(), _ansible_diff=True)]
    answers += [store(_ansible_diff=True)]
    key = (control_node.folder / "host.key").read_text().splitlines()[1]

    shown = json.dumps(answers)
    assert TOKEN not in shown
    assert key not in shown


def test_files_that_do_not_belong_together_are_not_packed(
    control_node: ControlNode, run_module: RunModule
) -> None:
    run_module(writer, **control_node.arguments())
    before = control_node.archive.read_bytes()
    key = control_node.authority.issue_cert(NODE).private_key_pem.bytes()
    (control_node.folder / "host.key").write_bytes(key)

    answer = run_module(writer, **control_node.arguments())

    assert answer["rc"] == 1
    assert "host.key is not the key of the certificate in host.pem" in answer["msg"]
    assert control_node.archive.read_bytes() == before


def test_a_missing_file_is_named(control_node: ControlNode, run_module: RunModule) -> None:
    (control_node.folder / "token").unlink()

    answer = run_module(writer, **control_node.arguments())

    assert answer["rc"] == 1
    assert "token_file" in answer["msg"]
    assert "Deploy the farm first" in answer["msg"]
