"""Pages of the documentation: their files, commands, shown outputs, and tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("files/*/*.md")])
"""The files of all documents."""

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """A fenced block of a page; `line` is the number of the first line of its text."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Step:
    """Commands that run together, and the output that the page shows for them, if any."""

    commands: Fence
    shown: Fence | None


class Page:
    """A page in Markdown."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.text = path.read_text(encoding="utf-8")

    def fences(self) -> Iterator[Fence]:
        for match in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 2
            yield Fence(match["language"], match["text"], line)

    def steps(self) -> list[Step]:
        """Return the steps of the page in their order.

        If the fence after some commands does not contain commands, it shows their output.
        """
        fences = list(self.fences())
        return [
            Step(fence, after if after is not None and after.language != "bash" else None)
            for fence, after in zip(fences, [*fences[1:], None], strict=True)
            if fence.language == "bash"
        ]

    def table(self, heading: str) -> list[list[str]]:
        """Return the cells of the first table below a heading, without its header."""
        below = self.text.partition(f"\n## {heading}\n")[2].splitlines()
        start = next(number for number, line in enumerate(below) if line.startswith("|"))
        rows = []
        for line in below[start + 2 :]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        return rows
