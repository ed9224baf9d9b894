"""Conditions of runs and settings of encodes that differ between two sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from ffrtmp_client.api import Json
from ffrtmp_client.medians import encode_name

_ENVIRONMENT = {
    "cpu_model": "CPU model",
    "kernel": "kernel",
    "microcode": "microcode",
    "cpu_governor": "CPU governor",
    "turbo": "turbo",
    "smt": "SMT",
    "host_tuning": "host tuning",
    "node_use": "use of the node",
}
_SETTINGS = ("encoder", "preset", "threads", "pixel_format", "gop_frames", "options")
_DIGEST_CHARACTERS = 12


class ChangedCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition or setting that differs between the sides.

    Attributes:
        name: Its name.
        a: Its values on the first side.
        b: Its values on the second side.
    """

    name: str
    a: tuple[str, ...]
    b: tuple[str, ...]

    @property
    def text(self) -> str:
        """The condition with its values."""
        return f"{self.name}: {', '.join(self.a)} -> {', '.join(self.b)}"


def changed_conditions(a: Iterable[Json], b: Iterable[Json]) -> tuple[ChangedCondition, ...]:
    """Return the conditions that both sides have and that differ.

    Args:
        a: The results of the first side, as the API returns them.
        b: Those of the second side.
    """
    first, second = _collect(a), _collect(b)
    return tuple(
        ChangedCondition(name=name, a=tuple(sorted(first[name])), b=tuple(sorted(second[name])))
        for name in first
        if name in second and first[name] != second[name]
    )


def _collect(results: Iterable[Json]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for result in results:
        for name, value in _conditions(result):
            if isinstance(value, str | int) and not isinstance(value, bool):
                found[name].add(str(value))
    return found


def _conditions(result: Json) -> Iterator[tuple[str, Any]]:
    measurement, scenario = result["measurement"], result["scenario"]
    provenance, environment = measurement["provenance"], measurement["environment"]
    build = provenance["ffmpeg"]
    yield "FFmpeg", f"{build['version']} ({build['sha256'][:_DIGEST_CHARACTERS]})"
    yield "agent", provenance.get("agent_version")
    for name, title in _ENVIRONMENT.items():
        yield title, environment.get(name)
    encode = scenario.get("encode") or {}
    for name in _SETTINGS:
        value = encode.get(name)
        if name == "options":
            options = value or {}
            value = " ".join(f"{key}={options[key]}" for key in sorted(options)) or "none"
        yield f"{encode_name(scenario['name'])}, {name.replace('_', ' ')}", value
