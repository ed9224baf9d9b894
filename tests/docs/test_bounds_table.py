"""Test that compares the limits in docs/security.md with the settings and constants of the code."""

import importlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from ffrtmp_master.settings import Settings
from ruamel.yaml import YAML

_HEADER = "| entry point | limit | value | set by |"
_MEMORY_HEADER = "| service | measured | limit | set by |"
_MULTIPLES = {" KiB": 2**10, " MiB": 2**20, " GiB": 2**30}
_UNITS = ("_bytes_per_s", "_bytes", "_s")


class Row(NamedTuple):
    """A row of the table."""

    entry_point: str
    limit: str
    value: str
    name: str


def rows(root: Path, header: str = _HEADER) -> list[Row]:
    text = (root / "docs/security.md").read_text(encoding="utf-8")
    _, _, below = text.partition(header)
    lines = below.partition("\n\n")[0].splitlines()[2:]
    return [
        Row(*(cell.strip().strip("`") for cell in line.strip("|").split("|"))) for line in lines
    ]


def role_defaults(root: Path) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for path in root.glob("roles/*/defaults/main.yml"):
        defaults |= YAML(typ="safe").load(path) or {}
    return defaults


def constant(name: str) -> Any:
    """Return the value of a constant that is given with its module."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def master_default(variable: str) -> Any:
    """Return the default of the master's setting that a variable of the role sets."""
    (field,) = (
        field for field in msgspec.structs.fields(Settings) if f"master_{field.name}" == variable
    )
    return field.default


def quantity(text: str) -> float:
    """Return the number in a cell, in bytes or seconds if it has a unit."""
    number, unit = re.fullmatch(r"([\d.,]+)( .*)?", text).groups()  # type: ignore[union-attr]
    size = float(number.replace(",", ""))
    return size * _MULTIPLES.get((unit or "").removesuffix("/s"), 1)


def unit_matches(row: Row) -> bool:
    """Return whether the unit of a value fits the name of its setting or constant."""
    name = row.name.lower()
    kind = next((unit for unit in _UNITS if unit in f"{name}_"), "")
    unit = row.value.partition(" ")[2]
    if kind == "_bytes_per_s":
        return unit.endswith("/s")
    if kind == "_bytes":
        return unit in ("bytes", "KiB", "MiB", "GiB")
    if name.endswith("_s"):
        return unit == "s"
    return unit not in ("s", "bytes", "KiB", "MiB", "GiB")


def test_the_values_are_those_of_the_settings_and_constants(root: Path) -> None:
    defaults = role_defaults(root)
    found = rows(root)
    assert len(found) > 30
    for row in found:
        actual = constant(row.name) if "." in row.name else defaults[row.name]
        if actual is None:
            # The role leaves the value to the master.
            actual = master_default(row.name)
        if isinstance(actual, str):
            assert row.value == actual, row
        else:
            assert quantity(row.value) == pytest.approx(float(actual)), (row, actual)
            assert unit_matches(row), row


def test_the_defaults_of_the_role_are_those_of_the_master(root: Path) -> None:
    defaults = role_defaults(root)
    compared = 0
    for field in msgspec.structs.fields(Settings):
        is_limit = field.name.startswith(("connections", "headers", "body_", "request_", "suites"))
        if is_limit or field.name.endswith("_timeout_s"):
            assert defaults[f"master_{field.name}"] == field.default, field.name
            compared += 1
    assert compared >= 11


def test_every_limit_of_the_master_is_listed(root: Path) -> None:
    names = {row.name for row in rows(root)}
    limits = {
        f"master_{name}"
        for name in Settings.__struct_fields__
        if "max" in name.split("_") or name.endswith("_timeout_s") or "_min_" in name
    }
    # These settings do not limit what a client can send.
    other = {"artifacts_max_bytes", "database_max_bytes", "loop_max_age_s", "max_attempts"}
    assert limits - names == {f"master_{name}" for name in other}


def test_every_memory_limit_is_listed(root: Path) -> None:
    defaults = role_defaults(root)
    shown = {row.name: row.value for row in rows(root, _MEMORY_HEADER)}
    limits = {name for name in defaults if name.endswith("_memory_max")}
    assert limits == shown.keys() - {""}
    for name in limits - {"worker_memory_max"}:
        assert shown[name] == defaults[name], name


def test_every_unit_has_a_memory_limit(root: Path) -> None:
    units = [*root.glob("roles/*/templates/*.service.j2")]
    assert len(units) >= 8
    for unit in units:
        assert "\nMemoryMax=" in unit.read_text(encoding="utf-8"), unit
