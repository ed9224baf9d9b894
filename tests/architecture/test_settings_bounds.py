"""Tests that every number in a settings file has bounds.

A number without bounds causes an overflow far away from the settings file, for example in a date
or in a column of the database.
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import ffrtmp_master
import ffrtmp_shared
import ffrtmp_worker
import msgspec
import pytest
from msgspec import inspect

_DEFINITION = re.compile(r"^class (\w*Settings)\(msgspec\.Struct\b", re.MULTILINE)


def _settings_classes() -> list[type[msgspec.Struct]]:
    """Return all classes of settings files, from the modules that define them."""
    found: list[type[msgspec.Struct]] = []
    for package in (ffrtmp_master, ffrtmp_shared, ffrtmp_worker):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            names = _DEFINITION.findall(path.read_text(encoding="utf-8"))
            if names:
                parts = path.relative_to(folder.parent).with_suffix("").parts
                module = importlib.import_module(".".join(parts))
                found += [getattr(module, name) for name in names]
    return found


def _unbounded(kind: inspect.Type, path: str) -> Iterator[str]:
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        lower = kind.ge if kind.ge is not None else kind.gt
        upper = kind.le if kind.le is not None else kind.lt
        if lower is None or upper is None:
            yield path
    elif isinstance(kind, inspect.UnionType):
        for item in kind.types:
            yield from _unbounded(item, path)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from _unbounded(field.type, f"{path}.{field.name}")
    elif isinstance(kind, inspect.DictType):
        yield from _unbounded(kind.value_type, f"{path}[]")
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType):
        yield from _unbounded(kind.item_type, f"{path}[]")


def test_the_settings_of_all_programs_are_found() -> None:
    names = {found.__name__ for found in _settings_classes()}
    assert {"Settings", "ExporterSettings", "ApiExporterSettings", "AgentSettings"} <= names


@pytest.mark.parametrize("settings", _settings_classes(), ids=lambda found: found.__name__)
def test_every_number_in_a_settings_file_has_bounds(settings: type[msgspec.Struct]) -> None:
    assert list(_unbounded(inspect.type_info(settings), settings.__name__)) == []
