"""Tests of docs/cli.md: it is current, its examples work, and its documents match its schema."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cli_catalog import command_entries, document_types, json_schema, schema_name
from cli_page import PAGE, SCHEMA, cli_page, schema_text
from jsonschema import Draft202012Validator

from .conftest import Outcome, Site
from .page import Page, Step
from .working_agent import working


@pytest.fixture(scope="module")
def page(root: Path) -> Page:
    return Page(root / PAGE)


def test_the_page_and_the_schema_are_current(root: Path) -> None:
    assert (root / PAGE).read_text(encoding="utf-8") == cli_page(), "run: make cli-page"
    assert (root / SCHEMA).read_text(encoding="utf-8") == schema_text(), "run: make cli-page"


def test_the_schema_is_valid() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_every_field_of_a_document_has_a_meaning(page: Page) -> None:
    documents = page.text.partition("\n## Documents\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", documents, re.MULTILINE)
    assert len(rows) > 100
    assert [name for name, kind, meaning in rows if not kind or not meaning] == []


def test_every_command_and_document_has_a_section(page: Page) -> None:
    headings = re.findall(r"^### (.+)$", page.text, re.MULTILINE)
    names = [entry.name for entry in command_entries()]
    assert headings == names + [schema_name(kind) for kind in document_types()]


def test_every_link_has_a_target(page: Page, root: Path) -> None:
    headings = re.findall(r"^#+ (.+)$", page.text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\s-]", "", text.lower()).replace(" ", "-") for text in headings}
    for link in re.findall(r"\]\(([^)\s]+)\)", page.text):
        name, _, anchor = link.partition("#")
        assert not name or (root / "docs" / name).exists(), link
        assert not anchor or anchor in anchors, link


def _run(root: Path, folder: Path, steps: list[Step]) -> Outcome:
    """Run the examples on a new farm, whose only agent works on the jobs."""
    site = Site(folder, root)
    with site.master.serving():
        site.register()
        with working(site):
            return site.run(steps)


def _check_success(page: Page, outcome: Outcome) -> None:
    last = page.steps()[len(outcome.printed) - 1].commands
    assert outcome.exit_code == 0, (
        f"docs/{page.name}, the commands from line {last.line} on ended with "
        f"{outcome.exit_code}: {outcome.errors}{outcome.printed[-1]}"
    )


@pytest.mark.slow
def test_every_example_works(page: Page, root: Path, tmp_path: Path) -> None:
    outcome = _run(root, tmp_path, page.steps())
    _check_success(page, outcome)
    assert "\x1b" not in "".join(outcome.printed)


def _with_json(step: Step) -> Step:
    """Return a step with --json in its examples, except for exports to standard output."""
    lines = [
        re.sub(r"^(ffrtmp [^<>]*[^<> ])(?: [<>].*)?$", r"\1 --json", line)
        if "<" not in line
        else re.sub(r" (<.*)$", r" --json \1", line)
        for line in step.commands.text.splitlines()
        if not re.search(r"--format \w+$", line)
    ]
    text = "".join(f"{line}\n" for line in lines)
    return replace(step, commands=replace(step.commands, text=text))


@pytest.mark.slow
def test_every_document_matches_its_schema(page: Page, root: Path, tmp_path: Path) -> None:
    outcome = _run(root, tmp_path, [_with_json(step) for step in page.steps()])
    _check_success(page, outcome)
    validator = Draft202012Validator(json_schema())
    found = set()
    for line in "".join(outcome.printed).splitlines():
        document = json.loads(line)
        validator.validate(document)
        found.add(document["schema"])
    expected = {
        schema_name(entry.document_type)
        for entry in command_entries()
        if entry.document_type is not None and not entry.is_on_host
    }
    assert found == expected
