"""docs/doctor.md: its table names every check, and its limits are those of the program."""

import re
from pathlib import Path

import pytest
from ffrtmp_cli.commands import doctor, recommend_config, reproduce
from ffrtmp_cli.diagnosis import energy_findings, memory_findings, storage_findings
from ffrtmp_cli.reproduction import comparison, repetition

_GIB = 1024**3
_ID = re.compile(r"\bid=f?\"([a-z{}-]+)\"")
_COMMANDS = {
    "doctor": doctor.command,
    "reproduce": reproduce.command,
    "recommend-config": recommend_config.command,
}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/doctor.md").read_text(encoding="utf-8")


def _table(page: str, header: str) -> list[str]:
    """Return the words in code format of the first column of a table."""
    _, _, rest = page.partition(f"| {header} |")
    lines = rest.splitlines()[2:]
    rows = lines[: next(number for number, line in enumerate(lines) if not line.startswith("|"))]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def test_the_table_names_every_check(root: Path, page: str) -> None:
    folder = root / "files/cli/src/ffrtmp_cli/diagnosis"
    found = {name for file in folder.glob("*.py") for name in _ID.findall(file.read_text("utf-8"))}
    assert len(found) > 20
    found = {name.replace("gpu-{encoder}", "gpu-") for name in found}
    # These names contain that of a resource.
    found = found - {"load-{resource}"} | {"load-memory", "load-io"}
    assert set(_table(page, "check | fault or warning")) == found


def test_the_tables_name_every_aspect_and_state(page: str) -> None:
    aspects = {"build", "source", "command", "bytes", "quality", "speed"}
    assert set(_table(page, "aspect | agrees if")) == aspects
    assert set(_table(page, "state | meaning")) == {"ok", "warning", "fault", "unavailable"}


def test_the_limits_are_those_of_the_program(page: str) -> None:
    text = " ".join(page.split())
    energy = energy_findings
    for words in (
        f"from {energy.MIN_CPU_W:g} W to {energy.MAX_CPU_W:g} W",
        f"{energy.LIMIT_TOLERANCE:g} times its long-term",
        f"less than {memory_findings.MIN_MEMORY_BYTES / _GIB:g} GiB is available",
        f"less than {memory_findings.GOOD_MEMORY_BYTES / _GIB:g} GiB |",
        f"less than {storage_findings.MIN_FREE_BYTES / _GIB:g} GiB is free",
        f"less than {storage_findings.GOOD_FREE_BYTES / _GIB:g} GiB |",
        f"less than {storage_findings.MIN_BYTES_PER_S / 1e6:g} MB/s",
        f"at most {comparison.VMAF_TOLERANCE:g} |",
        "The kinds `{}`, `{}` and `{}` can be checked".format(*repetition.KINDS),
    ):
        assert words in text


def test_the_commands_of_the_page_exist(page: str) -> None:
    lines = re.findall(r"^\$ ffrtmp (\S+)(.*)$", page, re.MULTILINE)
    assert {name for name, _ in lines} == _COMMANDS.keys()
    for name, rest in lines:
        known = {option for parameter in _COMMANDS[name].params for option in parameter.opts}
        used = {word for word in re.sub(r"#.*", "", rest).split() if word.startswith("--")}
        assert used <= known, (name, used - known)
