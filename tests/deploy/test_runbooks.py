"""Tests of the runbooks: a page for each alert, and links, queries and commands that work."""

import functools
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import alert_rules
import httpx
import monitoring_programs
import pytest
from monitoring_programs import HttpServer
from role_templates import ROOT, load_yaml

PAGES = sorted(alert_rules.RUNBOOKS.glob("*.md"))
NAMES = [page.stem for page in PAGES]
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Remedy"]

_METRIC = re.compile(r"\bffrtmp_[a-z_]+")
_SUFFIX = re.compile(r"_(?:bucket|count|sum)$")
# Units that packages of the distribution install.
_FOREIGN_UNITS = {"grafana-server", "systemd-timesyncd"}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Return the lines of the blocks of code in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines()]


def commands(page: Path) -> list[str]:
    """Return the commands of a page."""
    return [line.removeprefix("$ ") for line in blocks(page, "console")]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the sections of a page."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pipeline(command: str) -> list[list[str]]:
    """Return the words of each program of a pipeline."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            found.append([])
        else:
            found[-1].append(word)
    return found


@functools.cache
def rules() -> list[dict[str, Any]]:
    return alert_rules.rules()


@functools.cache
def role_variables() -> set[str]:
    """Return the names of the variables of all roles."""
    specs = (ROOT / "roles").glob("*/meta/argument_specs.yml")
    return {name for file in specs for name in load_yaml(file)["argument_specs"]["main"]["options"]}


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert set(NAMES) == {rule["alert"] for rule in rules()}


def test_the_link_of_every_alert_opens_its_page() -> None:
    def page_at(path: str) -> bytes | None:
        file = ROOT / path.removeprefix("/farm/")
        return file.read_bytes() if file.is_file() else None

    with HttpServer(page_at) as server, httpx.Client() as client:
        base = f"{server.url}/farm/docs/runbooks"
        for rule in alert_rules.rules(vmalert_runbook_base_url=base):
            answer = client.get(rule["annotations"]["runbook_url"])
            assert answer.status_code == 200, rule["alert"]
            assert answer.text.startswith(f"# {rule['alert']}\n")
        assert client.get(f"{base}/Missing.md").status_code == 404


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_page_has_the_sections_and_the_severity_of_its_alert(page: Path) -> None:
    assert re.findall(r"^## (.+)$", text_of(page), re.MULTILINE) == SECTIONS
    own = [rule["labels"]["severity"] for rule in rules() if rule["alert"] == page.stem]
    assert f"Severity: [{' and '.join(own)}](../alerts.md#severities)" in text_of(page)
    assert re.findall(r"^## .+\n\n(?=##|\Z)", text_of(page), re.MULTILINE) == []


@pytest.mark.parametrize("page", [ROOT / "docs/alerts.md", *PAGES], ids=["alerts", *NAMES])
def test_every_link_has_a_target(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = (page.parent / name) if name else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


def test_the_overview_lists_every_alert_with_its_severities() -> None:
    text = text_of(ROOT / "docs/alerts.md")
    rows = dict(
        re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| ([a-z, ]+) \|", text, re.MULTILINE)
    )
    severities: dict[str, list[str]] = {}
    for rule in rules():
        severities.setdefault(rule["alert"], []).append(rule["labels"]["severity"])
    assert rows == {name: ", ".join(found) for name, found in severities.items()}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_queries_name_only_existing_metrics(page: Path) -> None:
    found = _METRIC.findall(" ".join(blocks(page, "promql")))
    queried = {_SUFFIX.sub("", name) for name in found}
    assert queried <= alert_rules.documented()


@pytest.mark.slow
@pytest.mark.parametrize("release", monitoring_programs.RELEASES)
def test_victoria_metrics_accepts_every_query(tmp_path: Path, release: str) -> None:
    queries = [(page.stem, query) for page in PAGES for query in blocks(page, "promql")]
    assert len(queries) > 40
    with monitoring_programs.run_victoria_metrics(release, tmp_path) as client:
        for name, query in queries:
            answer = client.get("/api/v1/query", params={"query": query})
            assert answer.status_code == 200, f"{name}: {answer.text}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_page_has_a_command_or_a_query(page: Path) -> None:
    assert commands(page) or blocks(page, "promql")
    assert all(line.startswith("$ ") for line in blocks(page, "console"))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_valid_and_name_existing_units(page: Path) -> None:
    for command in commands(page):
        subprocess.run(["/bin/bash", "-n", "-c", command], check=True)
    roles = "".join(
        file.read_text(encoding="utf-8")
        for pattern in ("roles/*/tasks/*.yml", "roles/*/vars/*.yml", "playbooks/**/*.yml")
        for file in ROOT.glob(pattern)
    )
    named = {
        unit
        for command in commands(page)
        if re.match(r"systemctl (?!--user)|journalctl", command)
        for unit in re.findall(r"(?<=\s)'?([a-z]+(?:-[a-z]+)+)(?:@\w*\*?)?'?(?=\s|$)", command)
    }
    for unit in named - _FOREIGN_UNITS:
        assert unit in roles, unit


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_variables_playbooks_and_modules_exist(page: Path) -> None:
    for name in re.findall(r"`([^`\n]+)`", text_of(page)):
        if re.fullmatch(r"(?:vmalert|alertmanager|victoria_metrics|master|worker|pki)_\w+", name):
            assert name in role_variables(), name
        if name.startswith("playbooks/"):
            assert (ROOT / name.split()[0]).is_file(), name
        if re.fullmatch(r"ffrtmp_(?:node|run)(?:_info)?", name):
            assert (ROOT / f"library/{name}.py").is_file(), name


def test_long_options_of_common_programs_exist() -> None:
    """Options are checked with the programs themselves, as far as these list their options."""
    programs = {"journalctl", "systemctl", "curl", "openssl", "du", "df", "sort", "uniq", "tail"}
    used: dict[str, set[str]] = {}
    for page in PAGES:
        for command in commands(page):
            for program, *words in pipeline(command):
                if program in programs:
                    options = {word.partition("=")[0] for word in words if word.startswith("--")}
                    used.setdefault(program, set()).update(options)
    assert len(used["journalctl"]) >= 3
    for program, options in used.items():
        listed = subprocess.run(
            [program, "--help", *(["all"] if program == "curl" else [])],
            capture_output=True,
            text=True,
            check=False,
        )
        text = listed.stdout + listed.stderr
        # systemd's and GNU's programs accept unique beginnings, but the pages spell options out.
        assert {option for option in options if option not in text} == set(), program
