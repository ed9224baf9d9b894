"""Tests of the links in documents outside of docs/, and of the index of design decisions."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_DECISIONS = sorted((_ROOT / "docs/decisions").glob("[0-9]*.md"))
_PAGES = [
    *(_ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "THIRD_PARTY.md")),
    _ROOT / ".github/pull_request_template.md",
    _ROOT / "docs/decisions/README.md",
    *_DECISIONS,
]


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def _is_broken(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return not target.exists() or bool(anchor and anchor not in _anchors(target))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_link_has_a_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if _is_broken(page, link)] == []


def test_the_index_lists_every_decision_with_its_number_and_status() -> None:
    index = (_ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d+)\]\(([^)]+)\) \| .+ \| (.+) \|$", index, re.MULTILINE)
    assert [name for _, name, _ in rows] == [page.name for page in _DECISIONS]
    for number, name, status in rows:
        text = (_ROOT / "docs/decisions" / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {number}: ")
        assert f"## Status\n\n{status.capitalize()}.\n" in text


def test_every_decision_has_the_sections_of_the_template() -> None:
    expected = ["Status", "Context", "Decision", "Consequences"]
    for page in _DECISIONS:
        sections = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert sections == expected, page.name
