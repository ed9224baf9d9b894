"""Tests that templates write the decrypted text of a variable that Ansible Vault encrypted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret, VaultSecretsContext
from local_playbook import run_playbook
from role_template import render as render_template
from role_templates import load_yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = "a: text # of the vault"


@pytest.fixture
def vaulted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A variable that is encrypted in a file of an inventory."""
    secret = VaultSecret(b"password of the vault")
    monkeypatch.setattr(
        VaultSecretsContext, "_current", VaultSecretsContext(secrets=[("default", secret)])
    )
    encrypted = VaultLib([("default", secret)]).encrypt(TEXT, secret).decode()
    lines = "".join(f"  {line}\n" for line in encrypted.splitlines())
    (tmp_path / "vars.yml").write_text(f"value: !vault |\n{lines}")
    return load_yaml(tmp_path / "vars.yml")["value"]


@pytest.mark.parametrize(
    "template", sorted(ROOT.glob("roles/*/templates/**/*.j2")), ids=lambda path: path.name
)
def test_values_are_decrypted_before_they_are_written_as_yaml(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    for found in re.finditer(r"to_(nice_)?yaml", text):
        assert text[: found.start()].endswith("| to_json | from_json | "), (
            "to_nice_yaml writes an encrypted value as its ciphertext"
        )


def test_the_settings_of_an_agent_contain_the_decrypted_value(vaulted: Any) -> None:
    variables = {
        "inventory_hostname": "w1",
        "worker_labels": {"contract": vaulted},
        "worker_node_name": vaulted,
    }
    document = yaml.safe_load(render_template("worker", "agent.yml.j2", **variables))
    assert document["labels"] == {"contract": TEXT}
    assert document["node_name"] == TEXT


def test_a_scrape_job_contains_the_decrypted_password(vaulted: Any) -> None:
    job = {"job_name": "switch", "basic_auth": {"username": "farm", "password": vaulted}}
    text = render_template(
        "victoria_metrics",
        "scrape.yml.j2",
        inventory_hostname="m1",
        ansible_facts={"distribution": "Debian", "distribution_major_version": "13"},
        victoria_metrics_master_url="https://m1:8080",
        victoria_metrics_extra_scrape_configs=[job],
    )
    (found,) = [
        item for item in yaml.safe_load(text)["scrape_configs"] if item["job_name"] == "switch"
    ]
    assert found["basic_auth"]["password"] == TEXT


@pytest.mark.slow
def test_the_check_of_variables_accepts_and_hides_encrypted_values(
    root: Path, tmp_path: Path
) -> None:
    """The label is valid, and the limit is not, but no message may show it."""
    (tmp_path / "password").write_text("password of the vault")
    secret = VaultSecret(b"password of the vault")
    text = ""
    for name, value in (("worker_node_name", "w-7"), ("worker_memory_max", "HIDDEN")):
        encrypted = VaultLib([("default", secret)]).encrypt(value, secret).decode()
        text += f"{name}: !vault |\n" + "".join(f"  {x}\n" for x in encrypted.splitlines())
    (tmp_path / "vars.yml").write_text(text)
    play = {"name": "Check", "hosts": "localhost", "gather_facts": False}
    play |= {"tasks": [{"name": "Check", "variable_check": {}}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    password = ("--vault-password-file", "password")
    done = run_playbook(root, tmp_path, "-i", "localhost,", *password, "-e@vars.yml", "play.yml")
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert "worker_memory_max is set to a value that is not shown here, but" in output
    assert "worker_node_name" not in output
    assert "HIDDEN" not in done.stdout + done.stderr
