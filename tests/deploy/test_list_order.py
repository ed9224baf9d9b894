"""Tests that lists in installed files and messages have the same order in each run.

Ansible's filters for sets return their elements in an order that differs between processes. A file
that is rendered from such a list would change in each deployment, and restart its service.
"""

import re
from collections.abc import Iterator

from role_templates import ROOT

FOLDERS = ("roles", "playbooks", "group_vars", "inventories")
_UNORDERED = re.compile(r"\|\s*(?:difference|intersect|symmetric_difference)\(")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%-?\s*for.*?%\}", re.DOTALL)


def expressions() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".yml", ".j2"}:
                text = path.read_text(encoding="utf-8")
                for found in _EXPRESSION.finditer(text):
                    yield str(path.relative_to(ROOT)), " ".join(found[0].split())


def test_lists_are_united_in_their_order() -> None:
    found = [(path, text) for path, text in expressions() if re.search(r"\|\s*union\(", text)]
    assert found == [], "use (a + b) | unique, which preserves the order"


def test_texts_of_unordered_lists_are_sorted() -> None:
    examined, unsorted = 0, []
    for path, expression in expressions():
        is_loop = expression.startswith("{%")
        text = expression.split(" if ")[0] if is_loop else expression
        if not _UNORDERED.search(text):
            continue
        examined += 1
        if (is_loop or "join(" in text) and not re.search(r"\|\s*(sort|length)", text):
            unsorted.append((path, text))
    assert examined > 10, "the expressions were found"
    assert unsorted == []
