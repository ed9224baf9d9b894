"""Rendering of tables as text with colors, for terminals of any width."""

import io
import shutil
import sys

from rich.console import Console, RenderableType

_PIPE_WIDTH = 160
"""Width of the output, in characters, if it is not a terminal."""


def render(content: RenderableType) -> str:
    """Return a table as text. The text contains colors only if standard output is a terminal."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _PIPE_WIDTH
    text = io.StringIO()
    Console(file=text, width=width, force_terminal=is_terminal).print(content)
    # Rich pads each line to the width.
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"
