"""Tests of the curl commands of all documents, which must verify the farm's certificates."""

import re
from pathlib import Path

import pytest

from .page import DOCUMENTS, ROOT

# docs/api.md writes the option --cacert and a token into a file that --config names.
_VERIFIED = ("--cacert ", "--config ")


def commands(page: Path) -> list[str]:
    """Return the curl commands of a page, in blocks and within lines, each on one line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    in_blocks = re.findall(r"^ *(?:[$#] )?(curl .*)$", text, re.MULTILINE)
    return in_blocks + re.findall(r"`(curl [^`]*)`", text)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_curl_verifies_the_farm(page: Path) -> None:
    for command in commands(page):
        assert any(option in command for option in _VERIFIED), command
        assert not re.search(r"\s(-k|--insecure)\b", command), command


def test_the_commands_are_found() -> None:
    assert sum(len(commands(page)) for page in DOCUMENTS) >= 10
