"""Invalid inventories, which are refused before any change."""

import re
from pathlib import Path

import pytest

from .conftest import host_named, run_playbook

testinfra_hosts = ["ansible://load_balancer"]


def refused(*arguments: str) -> str:
    """Run site.yml, which must fail without a change. Return its output in one line."""
    done = run_playbook("site.yml", *arguments)
    assert done.returncode != 0, done.stdout
    assert not re.search(r"changed=[1-9]", done.stdout)
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("master_database_url=sqlite:////srv/farm.db", "their state is in SQLite"),
        (
            "master_database_url=postgresql://a:b@192.0.2.1/c",
            "USER@HOST:5432/DATABASE, without a password",
        ),
        ("farm_master_url=https://{master}:8080", "which is one of them"),
    ],
)
def test_invalid_settings_are_refused(setting: str, message: str) -> None:
    address = host_named("master1").ansible.get_variables()["ansible_host"]
    assert message in refused("--extra-vars", setting.format(master=address))


def test_a_load_balancer_on_a_master_is_refused(tmp_path: Path) -> None:
    more = tmp_path / "more.yml"
    more.write_text("all: {children: {load_balancer: {hosts: {master1: }}}}\n")
    assert "master1 is in the groups load_balancer and master" in refused("-i", str(more))
