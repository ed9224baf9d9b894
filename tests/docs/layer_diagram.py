"""Diagram of the layers of the packages, generated from the import contracts in pyproject.toml."""

import tomllib
from pathlib import Path
from typing import Any

_TITLES = {"ffrtmp_master": "Layers of the master", "ffrtmp_worker": "Layers of the worker"}
_WIDTH = 46


def layer_diagram(root: Path) -> str:
    """Return a diagram: the layers of master and worker side by side, above those that they import.

    The master also imports the package for analysis, so that package is below the master only.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    columns = [_column(contracts, package) for package in _TITLES]
    height = max(map(len, columns))
    left, right = ([*column, *[""] * (height - len(column))] for column in columns)
    lines = [
        f"{master:<{_WIDTH}}{worker}".rstrip() for master, worker in zip(left, right, strict=True)
    ]
    shared = f"{'ffrtmp_shared':^{_WIDTH + 20}}".rstrip()
    return "\n".join([*lines, "", "ffrtmp_analysis", "", shared]) + "\n"


def _column(contracts: list[dict[str, Any]], package: str) -> list[str]:
    (contract,) = (item for item in contracts if item["name"] == _TITLES[package])
    return [package, "-" * len(package), *contract["layers"]]
