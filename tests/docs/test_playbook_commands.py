"""Tests of the playbooks, variables and targets of make that all documents name."""

import functools
import re
from pathlib import Path

import pytest
from role_templates import load_yaml

from .page import DOCUMENTS, ROOT

_COMMAND = re.compile(r"ansible-playbook ((?:[^`\n\\]|\\\n)+)")


def playbook_commands(page: Path) -> list[str]:
    """Return the arguments of the ansible-playbook commands of a page, without comments."""
    found = _COMMAND.findall(page.read_text(encoding="utf-8"))
    return [re.sub(r"\s+#.*", "", arguments.replace("\\\n", " ")) for arguments in found]


@functools.cache
def variables_of_playbooks() -> frozenset[str]:
    """Return the words in all playbooks, and the names of the settings of roles."""
    words = {
        word
        for file in ROOT.glob("playbooks/**/*.yml")
        for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))
    }
    names = {name for file in ROOT.glob("roles/*/defaults/main.yml") for name in load_yaml(file)}
    return frozenset(words | names)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_playbooks_and_their_variables_exist(page: Path) -> None:
    for arguments in playbook_commands(page):
        for playbook in re.findall(r"(?<!-e )(?<!=)\b([\w/-]+\.yml)\b", arguments):
            assert (ROOT / playbook).is_file(), playbook
        for name in re.findall(r"(?:-e|--extra-vars) (\w+)=", arguments):
            assert name in variables_of_playbooks(), name


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_targets_of_make_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefiles = [ROOT / "Makefile", page.parent / "Makefile"]
    rules = "".join(file.read_text(encoding="utf-8") for file in makefiles if file.exists())
    commands = re.findall(r"(?:^ {4}|^\$ |`)make ((?:[a-z][a-z-]*[ `\n])+)", text, re.MULTILINE)
    targets = {target.strip("`") for command in commands for target in command.split()}
    assert [target for target in targets if f"\n{target}:" not in rules] == []


def test_the_commands_are_found() -> None:
    assert sum(len(playbook_commands(page)) for page in DOCUMENTS) >= 20
