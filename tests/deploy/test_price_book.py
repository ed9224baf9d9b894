"""Tests of the price book in the inventory: its check before any change, and the deployed file."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_shared.prices import parse_book
from role_templates import ROOT, load_yaml, render

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
_ENTRY: dict[str, Any] = {
    "valid_from": date(2026, 1, 1),
    "currency": "EUR",
    "source": "contract",
    "regions": {"de": {"pue": 1.4, "energy_per_kwh": 0.28}},
    "nodes": {"w1": {"region": "de", "per_hour": 0.45}},
}


def _variables(**given: Any) -> dict[str, Any]:
    role = ROOT / "roles/master"
    return {
        **load_yaml(role / "defaults/main.yml"),
        **load_yaml(role / "vars/main.yml"),
        **given,
    }


def _document(**given: Any) -> Any:
    """Return the content of the file that the role installs."""
    text = (ROOT / "roles/master/templates/prices.json.j2").read_text(encoding="utf-8")
    return json.loads(str(render(text, _variables(**given), is_file=True)))


def _worker(per_hour: Any, energy_per_kwh: Any = "", currency: str = "EUR") -> dict[str, Any]:
    return {"per_hour": per_hour, "energy_per_kwh": energy_per_kwh, "currency": currency}


def test_a_farm_without_prices_has_an_empty_book() -> None:
    assert _document() == {"entries": [], "superseded_nodes": []}
    unpriced = {"w1": _worker("", "0.3"), "w2": _worker("", "", "")}
    assert _document(master_worker_prices=unpriced) == {"entries": [], "superseded_nodes": []}


def test_the_file_is_a_valid_book() -> None:
    book = parse_book(_document(master_price_book=[_ENTRY]))
    assert book.entries[0].nodes["w1"].per_hour == 0.45
    assert book.superseded_nodes == ()


def test_the_variables_of_the_workers_become_an_undated_entry() -> None:
    workers = {
        "w1": _worker("0.45", 0.25),
        "w2": _worker(0.6, "0.25"),
        "w3": _worker(0.7),
        "w4": _worker(""),
        "w5": _worker(0, 0),
    }
    book = parse_book(_document(master_worker_prices=workers))
    (entry,) = book.entries
    assert (entry.valid_from, entry.currency) == (None, "EUR")
    assert {name: node.per_hour for name, node in entry.nodes.items()} == {
        "w1": 0.45,
        "w2": 0.6,
        "w3": 0.7,
        "w5": 0.0,
    }
    assert entry.nodes["w1"].region == entry.nodes["w2"].region
    assert entry.regions[entry.nodes["w1"].region or ""].energy_per_kwh == 0.25
    assert entry.nodes["w3"].includes_energy
    assert not entry.nodes["w5"].includes_energy
    assert book.superseded_nodes == ()


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (_worker("abc"), "node w1: per_hour must be a number; it is 'abc'"),
        (_worker(-1), "node w1: per_hour must not be negative; it is -1.0"),
        (_worker(1, ["x"]), "region worker-1: energy_per_kwh must be a number"),
        (_worker(1, 2, ""), "currency is '', which is not a known currency"),
    ],
)
def test_wrong_variables_of_the_workers_are_reported(worker: dict[str, Any], message: str) -> None:
    variables = _variables(master_worker_prices={"w0": _worker(1, 2), "w1": worker})
    problems = render("{{ __master_price_problems }}", variables)
    assert any(message in problem for problem in problems), problems


def test_the_book_takes_precedence_over_the_variables_of_the_workers() -> None:
    workers = {"w1": _worker(0.45), "w2": _worker(0.6)}
    book = parse_book(_document(master_price_book=[_ENTRY], master_worker_prices=workers))
    assert [entry.valid_from is None for entry in book.entries] == [True, False]
    assert book.superseded_nodes == ("w1", "w2")
    undated = {key: value for key, value in _ENTRY.items() if key != "valid_from"}
    book = parse_book(_document(master_price_book=[undated], master_worker_prices=workers))
    assert [entry.source for entry in book.entries] == ["contract"]
    assert book.superseded_nodes == ("w1", "w2")


def _run_preflight(
    root: Path,
    folder: Path,
    hosts: dict[str, Any],
    masters: dict[str, Any] | None = None,
    **variables: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the play of hosts.yml that checks the settings of the masters, before all others.

    Args:
        root: The directory of the project.
        folder: The directory of the inventory and the play.
        hosts: The variables of the workers.
        masters: The variables of the masters; by default there is one without any.
        **variables: The variables of all hosts.
    """
    known = {"worker": hosts, "master": masters or {"m1": {}}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {
        "all": {
            "vars": local | variables,
            "children": {group: {"hosts": members} for group, members in known.items()},
        }
    }
    (folder / "hosts.yml").write_text(json.dumps(inventory))
    play = {
        "name": "Check",
        "hosts": "master",
        "gather_facts": False,
        "vars_files": [str(root / "playbooks/vars/prices.yml")],
        "tasks": [
            {
                "name": "Check the settings of the masters",
                "ansible.builtin.import_role": {"name": "master", "tasks_from": "preflight"},
                "vars": {
                    "master_worker_prices": "{{ __farm_worker_prices }}",
                    "master_price_books": "{{ __farm_price_books }}",
                },
            }
        ],
    }
    (folder / "check.yml").write_text(json.dumps([play]))
    return subprocess.run(
        [ANSIBLE, "--inventory", "hosts.yml", "check.yml"],
        cwd=folder,
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hosts", "entries", "message"),
    [
        ({"w1": {}}, [_ENTRY | {"valid_from": "2026-01-01"}], None),
        ({"w1": {"worker_host_price_per_hour": 0.4, "worker_currency": "EUR"}}, [], None),
        (
            {"w1": {}},
            [_ENTRY | {"valid_from": "2026-01-01", "nodes": {"w1": {"per_hour": -0.45}}}],
            "entry 1 (valid from 2026-01-01T00:00:00Z): node w1: per_hour must not be negative",
        ),
        (
            {"w1": {}},
            [
                _ENTRY | {"valid_from": "2026-01-01", "valid_until": "2026-02-01"},
                _ENTRY | {"valid_from": "2026-03-01"},
            ],
            "there is a gap between entry 1 (valid from 2026-01-01T00:00:00Z)",
        ),
        ({"w1": {}}, [{"valid_from": "2026-01-01", "currency": "EUR"}], "source is missing"),
        ({"w1": {}}, ["text"], "master_price_book"),
        (
            {
                "w1": {"worker_host_price_per_hour": "0.4", "worker_currency": "EUR"},
                "w2": {
                    "worker_host_price_per_hour": "{{ 1 / 2 }}",
                    "worker_currency": "USD",
                    "worker_node_name": "second",
                },
            },
            [],
            "entry 1 (undated): node second: currency is USD, which is neither that of the entry",
        ),
    ],
    ids=["valid", "workers", "negative", "gap", "source", "text", "currencies"],
)
def test_the_playbook_checks_the_book_before_any_change(
    root: Path, tmp_path: Path, hosts: dict[str, Any], entries: list[Any], message: str | None
) -> None:
    done = _run_preflight(root, tmp_path, hosts, master_price_book=entries)
    printed = " ".join((done.stdout + done.stderr).split())
    if message is None:
        assert done.returncode == 0, printed
    else:
        assert done.returncode != 0
        assert message in printed, printed
    assert "changed=0" in printed


def test_the_check_is_among_those_before_any_change(root: Path) -> None:
    checks = load_yaml(root / "playbooks/hosts.yml")[0]
    assert "vars/prices.yml" in checks["vars_files"]
    (task,) = (
        task
        for task in checks["tasks"]
        if task.get("ansible.builtin.import_role") == {"name": "master", "tasks_from": "preflight"}
    )
    assert task["vars"]["master_worker_prices"] == "{{ __farm_worker_prices }}"
    assert task["vars"]["master_price_books"] == "{{ __farm_price_books }}"
    # With --tags, only the role checks the books, on the first master before it is changed.
    (deployment,) = load_yaml(root / "playbooks/master.yml")
    (role,) = (found for found in deployment["roles"] if found["role"] == "master")
    assert role["vars"]["master_price_books"] == "{{ __farm_price_books }}"


def test_the_same_book_of_all_masters_is_no_problem() -> None:
    cases: list[dict[str, Any]] = [
        {},
        {"m1": []},
        {"m1": [_ENTRY], "m2": [dict(reversed(_ENTRY.items()))]},
    ]
    for books in cases:
        known = _variables(master_price_book=[_ENTRY], master_price_books=books)
        assert render("{{ __master_problems }}", known) == []


@pytest.mark.slow
def test_the_playbook_refuses_different_books_of_masters_before_any_change(
    root: Path, tmp_path: Path
) -> None:
    book = [_ENTRY | {"valid_from": "2026-01-01"}]
    masters: dict[str, Any] = {
        "m1": {},
        "m2": {"master_price_book": [_ENTRY | {"valid_from": "2026-01-01", "currency": "USD"}]},
        "m3": {},
        "m4": {"master_price_book": []},
    }
    done = _run_preflight(root, tmp_path, {"w1": {}}, masters, master_price_book=book)
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "The price book (master_price_book) of m2, m4 differs from that of m1" in printed
    assert printed.count("changed=0") == len(masters)

    same = {name: {"master_price_book": book} for name in masters}
    done = _run_preflight(root, tmp_path, {"w1": {}}, same)
    assert done.returncode == 0, done.stdout
