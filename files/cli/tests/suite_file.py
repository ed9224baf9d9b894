"""A suite with a clip, as files that tests submit."""

import hashlib
from pathlib import Path

from modules.farm import CLIP, SUITE


def write_suite(folder: Path, content: bytes = CLIP, **changed: str) -> Path:
    """Write a clip and a suite of two jobs that lists it, and return the path of the suite.

    Args:
        folder: Directory for both files.
        content: Content of the clip.
        changed: Texts of the suite that are replaced, by the text before.
    """
    (folder / "clip.mp4").write_bytes(content)
    text = SUITE.format(sha256=hashlib.sha256(content).hexdigest())
    for before, after in changed.items():
        assert before in text
        text = text.replace(before, after)
    file = folder / "demo.yml"
    file.write_text(text)
    return file
