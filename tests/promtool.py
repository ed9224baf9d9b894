"""Calls of promtool, the program of Prometheus that checks metrics and rules."""

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
    """Return the problems that `promtool check metrics` finds in a page; empty if none."""
    return _run("check", "metrics", page=page)


def invalid_rules(file: Path) -> str:
    """Return the problems that `promtool check rules` finds in a file; empty if none."""
    return _run("check", "rules", str(file))


def _run(*arguments: str, page: str = "") -> str:
    done = subprocess.run(
        [PATH, *arguments], input=page, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    if done.returncode:
        return output or f"promtool ended with {done.returncode}"
    return output if arguments[1] == "metrics" else ""
