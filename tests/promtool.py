"""Prometheus' own tool, which says what is wrong with metrics and with rules."""

import os
import subprocess
from pathlib import Path

PATH = Path(
    os.environ.get(
        "FFRTMP_TEST_PROMTOOL",
        Path(__file__).resolve().parents[1] / ".cache/promtool/usr/bin/promtool",
    )
)


def complaints(page: str) -> str:
    """Return what `promtool check metrics` says of a page; nothing when it is good."""
    return _run("check", "metrics", page=page)


def failures(tests: Path) -> str:
    """Return what `promtool test rules` says of a file of unit tests; nothing when all pass."""
    return _run("test", "rules", str(tests))


def _run(*arguments: str, page: str = "") -> str:
    done = subprocess.run(
        [PATH, *arguments], input=page, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    if done.returncode:
        return said or f"promtool ended with {done.returncode}"
    return said if arguments[0] == "check" else ""
